# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Vector arithmetic on latents: interpolation, analogy, extrapolation of a track.

All functions are linear algebra on latents of one space; `bench/latents.py` measures how often
their results hold on real crops. Needs numpy only.
"""

from __future__ import annotations

import numpy as np

MAX_HISTORY = 16
"""Number of the most recent latents of a history that extrapolation uses."""
MIN_HISTORY = 4
"""Minimum number of latents for extrapolation: fewer do not distinguish motion from jitter."""
LENGTHS = (1.0, 2.0, 4.0, 8.0)
"""Length scales of the kernels, in median intervals between stamps."""
NOISE = 1e-3
"""Variance of the observation noise relative to that of the track."""
INDEPENDENT = 0.1
"""Fraction of the latent dimensions that count as independent evidence for a kernel."""


def interpolate(a: np.ndarray, b: np.ndarray, t: float | np.ndarray) -> np.ndarray:
    """Return the latents on the straight line from `a` (t = 0) to `b` (t = 1), float32.

    `a` and `b` are float `[..., D]`; `t` is in [0, 1], a scalar or an array that is broadcast
    against `...`: t `[T]` between two latents `[D]` gives `[T, D]`.

    Linear rather than spherical interpolation (slerp): slerp suits latents with a unit Gaussian
    prior, which keeps them at one distance from the origin. These latents are nearly deterministic
    and lie around a mean far from the origin, which has no meaning for the image.

    Raises `ValueError` for other shapes, values that are not finite, or `t` out of range.
    """
    a, b = _latents(a=a, b=b)
    t = np.asarray(t, np.float64)
    if not ((t >= 0) & (t <= 1)).all():
        raise ValueError(f't is {t}; it must be in [0, 1]')
    t = t[..., None]
    return ((1 - t) * a + t * b).astype(np.float32)


def analogy(a: np.ndarray, b: np.ndarray, c: np.ndarray) -> np.ndarray:
    """Return the latent that relates to `c` as `b` relates to `a`: b − a + c, float32 `[..., D]`.

    Arguments are float `[..., D]`, broadcast against one another (Mikolov et al., 2013; Radford et
    al., 2015). The analogy holds for additive changes, such as light or another background, and
    partly for multiplicative ones, such as exposure and white balance. It does not hold for
    mirroring, shift or blur, whose difference depends on the content: there `c` itself is closer.
    Raises `ValueError` for other shapes or values that are not finite.
    """
    a, b, c = _latents(a=a, b=b, c=c)
    return (b - a + c).astype(np.float32)


def extrapolate(
    history: np.ndarray, stamps: np.ndarray, at: float, method: str = 'process'
) -> np.ndarray:
    """Return the expected latent of a track at a later time, float32 `[D]`.

    `history` is float `[T, D]`, T ≥ 1, at the increasing times `stamps` `[T]`, seconds. `at` is
    the time of the result, `stamps[-1]` or later.

    `'process'` returns the mean of a Gaussian process with unknown mean (ordinary kriging;
    Rasmussen and Williams, 2006, 2.7) over the last `MAX_HISTORY` latents, averaged over Matérn
    kernels of order 1/2 and 3/2 with the lengths `LENGTHS`, weighted by the restricted likelihood
    (REML) of the history. A smooth motion therefore continues for a while, jitter does not, and
    both return to the mean of the track. With fewer than `MIN_HISTORY` latents the result is the
    last one.

    `'velocity'` continues at the velocity between the last two latents (specification 002, 10.7);
    with one latent the result is that one. On real tracks it is mostly worse than assuming no
    change, from the third frame on several times worse.

    Raises `ValueError` for other shapes, stamps or methods, and for values that are not finite.
    """
    (history,) = _latents(history=history)
    stamps = np.asarray(stamps, np.float64)
    if history.ndim != 2 or not len(history) or stamps.shape != history.shape[:1]:
        raise ValueError(
            f'history must be [T, D] with T stamps, T at least 1, '
            f'not {list(history.shape)} with {list(stamps.shape)}'
        )
    if not np.isfinite(stamps).all() or (np.diff(stamps) <= 0).any():
        raise ValueError(f'stamps are {stamps}, they must be finite and increasing seconds')
    if not stamps[-1] <= at < np.inf:
        raise ValueError(f'at is {at}, it must not be before the last stamp, {stamps[-1]}')
    if method not in METHODS:
        raise ValueError(f'method is {method!r}; it must be one of {", ".join(METHODS)}')
    return METHODS[method](history[-MAX_HISTORY:], stamps[-MAX_HISTORY:], at).astype(np.float32)


def _velocity(history: np.ndarray, stamps: np.ndarray, at: float) -> np.ndarray:
    if len(history) == 1:
        return history[-1]
    ahead = (at - stamps[-1]) / (stamps[-1] - stamps[-2])
    return history[-1] + ahead * (history[-1] - history[-2])


def _process(history: np.ndarray, stamps: np.ndarray, at: float) -> np.ndarray:
    """Return the kriging mean of `history` `[T, D]`, averaged over the kernels K."""
    count, dim = history.shape
    if count < MIN_HISTORY:
        return history[-1]
    interval = np.median(np.diff(stamps))
    covariance = _kernels(np.abs(stamps[:, None] - stamps) / interval) + NOISE * np.eye(count)
    inverse = np.linalg.inv(covariance)  # [K, T, T]
    sums = inverse.sum(2)  # [K, T]: K⁻¹ 1
    total = sums.sum(1)  # [K]: 1ᵀ K⁻¹ 1
    # Σ over D of (z − m)ᵀ K⁻¹ (z − m), with the mean m that minimizes it.
    shift = history - history.mean(0)
    spread = np.einsum('td,kts,sd->k', shift, inverse, shift)
    spread -= np.square(sums @ shift).sum(1) / total
    if spread.min() <= 0:  # constant history
        return history[-1]
    evidence = (count - 1) * np.log(spread) + np.linalg.slogdet(covariance)[1] + np.log(total)
    posterior = np.exp(-0.5 * INDEPENDENT * dim * (evidence - evidence.min()))
    # Weights of the history in the prediction; those of each kernel sum to 1.
    weights = np.einsum('kts,ks->kt', inverse, _kernels((at - stamps) / interval))
    weights += ((1 - weights.sum(1)) / total)[:, None] * sums
    return (posterior / posterior.sum()) @ weights @ history


def _kernels(distance: np.ndarray) -> np.ndarray:
    """Return the correlations at a distance in intervals, `[K, ...]` for K kernels."""
    near = distance / np.reshape(LENGTHS, (-1,) + (1,) * distance.ndim)
    root = np.sqrt(3) * near
    return np.concatenate((np.exp(-near), (1 + root) * np.exp(-root)))


METHODS = {'process': _process, 'velocity': _velocity}


def _latents(**named: np.ndarray) -> list[np.ndarray]:
    """Return latents as float64; raise `ValueError` with the name of an invalid one."""
    arrays = {name: np.asarray(array) for name, array in named.items()}
    dims = {array.shape[-1] if array.ndim else 0 for array in arrays.values()}
    for name, array in arrays.items():
        if array.ndim < 1 or array.dtype.kind != 'f' or len(dims) > 1:
            shapes = ', '.join(f'{n} {v.dtype} {list(v.shape)}' for n, v in arrays.items())
            raise ValueError(f'latents must be float [..., D] with one D, not {shapes}')
        if not np.isfinite(array).all():
            raise ValueError(f'{name} has values that are not finite')
    return [array.astype(np.float64) for array in arrays.values()]
