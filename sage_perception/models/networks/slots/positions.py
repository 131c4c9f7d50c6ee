# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Positional embeddings of image grids."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn


def grid_points(size: int) -> Tensor:
    """Return the coordinates x, y in [−1, 1] of a grid, row by row, float32 `[size², 2]`."""
    line = torch.linspace(-1, 1, size)
    y, x = torch.meshgrid(line, line, indexing='ij')
    return torch.stack((x, y), -1).reshape(-1, 2)


def fourier_features(size: int, frequencies: int = 4) -> Tensor:
    """Return sines and cosines of the coordinates of a grid, float32 `[size², 4 F + 4]`.

    The coordinates x, y in [−1, 1], their negatives, and sin and cos of 2^k π x and 2^k π y for k
    from 0 to F − 1 (Tancik et al., 2020).
    """
    points = grid_points(size)
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


def slot_positions(slots: Tensor) -> Tensor:
    """Return the positions x, y of slots `[..., D]` with relative positions, `[..., 2]`."""
    return slots[..., :2]


class RelativePositions(nn.Module):
    """The points of a grid as slots see them, each from its own position.

    `size` is the side of the grid.
    """

    points: Tensor
    frequencies: Tensor
    FREQUENCIES = 4
    FEATURES = 5 + 4 * FREQUENCIES

    def __init__(self, size: int) -> None:
        super().__init__()
        self.register_buffer('points', grid_points(size), persistent=False)
        angles = math.pi * 2.0 ** torch.arange(self.FREQUENCIES)
        self.register_buffer('frequencies', angles, persistent=False)

    def forward(self, positions: Tensor) -> tuple[Tensor, Tensor]:
        """Return features of the points, and their squared distances.

        Of slots at `positions` `[B, K, 2]`: float `[B, K, size², FEATURES]`, the offset x, y, x²,
        y², xy, and sin and cos of 2^k π x and 2^k π y; and `[B, K, size²]`.
        """
        offset = self.points - positions[:, :, None]
        angles = (offset[..., None, :] * self.frequencies[:, None]).flatten(-2)
        square = offset.square()
        product = offset[..., :1] * offset[..., 1:]
        parts = (offset, square, product, angles.sin(), angles.cos())
        return torch.cat(parts, -1), square.sum(-1)


def upsampled(attention: Tensor, side: int, size: int) -> Tensor:
    """Return the attention `[B, K, side²]` of a grid as masks `[B, K, size, size]`.

    They sum to 1 over the slots.
    """
    maps = attention.unflatten(-1, (side, side))
    masks = nn.functional.interpolate(maps, (size, size), mode='bilinear', align_corners=False)
    return masks / masks.sum(1, keepdim=True).clamp_min(torch.finfo(masks.dtype).tiny)
