# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""The spatial broadcast decoder (Watters et al., 2019; specification 003, §2C)."""

from __future__ import annotations

import math
from typing import NamedTuple

from torch import Tensor, nn

from sage_perception.models.networks.slots.colors import Colors
from sage_perception.models.networks.slots.config import SlotsConfig
from sage_perception.models.networks.slots.positions import (
    PositionEmbedding,
    RelativePositions,
    grid_points,
    slot_positions,
    upsampled,
)


class Decoded(NamedTuple):
    """A composed image.

    Attributes:
        image: float `[B, C, S, S]`, the sum of the slot images weighted by the masks.
        images: float `[B, K, C, S, S]`, the image of each slot.
        masks: float `[B, K, S, S]`, which sum to 1 over the slots.

    """

    image: Tensor
    images: Tensor
    masks: Tensor


class BroadcastDecoder(nn.Module):
    """Decodes each slot to an image and a mask, and composes them.

    A slot is repeated over a grid, positions are added, and a small network, equal for all slots,
    computes color and mask of each pixel: convolutions, or an MLP for each cell of the grid. With
    one color for each slot, constant or affine, it computes the mask only.
    """

    points: Tensor

    def __init__(self, config: SlotsConfig) -> None:
        super().__init__()
        self.size, self.channels = config.img_size, config.input_channels
        self.attention_masks = config.masks == 'attention'
        self.grid, self.token_grid = config.decoder_grid, config.token_grid
        hidden, outputs = config.decoder_channels, self.channels + 1
        self.color = None
        self.space = Colors(config)
        self.affine = config.colors == 'affine'
        if config.colors != 'pixels':
            colors = self.channels * (3 if self.affine else 1)
            self.color, outputs = nn.Linear(config.slot_dim, colors), 1
        if self.affine:
            self.register_buffer('points', grid_points(self.size).T, persistent=False)
        # A convolution of equal slots is a projection of the slot: it is computed before the
        # slot is repeated, at a fraction of the cost.
        self.project = nn.Linear(config.slot_dim, hidden)
        self.position = PositionEmbedding(self.grid, hidden)
        self.relative = None
        if config.positions == 'relative':
            self.relative = RelativePositions(self.grid)
            self.offset = nn.Linear(RelativePositions.FEATURES, hidden, bias=False)
        doublings = math.ceil(math.log2(self.size / self.grid))
        self.patches = config.decoder == 'patches'
        layers: list[nn.Module] = [nn.ReLU()]
        if self.patches:
            for _ in range(2):
                layers += [nn.Linear(hidden, hidden), nn.ReLU()]
            cell = math.ceil(self.size / self.grid)
            layers.append(nn.Linear(hidden, outputs * cell**2))
            self.shuffle = nn.PixelShuffle(cell)
        else:
            layers += [nn.Conv2d(hidden, hidden, 3, padding=1), nn.ReLU()]
            for _ in range(doublings - 1):
                layers += [nn.Conv2d(hidden, 4 * hidden, 3, padding=1), nn.PixelShuffle(2)]
                layers.append(nn.ReLU())
            # The last doubling computes four pixels per position, which is cheapest.
            layers.append(nn.Conv2d(hidden, outputs * (4 if doublings else 1), 3, padding=1))
            if doublings:
                layers.append(nn.PixelShuffle(2))
        self.pixels = nn.Sequential(*layers)

    def forward(self, slots: Tensor, attention: Tensor | None = None) -> Decoded:
        """Compose the image of slots `[B, K, D]`.

        The attention `[B, K, N]` of the tokens gives the masks if `attention_masks` is set.
        """
        batch, count = slots.shape[:2]
        grid = self.position(self.project(slots)[:, :, None])
        if self.relative is not None:
            grid = grid + self.offset(self.relative(slot_positions(slots))[0])
        if self.patches:
            grid = self.pixels(grid)
        maps = grid.flatten(0, 1).transpose(1, 2).unflatten(-1, (self.grid, self.grid))
        pixels = (self.shuffle if self.patches else self.pixels)(maps)
        pixels = pixels[..., : self.size, : self.size]
        pixels = pixels.reshape(batch, count, -1, self.size, self.size)
        images, logits = pixels[:, :, :-1], pixels[:, :, -1]
        if self.color is not None:
            images = self.slot_colors(self.color(slots), slots)
        if self.attention_masks:
            assert attention is not None  # an argument of this variant
            masks = upsampled(attention, self.token_grid, self.size)
        else:
            masks = logits.softmax(1)
        image = (masks[:, :, None] * images).sum(1)
        return Decoded(self.space.inverse(image), self.space.inverse(images), masks)

    def slot_colors(self, coefficients: Tensor, slots: Tensor) -> Tensor:
        """Return the images `[B, K, C, S, S]` of the coefficients of the colors of slots.

        Affine colors are relative to the position of the slot, if it has one.
        """
        size, colors = self.size, coefficients[:, :, : self.channels]
        if not self.affine:
            return colors[..., None, None].expand(-1, -1, -1, size, size)
        slopes = coefficients[:, :, self.channels :].unflatten(-1, (self.channels, 2))
        if self.relative is not None:
            colors = colors - (slopes @ slot_positions(slots)[..., None]).squeeze(-1)
        return (colors[..., None] + slopes @ self.points).unflatten(-1, (size, size))
