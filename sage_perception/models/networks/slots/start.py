# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""The slots before the first round: random, learned, or from tokens of the image."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from sage_perception.models.networks.slots.config import SlotsConfig
from sage_perception.models.networks.slots.positions import grid_points, upsampled


class SlotStart(nn.Module):
    """The slots before the first round: `[B, K, D]`.

    A random start draws each slot from one learned Gaussian, so slots have no fixed roles; its
    deviation starts high, which keeps slots from becoming equal. A learned start has one vector
    per slot, and small noise while it is trained. Relative positions are drawn from about the
    whole image. To a start from the image, which `ImageStart` adds, a random one is small noise.
    """

    NOISE = 0.1
    SPREAD = 0.5
    """Initial deviation of random relative positions, in units of half the image."""

    def __init__(self, config: SlotsConfig) -> None:
        super().__init__()
        self.random = config.init != 'learned'
        self.slots, dim = config.slots, config.slot_dim
        self.mean = nn.Parameter(torch.randn(1, 1 if self.random else self.slots, dim) * dim**-0.5)
        deviation = torch.full((1, 1, dim), self.NOISE if config.init == 'image' else 1.0)
        if config.positions == 'relative' and config.init == 'random':
            deviation[..., :2] = self.SPREAD
        self.log_std = nn.Parameter(deviation.log()) if self.random else None

    def forward(self, batch: int) -> Tensor:
        """Return the start of the slots of `batch` images.

        Random starts are drawn from torch's generator, also in evaluation.
        """
        mean = self.mean.expand(batch, self.slots, -1)
        if self.log_std is not None:
            return mean + self.log_std.exp() * torch.randn_like(mean)
        return mean + self.NOISE * torch.randn_like(mean) if self.training else mean


class ImageStart(nn.Module):
    """A start from the tokens whose colors differ most, so that each object gets a slot.

    The first token is the one with the smallest mean distance to all others, mostly of the
    background; each further one is the farthest from those chosen (farthest-point sampling,
    Gonzalez, 1985). The distance of a token whose pixels differ, mostly on an edge, counts less.
    """

    points: Tensor
    POSITION_WEIGHT = 0.1
    """Weight of half the image against colors."""
    EDGE = 0.02
    """Variance of the pixels of a token that halves its distance."""

    def __init__(self, config: SlotsConfig) -> None:
        super().__init__()
        self.count, self.grid, self.stride = config.slots, config.token_grid, config.stride
        self.relative = config.positions == 'relative'
        self.project = nn.Linear(config.encoder_channels[-1], config.slot_dim)
        self.register_buffer('points', grid_points(self.grid), persistent=False)

    def forward(self, colors: Tensor, tokens: Tensor) -> Tensor:
        """Return slots `[B, K, D]` of images and their tokens `[B, N, C]`.

        `colors` are the images in the color space of the model, float `[B, 3, S, S]`.
        """
        with torch.no_grad():
            rows = self.chosen(colors)
        slots = self.project(rows @ tokens)
        if self.relative:
            slots = torch.cat((rows @ self.points, slots[..., 2:]), -1)
        return slots

    def chosen(self, colors: Tensor) -> Tensor:
        """Return which tokens are chosen, `[B, K, N]`, 1 for the one of a slot and otherwise 0.

        A product with it instead of an index keeps the shapes known for the export.
        """
        distance, smooth = self.distances(colors)
        numbers = torch.arange(self.grid**2, device=colors.device)
        index = distance.mean(-1).argmin(-1)
        rows: list[Tensor] = []
        nearest: Tensor | None = None
        for _ in range(self.count):
            if nearest is not None:
                index = (nearest * smooth).argmax(-1)
            rows.append((index[:, None] == numbers).to(distance.dtype))
            near = (rows[-1][:, None] @ distance).squeeze(1)
            nearest = near if nearest is None else torch.minimum(nearest, near)
        return torch.stack(rows, 1)

    def distances(self, colors: Tensor) -> tuple[Tensor, Tensor]:
        """Return distances of tokens `[B, N, N]`, and their weights in the choice, `[B, N]`."""
        mean, power = (self.pooled(part) for part in (colors, colors.square()))
        variance = (power - mean.square()).sum(-1)
        places = torch.zeros_like(mean[..., :1]) + self.POSITION_WEIGHT * self.points
        features = torch.cat((mean, places), -1)
        length = features.square().sum(-1)
        square = length[:, :, None] + length[:, None] - 2 * features @ features.transpose(1, 2)
        return square.clamp_min(0).sqrt(), 1 / (1 + variance / self.EDGE)

    def pooled(self, maps: Tensor) -> Tensor:
        """Return the means of maps `[B, C, S, S]` over the cells of the tokens, `[B, N, C]`."""
        pool = nn.functional.avg_pool2d
        cells = pool(maps, self.stride, ceil_mode=True, count_include_pad=False)
        return cells.flatten(2).transpose(1, 2)

    def nearest(self, colors: Tensor, softness: float = 0.15) -> Tensor:
        """Return masks of the nearest chosen tokens, float `[B, K, S, S]`, without a network.

        A token at a distance `softness` larger than the nearest belongs to it in part.
        """
        distance = self.chosen(colors) @ self.distances(colors)[0]
        shares = (-distance.square() / (2 * softness**2)).softmax(1)
        return upsampled(shares, self.grid, colors.shape[-1])
