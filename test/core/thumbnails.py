# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""A small exact codec for the tests of compatibility."""

import numpy as np

from sage_perception.core.latent import ModelId
from sage_perception.trust.compatibility import probe_set


class Thumbnails:
    """A model of 8×8 images whose latents are their `dim` lowest cosine coefficients.

    `turn` `[dim, dim]` rotates its latent space.
    """

    input_size, input_channels = 8, 3

    def __init__(self, dim=48, name='thumbnails', turn=None):
        self.latent_shape = (dim,)
        self.id = ModelId(name, '1', name.encode().ljust(32, b'.'))
        self.turn = np.eye(dim) if turn is None else turn
        k, n = np.mgrid[:8, :8]
        cosines = np.cos(np.pi * k * (n + 0.5) / 8) * np.where(k, 0.5, 0.5**1.5)
        order = np.argsort(np.add.outer(np.arange(8), np.arange(8)).ravel(), kind='stable')
        self.basis = np.kron(cosines, cosines)[order[: dim // 3]]
        self.latent_mean = self.encode(probe_set.scale(probe_set.images(), 8, 3)).mean(0)

    def encode(self, x):
        return (x.reshape(len(x), 3, 64) @ self.basis.T).reshape(len(x), -1) @ self.turn

    def decode(self, z):
        coefficients = z @ np.linalg.inv(self.turn)
        return (coefficients.reshape(len(z), 3, -1) @ self.basis).reshape(-1, 3, 8, 8).clip(0, 1)
