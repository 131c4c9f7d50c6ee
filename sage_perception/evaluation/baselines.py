# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""What stands beside a model: mean color, downsampling, principal components."""

from __future__ import annotations

import math

import numpy as np
import torch
from safetensors.numpy import load_file
from torch.nn.functional import interpolate

from sage_perception.models import Codec, artifact
from sage_perception.models.pca import Pca


def mean_color(x: np.ndarray) -> np.ndarray:
    """Return images `[B, C, H, W]` with each one's mean color all over."""
    return np.broadcast_to(x.mean((2, 3), keepdims=True), x.shape).copy()


def thumbnail(channels: int, numbers: int) -> tuple[int, int]:
    """Return rows and columns of the nearly square image that has at most `numbers` values."""
    cells = max(numbers // channels, 1)
    rows = math.isqrt(cells)
    return rows, cells // rows


def downsample(x: np.ndarray, numbers: int) -> np.ndarray:
    """Return what bilinear resizing leaves of `[B, C, S, S]` through at most `numbers` values."""
    size = thumbnail(x.shape[1], numbers)
    small = interpolate(torch.from_numpy(x), size, mode='bilinear', antialias=True)
    return interpolate(small, x.shape[2:], mode='bilinear').numpy()


class Components:
    """The principal components that come with a model, of whole images or of square blocks.

    A model of large images is compared with components of blocks: those of whole images would
    need more training crops than there are.
    """

    def __init__(self, pca: Pca, channels: int, size: int):
        self.pca, self.channels, self.size = pca, channels, size
        self.side = math.isqrt(pca.mean.size // channels)
        if channels * self.side**2 != pca.mean.size or size % self.side:
            raise ValueError(
                f'{artifact.PCA} is of {pca.mean.size} numbers, which is no square block of '
                f'images with {channels} channels and a side of {size}: export the model again'
            )

    @property
    def blocks(self) -> int:
        """Return how many blocks an image has: 1 where the components are of whole images."""
        return (self.size // self.side) ** 2

    @property
    def most(self) -> int:
        """Return how many numbers of an image all components together keep."""
        return self.blocks * len(self.pca.components)

    def reconstruct(self, x: np.ndarray, numbers: int) -> np.ndarray:
        """Return what at most `numbers` numbers keep of images, float32 `[B, C, S, S]`."""
        keep = max(numbers // self.blocks, 1)
        kept = Pca(self.pca.mean, self.pca.components[:keep])
        return self._join(kept.reconstruct(self._cut(x)))

    def coefficients(self, x: np.ndarray, numbers: int) -> np.ndarray:
        """Return what at most `numbers` numbers say of images, float32 `[B, ≤ numbers]`."""
        keep = max(numbers // self.blocks, 1)
        flat = self._cut(x) - self.pca.mean
        return (flat @ self.pca.components[:keep].T).reshape(len(x), -1)

    def _cut(self, x: np.ndarray) -> np.ndarray:
        across, side = self.size // self.side, self.side
        blocks = x.reshape(-1, self.channels, across, side, across, side)
        return blocks.transpose(0, 2, 4, 1, 3, 5).reshape(-1, self.pca.mean.size)

    def _join(self, flat: np.ndarray) -> np.ndarray:
        across, side = self.size // self.side, self.side
        blocks = flat.reshape(-1, across, across, self.channels, side, side)
        images = blocks.transpose(0, 3, 1, 4, 2, 5)
        return images.reshape(-1, self.channels, self.size, self.size)


def read_components(codec: Codec) -> Components | None:
    """Return the principal components that come with a model, None if none came."""
    path = codec.artifact.path / artifact.PCA
    if not path.is_file():
        return None
    tensors = {name: value.astype(np.float32) for name, value in load_file(path).items()}
    pca = Pca(tensors['mean'].ravel(), tensors['components'])
    return Components(pca, codec.input_channels, codec.input_size)
