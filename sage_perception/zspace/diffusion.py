# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Diffusion: values spread to their neighbors in the volume."""

from __future__ import annotations

import numpy as np

from sage_perception.zspace.checks import number, whole_number
from sage_perception.zspace.volume import ZSpaceVolume

MAX_ITERATIONS = 1024
"""Maximum number of steps of a diffusion."""


class ZDiffuser:
    """Spreads values to their neighbors (spec 004, ZDiffuser).

    A step replaces each value v by (1 - rate)·v + rate·n. n is the mean of those of its six
    neighbors that exist, in its slice and in the slices before and after; all steps stay in the
    range of the input. With `across_slices=False` only the four neighbors in the slice count, so
    that slices of different cameras do not mix.
    """

    def __init__(self, iterations: int, rate: float, across_slices: bool = True) -> None:
        """Set the number of steps, 0 to `MAX_ITERATIONS`, and the rate, limited to [0, 1].

        Raises `ZSpaceError` for another number of steps, and for a rate that is not finite.
        """
        self.iterations = whole_number('iterations', iterations, 0, MAX_ITERATIONS)
        self.rate = min(max(number('rate', rate), 0.0), 1.0)
        self.across_slices = across_slices

    def diffuse(self, volume: ZSpaceVolume) -> ZSpaceVolume:
        """Return the volume after all steps."""
        values = volume.values
        axes = (0, 1, 2) if self.across_slices else (1, 2)
        # A map of one pixel has no neighbors and keeps its value.
        count = np.maximum(_neighbor_sum(np.ones_like(values), axes), 1)
        alone = count.size == 1 or max(values.shape[axis] for axis in axes) == 1
        rate = np.float32(0 if alone else self.rate)
        keep, share = 1 - rate, rate / count
        low, high = values.min(), values.max()
        for _ in range(self.iterations):
            values = keep * values + share * _neighbor_sum(values, axes)
        # Rounding could leave the range by the last digit.
        return ZSpaceVolume(np.clip(values, low, high))


def _neighbor_sum(values: np.ndarray, axes: tuple[int, ...]) -> np.ndarray:
    """Return the sum of the neighbors of each value along `axes`."""
    total = np.zeros_like(values)
    for axis in axes:
        upper = [slice(None)] * 3
        lower = [slice(None)] * 3
        upper[axis], lower[axis] = slice(1, None), slice(None, -1)
        total[tuple(upper)] += values[tuple(lower)]
        total[tuple(lower)] += values[tuple(upper)]
    return total
