# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Resampling of volumes: slices between slices, and more pixels per slice."""

from __future__ import annotations

from enum import Enum

import numpy as np


class InterpolationMethod(Enum):
    """How the slice between two slices p1 and p2 is computed (spec 004, super-resolution).

    `NEAREST` repeats p1, `LINEAR` is their mean, and `CUBIC` is (-p0 + 9·p1 + 9·p2 - p3) / 16,
    the Catmull-Rom spline at its midpoint; the first and the last slice are repeated beyond
    the ends.
    """

    NEAREST = 'nearest'
    LINEAR = 'linear'
    CUBIC = 'cubic'


def between(values: np.ndarray, method: InterpolationMethod) -> np.ndarray:
    """Return the slices between successive slices of `[D, H, W]`, `[D - 1, H, W]`."""
    before, after = values[:-1], values[1:]
    if method is InterpolationMethod.NEAREST:
        return before.copy()
    if method is InterpolationMethod.LINEAR:
        return (before + after) / 2
    outer = np.concatenate([values[:1], values, values[-1:]])
    return (9 * (before + after) - outer[:-3] - outer[3:]) / 16


def interleaved(values: np.ndarray, middle: np.ndarray) -> np.ndarray:
    """Return slices `[D, H, W]` with those between them `[D - 1, H, W]`, `[2D - 1, H, W]`."""
    result = np.empty((2 * len(values) - 1, *values.shape[1:]), values.dtype)
    result[::2] = values
    result[1::2] = middle
    return result


def upscaled(values: np.ndarray, factor: int) -> np.ndarray:
    """Return `[D, H, W]` with `factor` times as many rows and columns, bilinear.

    The corner pixels keep their values (`align_corners` in torch).
    """
    if factor == 1:
        return values.copy()
    rows, columns = (_bilinear(size, factor) for size in values.shape[1:])
    return rows @ values @ columns.T


def _bilinear(size: int, factor: int) -> np.ndarray:
    """Return the matrix `[factor · size, size]` that interpolates a row of pixels."""
    place = np.linspace(0, size - 1, factor * size)
    index = np.arange(size)
    return np.maximum(1 - abs(place[:, None] - index), 0).astype(np.float32)
