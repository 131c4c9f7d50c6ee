# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Trained interpolation of slices."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import ArrayLike

from sage_perception.zspace.checks import ZSpaceError, finite_array
from sage_perception.zspace.interpolation import InterpolationMethod, between, interleaved
from sage_perception.zspace.volume import ZSpaceVolume

SLICES = 4
"""Number of slices around a new one that the network sees."""


class ZSuperResolution:
    """Interpolates slices with cubic interpolation plus a trained correction.

    The correction of a slice is two 3×3 convolutions with a ReLU between them over the two slices
    before and the two after it. The maximum over all values of the volume scales its input and
    output, so that it does not depend on the scale. `models.networks.zspace.super_resolution`
    trains it.
    """

    def __init__(self, state: Mapping[str, ArrayLike]) -> None:
        """Set the weights of the two convolutions.

        `state` has `first.weight` `[K, 4, 3, 3]`, `first.bias` `[K]`, `second.weight`
        `[1, K, 3, 3]` and `second.bias` `[1]`. Raises `ZSpaceError` if they do not fit.
        """
        names = ('first.weight', 'first.bias', 'second.weight', 'second.bias')
        if state.keys() != set(names):
            raise ZSpaceError(f'the state dict of a ZSuperResolution needs {", ".join(names)}')
        self._first = finite_array(names[0], state[names[0]], 4)
        self._first_bias = finite_array(names[1], state[names[1]], 1)
        self._second = finite_array(names[2], state[names[2]], 4)
        self._second_bias = finite_array(names[3], state[names[3]], 1)
        width = len(self._first)
        shapes = (self._first.shape, self._second.shape)
        if shapes != ((width, SLICES, 3, 3), (1, width, 3, 3)) or (
            self._first_bias.size,
            self._second_bias.size,
        ) != (width, 1):
            raise ZSpaceError('the weights of a ZSuperResolution do not fit each other')

    def interpolate(self, volume: ZSpaceVolume) -> ZSpaceVolume:
        """Return the volume with a slice between each pair of slices, 2·D - 1 slices."""
        values = volume.values
        if volume.depth < 2:
            return ZSpaceVolume(values)
        middle = between(values, InterpolationMethod.CUBIC)
        scale = max(float(abs(values).max()), 1e-12)
        outer = np.concatenate([values[:1], values, values[-1:]]) / scale
        for index in range(len(middle)):
            middle[index] += scale * self._correction(outer[index : index + SLICES])
        return ZSpaceVolume(interleaved(values, middle))

    def _correction(self, slices: np.ndarray) -> np.ndarray:
        """Return the correction `[H, W]` of the middle of `slices` `[4, H, W]`."""
        hidden = np.maximum(_convolved(slices, self._first, self._first_bias), 0)
        return _convolved(hidden, self._second, self._second_bias)[0]


def _convolved(maps: np.ndarray, kernel: np.ndarray, bias: np.ndarray) -> np.ndarray:
    """Return maps `[C, H, W]` convolved with kernels `[K, C, 3, 3]`, zeros beyond the border."""
    padded = np.pad(maps, ((0, 0), (1, 1), (1, 1)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), axis=(1, 2))
    return np.einsum('chwij,kcij->khw', windows, kernel, optimize=True) + bias[:, None, None]
