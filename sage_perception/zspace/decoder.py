# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Decodes latents to volumes."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import ArrayLike

from sage_perception.zspace.checks import ZSpaceError, finite_array, whole_number
from sage_perception.zspace.diffusion import ZDiffuser
from sage_perception.zspace.interpolation import InterpolationMethod
from sage_perception.zspace.volume import MAX_VOXELS, ZSpaceVolume
from sage_perception.zspace.windows import MAX_DEPTH

MAX_FEATURES = 4096
"""Maximum number of elements of a latent."""


class ZDecoder:
    """Decodes a latent to a volume (spec 004, ZDecoder).

    An untrained decoder computes tanh((1/F)·Σ_f latent_f·u_f) with patterns u_f, uniform in
    [-1, 1), that depend on the seed, f and the size of the volume only: a latent always gives the
    same volume. A trained one computes tanh(latent·W + b). All values are in [-1, 1].
    """

    def __init__(self, depth: int, height: int, width: int, seed: int) -> None:
        """Set the size of the volumes and the seed, at least 0. Raises `ZSpaceError`."""
        self.shape = (
            whole_number('depth', depth, 1, MAX_DEPTH),
            whole_number('height', height, 1, MAX_VOXELS),
            whole_number('width', width, 1, MAX_VOXELS),
        )
        if depth * height * width > MAX_VOXELS:
            raise ZSpaceError(f'a volume of shape {self.shape} exceeds {MAX_VOXELS} values')
        self.seed = whole_number('seed', seed, 0, 2**63 - 1)
        self._trained: tuple[np.ndarray, np.ndarray] | None = None

    @classmethod
    def from_state_dict(
        cls, state: Mapping[str, ArrayLike], shape: tuple[int, int, int]
    ) -> ZDecoder:
        """Return a trained decoder of volumes of `shape` (D, H, W).

        `state` has `weight` `[F, D·H·W]` and `bias` `[D·H·W]`. Raises `ZSpaceError` if they do not
        fit.
        """
        decoder = cls(*shape, seed=0)
        if state.keys() != {'weight', 'bias'}:
            raise ZSpaceError('the state dict of a ZDecoder needs weight and bias, no others')
        weight = finite_array('weight', state['weight'], 2)
        bias = finite_array('bias', state['bias'], 1)
        size = int(np.prod(shape))
        if weight.shape[1] != size or bias.shape != (size,):
            raise ZSpaceError(
                f'weight {weight.shape} and bias {bias.shape} do not fit volumes of shape {shape}'
            )
        decoder._trained = (weight.astype(np.float32), bias.astype(np.float32))
        return decoder

    def decode(self, latent: ArrayLike) -> ZSpaceVolume:
        """Return the volume of a latent, `[F]` or `[1, F]`.

        Raises `ZSpaceError` for another shape, values that are not finite, more than
        `MAX_FEATURES` elements, or a number that differs from that of the training.
        """
        features = np.asarray(latent)
        if features.ndim == 2 and len(features) == 1:
            features = features[0]
        features = finite_array('latent', features, 1)
        if features.size > MAX_FEATURES:
            raise ZSpaceError(f'the latent has {features.size} elements, over {MAX_FEATURES}')
        if self._trained is not None:
            weight, bias = self._trained
            if features.size != len(weight):
                raise ZSpaceError(
                    f'the latent has {features.size} elements; the decoder was trained with '
                    f'{len(weight)}'
                )
            total = features @ weight + bias
        else:
            total = self._random_sum(features)
        return ZSpaceVolume(np.tanh(total).reshape(self.shape))

    def decode_with_refinement(
        self,
        latent: ArrayLike,
        diffuser: ZDiffuser | None = None,
        method: InterpolationMethod | None = None,
        factor: int | None = None,
    ) -> ZSpaceVolume:
        """Return the decoded volume after diffusion, interpolation of slices and upscaling.

        Each step is left out if it is None. Raises `ZSpaceError` as the steps do.
        """
        volume = self.decode(latent)
        if diffuser is not None:
            volume = diffuser.diffuse(volume)
        if method is not None:
            volume = volume.interpolate(method)
        if factor is not None:
            volume = volume.upscale(factor)
        return volume

    def _random_sum(self, features: np.ndarray) -> np.ndarray:
        """Return the mean of the patterns weighted by `features` `[F]`, float64 `[D·H·W]`."""
        # Raw bits of PCG64 are the same in all versions of numpy; derived distributions are not.
        bits = np.random.PCG64(self.seed)
        size = int(np.prod(self.shape))
        total = np.zeros(size)
        for value in features / features.size:
            total += value * ((bits.random_raw(size) >> 11) * 2.0**-52 - 1)
        return total
