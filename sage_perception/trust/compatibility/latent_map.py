# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Affine maps between latent spaces, fitted on latents of the same images.

>>> latent_map = fit_latent_map(theirs, ours, their_fingerprint, our_fingerprint)
>>> z = latent_map.apply(received)

A map is an affine ridge regression if there are more images than dimensions, otherwise a rotation
with one scale. A network on top of it is no more accurate (`bench/compatibility.py`).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.linalg import svd

from sage_perception.trust.compatibility import probe_set

PENALTIES = np.logspace(-12, 2, 29)
"""Ridge penalties to choose from, relative to the largest squared singular value."""
PERMUTATIONS = 999
"""Permutations of the significance test."""
SIGNIFICANCE_LEVEL = 0.01
"""Smallest p-value of a map that is indistinguishable from chance."""
ROUNDING = 1e-9
"""Relative variance of equal float32 values that were averaged."""
R2_TOLERANCE = 0.01
"""Decrease of R² up to which a stored map still fits."""


@dataclass(frozen=True, eq=False)
class LatentMap:
    """The map z ↦ z · weights + offset from a sender's latent space to a receiver's.

    Attributes
    ----------
    sender, receiver : bytes
        Fingerprints of the two latent spaces, 32 bytes each.
    weights, offset : np.ndarray
        float64 `[D, E]` and `[E]`.
    residual : np.ndarray
        Variance of the error of the map on held-out images, float64 `[E]`.
    method : str
        `'ridge'` or `'procrustes'`.
    image_count : int
        Number of images that the map was fitted on.
    r2 : float
        Share of the receiver's variance that the map explains on held-out images; at most 1,
        negative for a map worse than the mean.
    p_value : float
        Share of permutations of the held-out images for which the map explains as much, at least
        0.001.

    """

    sender: bytes
    receiver: bytes
    weights: np.ndarray
    offset: np.ndarray
    residual: np.ndarray
    method: str
    image_count: int
    r2: float
    p_value: float

    @property
    def significant(self) -> bool:
        """Return whether the map explains more than chance does."""
        return self.r2 > 0 and self.p_value < SIGNIFICANCE_LEVEL

    @property
    def input_dim(self) -> int:
        """Return the number of dimensions D of the sender's latents."""
        return len(self.weights)

    def apply(self, z: np.ndarray) -> np.ndarray:
        """Return latents `[B, D]` mapped to the receiver's space, float32 `[B, E]`.

        Raises `ValueError` for latents of another shape.
        """
        if z.ndim != 2 or z.shape[1] != self.input_dim:
            raise ValueError(
                f'the latent map takes latents [B, {self.input_dim}], not {list(z.shape)}'
            )
        return affine(z, self.weights, self.offset)

    def apply_log_var(self, log_var: np.ndarray) -> np.ndarray:
        """Return the log variance of mapped latents, float32 `[B, E]`.

        `log_var` `[B, D]` is that of the sender's latents. The result includes the error of the
        map, so a translated latent is never more certain than the translation.
        """
        variance = np.exp(np.asarray(log_var, np.float64)) @ self.weights**2 + self.residual
        return np.log(np.maximum(variance, np.finfo(np.float32).tiny)).astype(np.float32)

    def still_fits(self, source: np.ndarray, target: np.ndarray) -> bool:
        """Return whether R² on held-out latents `[N, D]` and `[N, E]` is as high as when fitted.

        A fingerprint is an unproven claim. This check rejects a stored map that was fitted on the
        latents of a sender with a false fingerprint.
        """
        if source.shape[1:] + target.shape[1:] != self.weights.shape:
            return False
        return r_squared(self.apply(source), target) >= self.r2 - R2_TOLERANCE


def fit_latent_map(
    theirs: np.ndarray,
    ours: np.ndarray,
    sender: bytes,
    receiver: bytes,
    fitted: int = probe_set.FITTED,
) -> LatentMap:
    """Fit a map on the first `fitted` of latents `[N, D]` and `[N, E]`; score it on the others.

    `sender` and `receiver` are the fingerprints of the latent spaces of `theirs` and `ours`. The
    significance comes from a permutation test: the held-out latents are paired with those of other
    images. Raises `ValueError` unless both arrays are finite, of equal length, and leave at least
    2 images to fit on and 2 to score on.
    """
    for name, latents in (('theirs', theirs), ('ours', ours)):
        if latents.ndim != 2 or len(latents) != len(ours) or not np.isfinite(latents).all():
            raise ValueError(
                f'{name}: latents to fit a map on must be finite [{len(ours)}, D], '
                f'not {list(latents.shape)}'
            )
    if not 2 <= fitted <= len(ours) - 2:
        raise ValueError(f'fitted={fitted} is out of range: it must be in [2, {len(ours) - 2}]')
    method = ridge if fitted > theirs.shape[1] else procrustes
    weights, offset = method(theirs[:fitted], ours[:fitted])
    predicted, target = affine(theirs[fitted:], weights, offset), ours[fitted:]
    r2 = r_squared(predicted, target)
    return LatentMap(
        sender,
        receiver,
        weights,
        offset,
        residual=np.square(target - predicted, dtype=np.float64).mean(0),
        method=method.__name__,
        image_count=fitted,
        r2=r2,
        p_value=permutation_p_value(predicted, target, r2),
    )


def permutation_p_value(predicted: np.ndarray, target: np.ndarray, r2: float) -> float:
    """Return the share of random pairings of rows whose R² reaches `r2`.

    `predicted` and `target` are `[N, E]`. The observed pairing counts as one of them, so the
    result is at least 1 / (`PERMUTATIONS` + 1).
    """
    rng = np.random.default_rng(0)
    null = [r_squared(rng.permutation(predicted), target) for _ in range(PERMUTATIONS)]
    return float((1 + np.sum(np.array(null) >= r2)) / (1 + PERMUTATIONS))


def ridge(source: np.ndarray, target: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return weights `[D, E]` and offset `[E]` of an affine ridge regression.

    `source` is `[N, D]` and `target` is `[N, E]`. The penalty is the one of `PENALTIES` with the
    smallest leave-one-out error, in closed form from the diagonal of the hat matrix (Allen's
    PRESS, 1974).
    """
    x, y, mean_x, mean_y = centered(source, target)
    u, s, vt = svd(x, full_matrices=False)
    uy = u.T @ y
    best, weights = np.inf, np.zeros((x.shape[1], y.shape[1]))
    for penalty in PENALTIES * s[0] ** 2 if s[0] > 0 else ():
        shrinkage = s**2 / (s**2 + penalty)
        leverage = u**2 @ shrinkage + 1 / len(x)
        residual = y - u @ (shrinkage[:, None] * uy)
        error = np.square(residual / np.maximum(1 - leverage, 1e-9)[:, None]).sum()
        if error < best:
            best, weights = error, vt.T @ ((s / (s**2 + penalty))[:, None] * uy)
    return weights, mean_y - mean_x @ weights


def procrustes(source: np.ndarray, target: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return weights `[D, E]` and offset `[E]` of a rotation with one scale.

    `source` is `[N, D]` and `target` is `[N, E]`. Orthogonal Procrustes (Schönemann, 1966),
    restricted to the subspace that the centered latents span: outside it any rotation would fit
    equally well.
    """
    x, y, mean_x, mean_y = centered(source, target)
    u, s, vt = svd(x.T @ y, full_matrices=False)
    rank = min(len(x) - 1, len(s))
    power = np.square(x).sum()
    scale = s.sum() / power if power else 0.0
    weights = scale * u[:, :rank] @ vt[:rank]
    return weights, mean_y - mean_x @ weights


def centered(
    source: np.ndarray, target: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return both arrays without their column means, and both means; float64."""
    x, y = np.asarray(source, np.float64), np.asarray(target, np.float64)
    mean_x, mean_y = x.mean(0), y.mean(0)
    return x - mean_x, y - mean_y, mean_x, mean_y


def affine(z: np.ndarray, weights: np.ndarray, offset: np.ndarray) -> np.ndarray:
    """Return z · weights + offset, float32."""
    return (np.asarray(z, np.float64) @ weights + offset).astype(np.float32)


def r_squared(predicted: np.ndarray, target: np.ndarray) -> float:
    """Return the explained share of the variance of `target` `[N, …]`; 0 if it is constant.

    All dimensions are pooled, so each counts by its variance.
    """
    spread = np.square(target - target.mean(0), dtype=np.float64).sum()
    error = np.square(target - predicted, dtype=np.float64).sum()
    rounding = ROUNDING * np.square(target, dtype=np.float64).sum()
    return float(1 - error / spread) if spread > rounding else 0.0
