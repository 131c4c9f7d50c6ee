# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Reckoning with latents: between two, by analogy, and where a track is going.

All of it is linear algebra on latents of one space; `bench/latents.py` measures on real crops how
often each comes true. Needs numpy only.
"""

from __future__ import annotations

import numpy as np

RECENT = 16
"""Latents of a history that extrapolation looks at, the latest ones ..."""
LEAST = 4
"""... and how many it needs: fewer do not tell a motion from jitter."""
LENGTHS = (1.0, 2.0, 4.0, 8.0)
"""How long a track may take to change, in intervals between two of its stamps."""
NOISE = 1e-3
"""Variance of what belongs to one moment alone, over that of the track."""
INDEPENDENT = 0.1
"""Share of a latent's dimensions that tell something of their own about how a track changes."""


def interpolate(a: np.ndarray, b: np.ndarray, t: float | np.ndarray) -> np.ndarray:
    """Return the latents on the straight line from `a` (t = 0) to `b` (t = 1), float32.

    `a` and `b` are float `[..., D]`; `t` is in [0, 1], a number or an array that is broadcast
    against `...`: t `[T]` between two latents `[D]` gives `[T, D]`.

    Straight and not spherical (slerp): that belongs to a code whose unit Gaussian prior keeps it
    at one distance from the origin. Ours is a nearly deterministic code around a mean far from
    the origin, with distances that are those of images. An arc would bend with the place of
    the origin, of which nothing in the image depends.

    Raises ValueError for other shapes, numbers that are not finite, or `t` out of range.
    """
    a, b = _latents(a=a, b=b)
    t = np.asarray(t, np.float64)
    if not ((t >= 0) & (t <= 1)).all():
        raise ValueError(f't is {t}: between two latents it is in [0, 1]')
    t = t[..., None]
    return ((1 - t) * a + t * b).astype(np.float32)


def analogy(a: np.ndarray, b: np.ndarray, c: np.ndarray) -> np.ndarray:
    """Return what is to `c` as `b` is to `a`, that is b − a + c, float32 `[..., D]`.

    Each is float `[..., D]`, broadcast against one another (Mikolov et al., 2013; Radford et
    al., 2015). It holds for what adds the same to any image, such as light or another
    background; by half for what multiplies, such as exposure and white balance; not for a
    mirror, a shift or a blur, whose difference depends on what is seen: there c itself is nearer.
    Raises ValueError for other shapes or numbers that are not finite.
    """
    a, b, c = _latents(a=a, b=b, c=c)
    return (b - a + c).astype(np.float32)


def extrapolate(
    history: np.ndarray, stamps: np.ndarray, at: float, method: str = 'process'
) -> np.ndarray:
    """Return the latent that a track is expected to have at a later time, float32 `[D]`.

    `history` is float `[T, D]`, T ≥ 1, at the times `stamps` `[T]`, seconds, which increase;
    `at` is the time asked for, from `stamps[-1]` on.

    `'process'` is the mean of a Gaussian process with an unknown mean (ordinary kriging;
    Rasmussen and Williams, 2006, 2.7) over the `RECENT` last latents. How smoothly and how fast
    the track changes, a Matérn kernel of order 1/2 or 3/2 and its length, is not chosen but
    averaged over, weighted by the restricted likelihood (REML) of the history. So a smooth motion
    goes on for a while, a jittering one does not, and both return to the mean of the track. A
    history of fewer than `LEAST` stays as it is.

    `'velocity'` goes on at the speed between the last two, as the specification has it (002,
    10.7); a history of one stays as it is. On real tracks this is mostly worse than to expect no
    change, from the third frame on by a multiple.

    Raises ValueError for other shapes, stamps or methods, and numbers that are not finite.
    """
    (history,) = _latents(history=history)
    stamps = np.asarray(stamps, np.float64)
    if history.ndim != 2 or not len(history) or stamps.shape != history.shape[:1]:
        raise ValueError(
            f'history is [T, D] with T stamps, T at least 1, '
            f'not {list(history.shape)} with {list(stamps.shape)}'
        )
    if not np.isfinite(stamps).all() or (np.diff(stamps) <= 0).any():
        raise ValueError(f'stamps are {stamps}: they must be finite seconds that increase')
    if not stamps[-1] <= at < np.inf:
        raise ValueError(f'at is {at}: it must be a time from the last stamp, {stamps[-1]}, on')
    if method not in METHODS:
        raise ValueError(f'method is {method!r}, it must be one of {", ".join(METHODS)}')
    return METHODS[method](history[-RECENT:], stamps[-RECENT:], at).astype(np.float32)


def _velocity(history: np.ndarray, stamps: np.ndarray, at: float) -> np.ndarray:
    if len(history) == 1:
        return history[-1]
    ahead = (at - stamps[-1]) / (stamps[-1] - stamps[-2])
    return history[-1] + ahead * (history[-1] - history[-2])


def _process(history: np.ndarray, stamps: np.ndarray, at: float) -> np.ndarray:
    """Return the kriging mean of `history` `[T, D]`, averaged over the kernels K."""
    count, dim = history.shape
    if count < LEAST:
        return history[-1]
    interval = np.median(np.diff(stamps))
    between = _kernels(np.abs(stamps[:, None] - stamps) / interval) + NOISE * np.eye(count)
    inverse = np.linalg.inv(between)  # [K, T, T]
    sums = inverse.sum(2)  # [K, T]: K⁻¹ 1
    total = sums.sum(1)  # [K]: 1ᵀ K⁻¹ 1
    # Σ over D of (z − m)ᵀ K⁻¹ (z − m): how far the history strays from the mean that fits best.
    shift = history - history.mean(0)
    spread = np.einsum('td,kts,sd->k', shift, inverse, shift)
    spread -= np.square(sums @ shift).sum(1) / total
    if spread.min() <= 0:  # nothing changes
        return history[-1]
    evidence = (count - 1) * np.log(spread) + np.linalg.slogdet(between)[1] + np.log(total)
    belief = np.exp(-0.5 * INDEPENDENT * dim * (evidence - evidence.min()))
    # The weights of the history in the prediction; those of each kernel sum to 1.
    weights = np.einsum('kts,ks->kt', inverse, _kernels((at - stamps) / interval))
    weights += ((1 - weights.sum(1)) / total)[:, None] * sums
    return (belief / belief.sum()) @ weights @ history


def _kernels(distance: np.ndarray) -> np.ndarray:
    """Return the correlations over a distance in intervals, `[K, ...]`, K kernels."""
    near = distance / np.reshape(LENGTHS, (-1,) + (1,) * distance.ndim)
    root = np.sqrt(3) * near
    return np.concatenate((np.exp(-near), (1 + root) * np.exp(-root)))


METHODS = {'process': _process, 'velocity': _velocity}


def _latents(**named: np.ndarray) -> list[np.ndarray]:
    """Return latents as float64; ValueError names one that is none or does not fit the first."""
    arrays = {name: np.asarray(array) for name, array in named.items()}
    dims = {array.shape[-1] if array.ndim else 0 for array in arrays.values()}
    for name, array in arrays.items():
        if array.ndim < 1 or array.dtype.kind != 'f' or len(dims) > 1:
            shapes = ', '.join(f'{n} {v.dtype} {list(v.shape)}' for n, v in arrays.items())
            raise ValueError(f'latents are floats [..., D] with the same D, not {shapes}')
        if not np.isfinite(array).all():
            raise ValueError(f'{name} holds numbers that are not finite')
    return [array.astype(np.float64) for array in arrays.values()]
