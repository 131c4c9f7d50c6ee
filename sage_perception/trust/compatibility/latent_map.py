# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Maps from one latent space to another, fitted on latents of images that both have seen.

>>> calibration = calibrate(theirs, ours, their_fingerprint, our_fingerprint)
>>> z = calibration.apply(received)  # as if our own encoder had said it

Affine ridge regression where there are more images than dimensions, else a rotation. A network
on top of it is no better (`bench/trust.py` compares them).
"""

from __future__ import annotations

import os
import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.linalg import svd

from sage_perception.trust.compatibility import probe_images as probes

PENALTIES = np.logspace(-12, 2, 29)  # of ridge, relative to the largest squared singular value
PERMUTATIONS = 999
SIGNIFICANT = 0.01  # the p-value from which on a map says no more than chance
TOLERANCE = 0.01  # of R², by which a stored map may do worse than when it was stored


@dataclass(frozen=True, eq=False)
class Calibration:
    """The map z ↦ z · weights + offset from a sender's latents to a receiver's.

    Attributes
    ----------
    sender, receiver : bytes
        Fingerprints of the two latent spaces, 32 bytes each.
    weights, offset : np.ndarray
        float64 `[D, E]` and `[E]`.
    method : str
        `'ridge'` or `'procrustes'`.
    residual : np.ndarray
        Variance of what the map leaves unsaid on images held back, float64 `[E]`.
    probes : int
        Images that it was fitted on.
    r2 : float
        Share of the receiver's variance that it explains on images held back; at most 1,
        negative if it does worse than the mean.
    p_value : float
        How often as much is explained where the held-back latents are paired with those of other
        images: a permutation test, 0.001 at least.

    """

    sender: bytes
    receiver: bytes
    weights: np.ndarray
    offset: np.ndarray
    residual: np.ndarray
    method: str
    probes: int
    r2: float
    p_value: float

    @property
    def significant(self) -> bool:
        """Whether the map explains more than chance does."""
        return self.r2 > 0 and self.p_value < SIGNIFICANT

    def apply(self, z: np.ndarray) -> np.ndarray:
        """Return latents `[B, D]` in the receiver's space, float32 `[B, E]`; `ValueError`."""
        if z.ndim != 2 or z.shape[1] != len(self.weights):
            raise ValueError(
                f'this calibration takes latents [B, {len(self.weights)}], not {list(z.shape)}'
            )
        return affine(z, self.weights, self.offset)

    def apply_log_var(self, log_var: np.ndarray) -> np.ndarray:
        """Return the logarithm of the variance of translated latents, float32 `[B, E]`.

        `log_var` `[B, D]` is that of the sender's. To what it becomes through the map comes what
        the map does not know: a translated latent is never surer than the translation.
        """
        variance = np.exp(np.asarray(log_var, np.float64)) @ self.weights**2 + self.residual
        return np.log(np.maximum(variance, np.finfo(np.float32).tiny)).astype(np.float32)

    def still_fits(self, source: np.ndarray, target: np.ndarray) -> bool:
        """Whether it does as well as it did, on held-back latents `[N, D]` and `[N, E]`.

        A fingerprint is only claimed. A map that was fitted on what somebody sent under another's
        fingerprint fails here.
        """
        if source.shape[1:] + target.shape[1:] != self.weights.shape:
            return False
        return r_squared(self.apply(source), target) >= self.r2 - TOLERANCE

    def save(self, path: Path) -> None:
        """Write a NumPy archive; a reader sees the old file or the whole new one."""
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_name(f'.{path.name}.{os.getpid()}')
        with part.open('wb') as file:
            np.savez(
                file,
                fingerprints=np.frombuffer(self.sender + self.receiver, np.uint8),
                probe_set=np.array(probes.SHA256),
                weights=self.weights,
                offset=self.offset,
                residual=self.residual,
                method=np.array(self.method),
                probes=self.probes,
                scores=np.array([self.r2, self.p_value]),
            )
        part.replace(path)

    @classmethod
    def read(cls, path: Path) -> Calibration:
        """Read what `save` wrote; `ValueError` if it is anything else or of other probes."""
        try:
            with np.load(path, allow_pickle=False) as file:
                known = str(file['probe_set'])
                both = file['fingerprints'].tobytes()
                scores = [float(score) for score in file['scores']]
                read = cls(
                    both[:32],
                    both[32:],
                    np.asarray(file['weights'], np.float64),
                    np.asarray(file['offset'], np.float64),
                    np.asarray(file['residual'], np.float64),
                    str(file['method']),
                    int(file['probes']),
                    *scores,
                )
        except FileNotFoundError:
            raise
        except (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile) as error:
            raise ValueError(f'{path} is no calibration: {error}') from error
        if known != probes.SHA256:
            raise ValueError(f'{path} was fitted on another probe set: calibrate again')
        shape = read.weights.shape[1:]
        if read.weights.ndim != 2 or not read.offset.shape == read.residual.shape == shape:
            raise ValueError(f'{path} is no calibration: its map has no proper shape')
        if not all(np.isfinite(a).all() for a in (read.weights, read.offset, read.residual)):
            raise ValueError(f'{path} is no calibration: its map is not finite')
        return read


def calibrate(
    theirs: np.ndarray,
    ours: np.ndarray,
    sender: bytes,
    receiver: bytes,
    fitted: int = probes.FITTED,
) -> Calibration:
    """Fit a map on the first `fitted` of latents `[N, D]` and `[N, E]`, score it on the others.

    Raises `ValueError` for latents that are not two of the same number, finite, with at least 2 to
    fit on and 2 held back.
    """
    for name, latents in (('theirs', theirs), ('ours', ours)):
        if latents.ndim != 2 or len(latents) != len(ours) or not np.isfinite(latents).all():
            raise ValueError(
                f'{name}: latents to calibrate on are finite [{len(ours)}, D], '
                f'not {list(latents.shape)}'
            )
    if not 2 <= fitted <= len(ours) - 2:
        raise ValueError(f'fitted={fitted} is not allowed, it must be in [2, {len(ours) - 2}]')
    method = ridge if fitted > theirs.shape[1] else procrustes
    weights, offset = method(theirs[:fitted], ours[:fitted])
    predicted, target = affine(theirs[fitted:], weights, offset), ours[fitted:]
    r2 = r_squared(predicted, target)
    rng = np.random.default_rng(0)
    null = [r_squared(rng.permutation(predicted), target) for _ in range(PERMUTATIONS)]
    return Calibration(
        sender,
        receiver,
        weights,
        offset,
        np.square(target - predicted, dtype=np.float64).mean(0),
        method.__name__,
        fitted,
        r2,
        p_value=float((1 + np.sum(np.array(null) >= r2)) / (1 + PERMUTATIONS)),
    )


def calibrations_folder() -> Path:
    """Return where calibrations are kept when nothing else is said."""
    return probes.cache_folder() / 'calibrations'


def place(folder: Path, sender: bytes, receiver: bytes) -> Path:
    """Return the file of a calibration in a folder of them."""
    return folder / f'{sender.hex()[:24]}-{receiver.hex()[:24]}.npz'


def recall(folder: Path, sender: bytes, receiver: bytes) -> Calibration | None:
    """Return the stored calibration between two latent spaces, None if there is no valid one."""
    try:
        stored = Calibration.read(place(folder, sender, receiver))
    except (FileNotFoundError, ValueError):
        return None
    return stored if (stored.sender, stored.receiver) == (sender, receiver) else None


def ridge(source: np.ndarray, target: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return weights and offset of an affine ridge regression from `[N, D]` to `[N, E]`.

    Of all penalties it takes the one with the least leave-one-out error, which the diagonal of the
    hat matrix gives in closed form (Allen's PRESS, 1974).
    """
    x, y, mean_x, mean_y = centered(source, target)
    u, s, vt = svd(x, full_matrices=False)
    uy = u.T @ y
    best, weights = np.inf, np.zeros((x.shape[1], y.shape[1]))
    for penalty in PENALTIES * s[0] ** 2 if s[0] > 0 else ():
        kept = s**2 / (s**2 + penalty)
        leverage = u**2 @ kept + 1 / len(x)
        residual = y - u @ (kept[:, None] * uy)
        error = np.square(residual / np.maximum(1 - leverage, 1e-9)[:, None]).sum()
        if error < best:
            best, weights = error, vt.T @ ((s / (s**2 + penalty))[:, None] * uy)
    return weights, mean_y - mean_x @ weights


def procrustes(source: np.ndarray, target: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return weights and offset of a rotation with one scale, `[N, D]` to `[N, E]`.

    Orthogonal Procrustes (Schönemann, 1966) in the directions that the latents have; what lies
    across them all is left out, where any rotation would fit as well as any other.
    """
    x, y, mean_x, mean_y = centered(source, target)
    u, s, vt = svd(x.T @ y, full_matrices=False)
    rank = min(len(x) - 1, len(s))
    power = np.square(x).sum()
    scale = s.sum() / power if power else 0.0
    weights = scale * u[:, :rank] @ vt[:rank]
    return weights, mean_y - mean_x @ weights


def centered(source: np.ndarray, target: np.ndarray) -> tuple[np.ndarray, ...]:
    """Return both without their means, float64, and the means."""
    x, y = np.asarray(source, np.float64), np.asarray(target, np.float64)
    return x - x.mean(0), y - y.mean(0), x.mean(0), y.mean(0)


def affine(z: np.ndarray, weights: np.ndarray, offset: np.ndarray) -> np.ndarray:
    """Return z · weights + offset, float32."""
    return (np.asarray(z, np.float64) @ weights + offset).astype(np.float32)


def r_squared(predicted: np.ndarray, target: np.ndarray) -> float:
    """Return the share of the variance of `target` `[N, E]` that is explained; 0 if it has none.

    All dimensions are taken together, so that each counts by its variance.
    """
    spread = np.square(target - target.mean(0), dtype=np.float64).sum()
    error = np.square(target - predicted, dtype=np.float64).sum()
    return float(1 - error / spread) if spread > 0 else 0.0
