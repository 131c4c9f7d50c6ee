# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""The interface of loaded models of images, independent of the backend."""

from __future__ import annotations

from abc import abstractmethod
from functools import cached_property
from typing import Any

import numpy as np

from sage_perception.models import identity, latent_ops
from sage_perception.models.artifact import ModelError
from sage_perception.models.image_model import ImageModel


class Codec(ImageModel):
    """A loaded model that encodes images into latents and decodes them.

    Images `x` are float32 `[B, C, S, S]` in [0, 1]; latents `z` are float32 `[B, D]`, or
    `[B, K, H, W]` for families with a spatial latent. `B` may be 0. Methods accept and return
    numpy arrays. The torch backend also accepts tensors and then returns tensors on the device of
    the input.

    Attributes
    ----------
    id, backend, device, precision
        As of `LoadedModel`.
    latent_mean, latent_std : np.ndarray
        Statistics of the latents of the training crops, float32 of the shape of a latent. Subtract
        the mean before comparing the directions of latents.

    """

    @property
    def latent_shape(self) -> tuple[int, ...]:
        """Return the shape of a latent: `[D]`, or `[K, H, W]`."""
        return self.latent_mean.shape

    @property
    def latent_dim(self) -> int:
        """Return D, the number of dimensions of a latent."""
        return self.latent_mean.size

    def encode(self, x: np.ndarray) -> np.ndarray:
        """Return the latents `[B, D]` of images; deterministic."""
        return self.encode_stats(x)[0]

    @abstractmethod
    def encode_stats(self, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return mean and log-variance of the latents, both `[B, D]`; natural logarithm."""

    @abstractmethod
    def decode(self, z: np.ndarray) -> np.ndarray:
        """Return the images `[B, C, S, S]` of latents."""

    @cached_property
    def identity_head(self) -> identity.IdentityHead | None:
        """Return the identity head of the model, None if it has none.

        Raises `ModelError` for a damaged head or one of another latent space.
        """
        return identity.read(self.artifact.path, self.id.fingerprint, self.latent_dim)

    def identity(self, z: np.ndarray) -> np.ndarray:
        """Return the identity codes of latents `[B, D]`, float32 `[B, C]` of length 1.

        The cosine of two codes is higher for two views of one thing than for two things. Raises
        `ModelError` if the model has no identity head, and as `require_latents` does.
        """
        if self.identity_head is None:
            raise ModelError(
                f'{self.id} has no identity head: train one with a configuration of family '
                'identity, or use tinyvae'
            )
        z = np.asarray(z)
        self.require_latents(z)
        return self.identity_head(z)

    def get_latents(self, x: np.ndarray) -> np.ndarray:
        """Return the latents of images; an alias of `encode`."""
        return self.encode(x)

    def reconstruct(self, x: np.ndarray) -> np.ndarray:
        """Return images after encoding and decoding."""
        return self.decode(self.encode(x))

    def interpolate(self, a: np.ndarray, b: np.ndarray, steps: int) -> np.ndarray:
        """Return the images `[steps, C, S, S]` on the straight line between latents.

        `a` and `b` are each one latent without the batch dimension; the first and the last image
        are theirs.
        """
        line = latent_ops.interpolate(a.ravel(), b.ravel(), np.linspace(0, 1, steps))
        return self.decode(line.reshape(steps, *a.shape))

    def require_latents(self, z: Any) -> None:
        """Raise `ModelError` unless `z` is an array or tensor of floats `[B, D]`."""
        self._require(z, self.latent_shape, 'latents', '')
