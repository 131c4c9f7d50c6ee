# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""A real, small codec for the tests of trust."""

import numpy as np

from sage_perception.core.latent import ModelId
from sage_perception.trust.compatibility import probe_images as probes


class Thumbnails:
    """Images of 8×8 pixels to their `dim` largest cosines and back.

    With a `turn` `[dim, dim]` it speaks a language of its own: its latents are turned by it.
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
        self.latent_mean = self.encode(probes.to_input(8)).mean(0)

    def encode(self, x):
        return (x.reshape(len(x), 3, 64) @ self.basis.T).reshape(len(x), -1) @ self.turn

    def decode(self, z):
        straight = z @ np.linalg.inv(self.turn)
        return (straight.reshape(len(z), 3, -1) @ self.basis).reshape(-1, 3, 8, 8).clip(0, 1)
