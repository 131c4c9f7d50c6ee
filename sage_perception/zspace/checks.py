# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Validation and normalization that the Z-space classes share."""

from __future__ import annotations

import math
import reprlib

import numpy as np
from numpy.typing import ArrayLike

EPSILON = float(np.finfo(np.float32).eps)
"""Sum of weights up to which no weight is above the others: 1.19e-7."""


class ZSpaceError(ValueError):
    """An array or a setting of Z-space has an invalid shape, value or range."""


def finite_array(name: str, values: ArrayLike, ndim: int) -> np.ndarray:
    """Return `values` as float64 with `ndim` dimensions, none of them empty.

    Raises `ZSpaceError`, which contains `name`, for another shape and for values that are not
    finite numbers.
    """
    try:
        array = np.asarray(values, np.float64)
    except (TypeError, ValueError):
        raise ZSpaceError(f'{name} is not an array of numbers with {ndim} dimensions') from None
    if array.ndim != ndim or not array.size:
        raise ZSpaceError(
            f'{name} has the shape {array.shape}; it must have {ndim} dimensions, each at least 1'
        )
    if not np.isfinite(array).all():
        raise ZSpaceError(f'{name} contains NaN or infinity; all values must be finite')
    return array


def number(name: str, value: float, low: float = -math.inf, high: float = math.inf) -> float:
    """Return `value` if it is a finite number in [low, high]; raise `ZSpaceError` otherwise."""
    if (
        isinstance(value, (int, float, np.integer, np.floating))
        and not isinstance(value, bool)
        and math.isfinite(value)
        and low <= value <= high
    ):
        return float(value)
    wanted = 'a finite number'
    if low > -math.inf or high < math.inf:
        wanted = f'in [{low:g}, {high:g}]' if high < math.inf else f'at least {low:g}'
    raise ZSpaceError(f'{name} is {reprlib.repr(value)}; it must be {wanted}')


def whole_number(name: str, value: int, low: int, high: int) -> int:
    """Return `value` if it is an integer in [low, high]; raise `ZSpaceError` otherwise."""
    integer = isinstance(value, (int, np.integer)) and not isinstance(value, bool)
    if integer and low <= value <= high:
        return int(value)
    raise ZSpaceError(
        f'{name} is {reprlib.repr(value)}; it must be a whole number from {low} to {high}'
    )


def normalized(weights: np.ndarray) -> np.ndarray:
    """Return weights `[N]` divided by their sum; equal weights if the sum is not above `EPSILON`.

    Spec 004, SpectralWindow: float64 `[N]` with the sum 1.
    """
    total = float(weights.sum())
    if not total > EPSILON:
        return np.full(weights.shape, 1 / weights.size)
    return weights / total
