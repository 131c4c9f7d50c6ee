# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Baselines for a model: mean color, downsampling, principal components."""

from __future__ import annotations

import math

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.numpy import load_file
from torch.nn.functional import interpolate

from sage_perception.core.reading import require_regular
from sage_perception.core.text import one_line
from sage_perception.models import Codec, ModelError, artifact
from sage_perception.models.pca import Pca


def mean_color(x: np.ndarray) -> np.ndarray:
    """Return images `[B, C, H, W]` filled with the mean color of each image."""
    return np.broadcast_to(x.mean((2, 3), keepdims=True), x.shape).copy()


def thumbnail_size(channels: int, values: int) -> tuple[int, int]:
    """Return rows and columns of the nearly square image that has at most `values` values."""
    cells = max(values // channels, 1)
    rows = math.isqrt(cells)
    return rows, cells // rows


def downsample(x: np.ndarray, values: int) -> np.ndarray:
    """Return images `[B, C, S, S]` after bilinear resizing to at most `values` values and back."""
    size = thumbnail_size(x.shape[1], values)
    small = interpolate(torch.from_numpy(x), size, mode='bilinear', antialias=True)
    return interpolate(small, x.shape[2:], mode='bilinear').numpy()


class Components:
    """Principal components of whole images or of square blocks, from a model folder.

    A model of large images is compared with components of blocks, because components of whole
    images would require more training crops than there are.
    """

    def __init__(self, pca: Pca, channels: int, size: int):
        self.pca, self.channels, self.size = pca, channels, size
        self.side = math.isqrt(pca.mean.size // channels)
        if channels * self.side**2 != pca.mean.size or size % self.side:
            raise ValueError(
                f'{artifact.PCA} has components of {pca.mean.size} values, which is not a square '
                f'block of images with {channels} channels and {size} pixels a side: export the '
                'model again'
            )

    @property
    def blocks(self) -> int:
        """Return the number of blocks of an image, 1 for components of whole images."""
        return (self.size // self.side) ** 2

    @property
    def max_values(self) -> int:
        """Return how many coefficients an image has with all components."""
        return self.blocks * len(self.pca.components)

    def reconstruct(self, x: np.ndarray, values: int) -> np.ndarray:
        """Return images, float32 `[B, C, S, S]`, reconstructed from at most `values` values."""
        keep = max(values // self.blocks, 1)
        kept = Pca(self.pca.mean, self.pca.components[:keep])
        return self._join(kept.reconstruct(self._cut(x)))

    def coefficients(self, x: np.ndarray, values: int) -> np.ndarray:
        """Return at most `values` coefficients of each image, float32 `[B, ≤ values]`."""
        keep = max(values // self.blocks, 1)
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
    """Return the principal components in a model folder, None if there are none.

    Raises `ModelError` if the file is damaged or of other images.
    """
    path = codec.artifact.path / artifact.PCA
    if not path.is_file():
        return None
    try:
        require_regular(path, artifact.MAX_FILE_BYTES)
        tensors = {name: value.astype(np.float32) for name, value in load_file(path).items()}
        pca = Pca(tensors['mean'].ravel(), tensors['components'])
        if pca.components.shape[1:] != pca.mean.shape or not len(pca.components):
            raise ValueError(f'components of shape {list(pca.components.shape)}')
        return Components(pca, codec.input_channels, codec.input_size)
    except OSError as error:
        raise ModelError(f'{path} cannot be read: {error.strerror or error}') from error
    except (SafetensorError, KeyError, TypeError, ValueError) as error:
        raise ModelError(
            f'{path} is not a file of principal components ({one_line(error)}): export the model '
            'again'
        ) from error
