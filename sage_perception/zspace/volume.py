# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Volumes: maps of one size, stacked along the Z axis."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from sage_perception.zspace.checks import ZSpaceError, finite_array, number, whole_number
from sage_perception.zspace.interpolation import (
    InterpolationMethod,
    between,
    interleaved,
    upscaled,
)
from sage_perception.zspace.windows import MAX_DEPTH, SpectralWindow

MAX_VOXELS = 2**26
"""Maximum number of values of a volume, 256 MiB."""
MAX_ABS_VALUE = 1e18
"""Maximum magnitude of a value, so that its square is a finite float32."""


class SliceProfile(NamedTuple):
    """Statistics of the slices of a volume, each float64 `[D]`.

    `means` are the means, `stds` the population standard deviations, and `energies` the mean
    squares of the values of each slice.
    """

    means: np.ndarray
    stds: np.ndarray
    energies: np.ndarray


class ZSpaceVolume:
    """A stack of maps of one size (spec 004, ZSpaceVolume).

    The Z axis has any meaning: cues of saliency, layers of a network, or cameras.

    Attributes
    ----------
    values : numpy.ndarray
        float32 `[D, H, W]`, finite.

    """

    def __init__(self, values: ArrayLike) -> None:
        """Copy `values` `[D, H, W]`.

        Raises `ZSpaceError` for another shape, NaN, infinity, magnitudes above `MAX_ABS_VALUE`,
        more than `MAX_DEPTH` slices or `MAX_VOXELS` values.
        """
        if isinstance(values, np.ndarray) and values.ndim == 3:
            _check_size(values.shape)
        array = finite_array('volume', values, 3)
        _check_size(array.shape)
        if max(array.max(), -array.min()) > MAX_ABS_VALUE:
            raise ZSpaceError(f'volume contains magnitudes above {MAX_ABS_VALUE:g}: scale it down')
        self.values = array.astype(np.float32)

    @classmethod
    def from_slices(cls, slices: Sequence[ArrayLike]) -> ZSpaceVolume:
        """Return the volume of slices `[H, W]` of equal shape, in their order.

        Raises `ZSpaceError` if there is no slice, if a shape differs, or for invalid values.
        """
        if not len(slices):
            raise ZSpaceError('a volume needs at least one slice')
        if len(slices) > MAX_DEPTH:
            raise ZSpaceError(f'a volume has at most {MAX_DEPTH} slices, not {len(slices)}')
        arrays = [finite_array(f'slice {i}', each, 2) for i, each in enumerate(slices)]
        for index, array in enumerate(arrays):
            if array.shape != arrays[0].shape:
                raise ZSpaceError(
                    f'slice {index} has the shape {array.shape}, but slice 0 has '
                    f'{arrays[0].shape}; all slices must have one shape'
                )
        _check_size((len(arrays), *arrays[0].shape))
        return cls(np.stack(arrays))

    @property
    def shape(self) -> tuple[int, int, int]:
        """Return depth, height and width."""
        depth, height, width = self.values.shape
        return depth, height, width

    @property
    def depth(self) -> int:
        """Return the number of slices."""
        return len(self.values)

    def slice_profile(self) -> SliceProfile:
        """Return mean, population standard deviation and mean square of each slice.

        The deviation is computed in a second pass over the values, so that a large mean does not
        cancel it.
        """
        values = self.values.reshape(self.depth, -1).astype(np.float64)
        means = values.mean(axis=1)
        stds = np.sqrt(np.square(values - means[:, None]).mean(axis=1))
        return SliceProfile(means, stds, np.square(values).mean(axis=1))

    def total_energy(self) -> float:
        """Return the mean square of all values."""
        return float(np.square(self.values, dtype=np.float64).mean())

    def spectral_response(self, window: SpectralWindow) -> np.ndarray:
        """Return the mean of each slice times its weight in the window, float64 `[D]`."""
        return self.values.mean(axis=(1, 2), dtype=np.float64) * window.weights(self.depth)

    def accumulate(self, update: ZSpaceVolume, alpha: float) -> None:
        """Replace the values v by (1 - alpha)·v + alpha·u, the exponential moving average.

        u are the values of `update`; `alpha` in [0, 1] is their weight. Raises `ZSpaceError` for
        another alpha, and if the shapes differ; the volume does not change then.
        """
        number('alpha', alpha, 0, 1)
        if update.shape != self.shape:
            raise ZSpaceError(
                f'a volume of shape {update.shape} cannot be accumulated into one of {self.shape}'
            )
        self.values += np.float32(alpha) * (update.values - self.values)

    def interpolate(self, method: InterpolationMethod) -> ZSpaceVolume:
        """Return the volume with a slice between each pair of slices, 2·D - 1 slices.

        Raises `ZSpaceError` if the result exceeds the limits of a volume.
        """
        depth, height, width = self.shape
        _check_size((2 * depth - 1, height, width))
        return _of(interleaved(self.values, between(self.values, method)))

    def upscale(self, factor: int) -> ZSpaceVolume:
        """Return the volume with `factor` times as many rows and columns, bilinear.

        The corners keep their values. Raises `ZSpaceError` for a factor outside 1 to 64, and if
        the result exceeds the limits of a volume.
        """
        whole_number('factor', factor, 1, 64)
        depth, height, width = self.shape
        _check_size((depth, factor * height, factor * width))
        return _of(upscaled(self.values, factor))


def _of(values: np.ndarray) -> ZSpaceVolume:
    """Return a volume of float32 values `[D, H, W]` that are known to be valid, not copied."""
    volume = ZSpaceVolume.__new__(ZSpaceVolume)
    volume.values = values
    return volume


def _check_size(shape: tuple[int, ...]) -> None:
    if shape[0] > MAX_DEPTH or np.prod([float(side) for side in shape]) > MAX_VOXELS:
        raise ZSpaceError(
            f'a volume of shape {tuple(shape)} exceeds {MAX_DEPTH} slices or {MAX_VOXELS} values'
        )
