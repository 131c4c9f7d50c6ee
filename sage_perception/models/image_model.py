# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Base of the loaded models that take images."""

from __future__ import annotations

from typing import Any

import numpy as np

from sage_perception.models.artifact import LATENT_MEAN, LATENT_STD, Artifact, ModelError
from sage_perception.models.loaded import LoadedModel


class ImageModel(LoadedModel):
    """A loaded model of images, float32 `[B, C, S, S]` in [0, 1].

    Attributes
    ----------
    id, backend, device, precision
        As of `LoadedModel`.
    latent_mean, latent_std : np.ndarray
        Statistics of the latents of training images, float32 of the shape of a latent.

    """

    def __init__(self, artifact: Artifact, device: str, precision: str):
        super().__init__(artifact, device, precision)
        self.latent_mean: np.ndarray = artifact.tensor(LATENT_MEAN)
        self.latent_std: np.ndarray = artifact.tensor(LATENT_STD)

    @property
    def input_size(self) -> int:
        """Return S, the side of an image in pixels."""
        return self.artifact.count('img_size')

    @property
    def input_channels(self) -> int:
        """Return C: 3 for RGB, 1 for gray."""
        return self.artifact.count('input_channels')

    def require_images(self, x: Any) -> None:
        """Raise `ModelError` unless `x` is an array or tensor of floats `[B, C, S, S]`."""
        size = self.input_size
        self._require(x, (self.input_channels, size, size), 'images', ' in [0, 1]')

    def _require(self, array: Any, shape: tuple[int, ...], name: str, scale: str) -> None:
        given, dtype = tuple(array.shape), array.dtype
        # The name of a dtype of numpy takes longer than everything else here.
        floats = dtype.kind == 'f' if isinstance(dtype, np.dtype) else 'float' in str(dtype)
        if len(given) != 1 + len(shape) or given[1:] != shape or not floats:
            wanted = ', '.join(map(str, shape))
            raise ModelError(
                f'{self.id.name} takes {name} as float32 [B, {wanted}]{scale}, '
                f'not {dtype} {list(given)}'
            )
