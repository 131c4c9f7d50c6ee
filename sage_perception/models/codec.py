# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""What every loaded model of images can do, whatever computes it."""

from __future__ import annotations

from abc import abstractmethod

import numpy as np

from sage_perception.models import latent_ops as arithmetic
from sage_perception.models.artifact import LATENT_MEAN, LATENT_STD, Artifact, ModelError
from sage_perception.models.loaded import LoadedModel


class Codec(LoadedModel):
    """A loaded model that turns images into latents and back.

    Images `x` are float32 `[B, C, S, S]` in [0, 1], latents `z` float32 `[B, D]`, or
    `[B, K, H, W]` where the family keeps places apart; `B` may be anything, 0 included. Takes and
    returns numpy arrays. The torch backend also takes tensors and then returns tensors, on the
    device of the input.

    Attributes
    ----------
    id, backend, device, precision
        As of every `LoadedModel`.
    latent_mean, latent_std : np.ndarray
        Statistics of the latents over the training crops, float32 of a latent's shape. Latents
        of different images are compared after taking off the mean.

    """

    def __init__(self, artifact: Artifact, device: str, precision: str):
        super().__init__(artifact, device, precision)
        self.latent_mean: np.ndarray = artifact.tensors[LATENT_MEAN]
        self.latent_std: np.ndarray = artifact.tensors[LATENT_STD]

    @property
    def latent_shape(self) -> tuple[int, ...]:
        """Return the shape of a latent: `[D]`, or `[K, H, W]`."""
        return self.latent_mean.shape

    @property
    def latent_dim(self) -> int:
        """Return D, the numbers of a latent."""
        return self.latent_mean.size

    @property
    def input_size(self) -> int:
        """Return S, the side of an image in pixels."""
        return self.artifact.config['img_size']

    @property
    def input_channels(self) -> int:
        """Return C: 3 for red, green, blue, 1 for gray."""
        return self.artifact.config['input_channels']

    def encode(self, x: np.ndarray) -> np.ndarray:
        """Return the latents `[B, D]` of images: the same for the same image, always."""
        return self.encode_stats(x)[0]

    @abstractmethod
    def encode_stats(self, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return mean and natural logarithm of the variance of the latents, both `[B, D]`."""

    @abstractmethod
    def decode(self, z: np.ndarray) -> np.ndarray:
        """Return the images `[B, C, S, S]` that latents stand for."""

    def get_latents(self, x: np.ndarray) -> np.ndarray:
        """Return the latents of images: another name of `encode`."""
        return self.encode(x)

    def reconstruct(self, x: np.ndarray) -> np.ndarray:
        """Return what images look like after encoding and decoding."""
        return self.decode(self.encode(x))

    def interpolate(self, a: np.ndarray, b: np.ndarray, steps: int) -> np.ndarray:
        """Return the images `[steps, C, S, S]` on the straight way from latent `a` to `b`.

        Both are one latent without the batch; the first and last images are their own.
        """
        way = arithmetic.interpolate(a.ravel(), b.ravel(), np.linspace(0, 1, steps))
        return self.decode(way.reshape(steps, *a.shape))

    def require_images(self, x: np.ndarray) -> None:
        """Raise `ModelError` unless `x` is an array or tensor of floats `[B, C, S, S]`."""
        size = self.input_size
        self._require(x, (self.input_channels, size, size), 'images', ' in [0, 1]')

    def require_latents(self, z: np.ndarray) -> None:
        """Raise `ModelError` unless `z` is an array or tensor of floats `[B, D]`."""
        self._require(z, self.latent_shape, 'latents', '')

    def _require(self, array, shape, what, scale):
        given = tuple(array.shape)
        if len(given) != 1 + len(shape) or given[1:] != shape or 'float' not in str(array.dtype):
            wanted = ', '.join(map(str, shape))
            raise ModelError(
                f'{self.id.name} takes {what} as float32 [B, {wanted}]{scale}, '
                f'not {array.dtype} {list(given)}'
            )
