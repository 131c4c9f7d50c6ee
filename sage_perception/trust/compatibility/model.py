# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""The interface that compatibility estimation requires of a model."""

from __future__ import annotations

from typing import Protocol

import numpy as np

from sage_perception.core.latent import ModelId


class Model(Protocol):
    """An image model with an encoder and a decoder; `sage_perception.models.Codec` is one."""

    @property
    def id(self) -> ModelId:
        """Return the identity; its fingerprint identifies the latent space."""

    @property
    def input_size(self) -> int:
        """Return the side of an input image, pixels."""

    @property
    def input_channels(self) -> int:
        """Return the channels of an input image: 3 for RGB, 1 for gray."""

    @property
    def latent_shape(self) -> tuple[int, ...]:
        """Return the shape of the latent of one image."""

    @property
    def latent_mean(self) -> np.ndarray:
        """Return the mean latent of the training data, `[*latent_shape]`."""

    def encode(self, x: np.ndarray) -> np.ndarray:
        """Return latents `[B, *latent_shape]` of images `[B, C, S, S]` in [0, 1]."""

    def decode(self, z: np.ndarray) -> np.ndarray:
        """Return images `[B, C, S, S]` of latents `[B, *latent_shape]`."""
