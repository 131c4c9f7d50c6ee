# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Positional embeddings of image grids."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn


def fourier_features(size: int, frequencies: int = 4) -> Tensor:
    """Return sines and cosines of the coordinates of a grid, float32 `[size², 4 F + 4]`.

    The coordinates x, y in [−1, 1], their negatives, and sin and cos of 2^k π x and 2^k π y for k
    from 0 to F − 1 (Tancik et al., 2020).
    """
    line = torch.linspace(-1, 1, size)
    y, x = torch.meshgrid(line, line, indexing='ij')
    points = torch.stack((x, y), -1).reshape(-1, 2)
    angles = points[:, None, :] * (math.pi * 2.0 ** torch.arange(frequencies))[None, :, None]
    angles = angles.flatten(1)
    return torch.cat((points, -points, angles.sin(), angles.cos()), 1)


class PositionEmbedding(nn.Module):
    """Adds a learned projection of Fourier features, plus a learned offset for each position.

    `size` is the side of the grid and `channels` the number of channels.
    """

    features: Tensor

    def __init__(self, size: int, channels: int) -> None:
        super().__init__()
        self.register_buffer('features', fourier_features(size), persistent=False)
        self.project = nn.Linear(self.features.shape[1], channels)
        self.offset = nn.Parameter(torch.zeros(size * size, channels))

    def forward(self, x: Tensor) -> Tensor:
        """Map float `[..., size², channels]` to the same shape."""
        return x + self.project(self.features) + self.offset
