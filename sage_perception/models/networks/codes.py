# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""A small network from pixels to two codes: identity ("same thing or not") and meaning.

Strided 3×3 convolutions, then the mean and the maximum of the last two maps. The input has six
channels: the image, and the image with the mean and the deviation of each of its channels
removed, which exposure and white balance do not change.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from sage_perception.core.settings import PositiveInt, check


@dataclass(frozen=True)
class CodesConfig:
    """Configuration of a network of codes.

    `width` is the number of channels of the first convolution; the others have 2, 4 and 6 times
    as many. `learned_dim` and `distilled_dim` are the dimensions of the two halves of an identity
    code, `semantic_dim` that of a semantic code.
    """

    input_channels: PositiveInt = 3
    img_size: PositiveInt = 64
    width: PositiveInt = 24
    learned_dim: PositiveInt = 32
    distilled_dim: PositiveInt = 32
    semantic_dim: PositiveInt = 64
    code_dim: PositiveInt = 64

    def __post_init__(self) -> None:
        check(self)
        if self.code_dim != self.learned_dim + self.distilled_dim:
            raise ValueError(
                f'code_dim is {self.code_dim}; it must be learned_dim + distilled_dim, '
                f'{self.learned_dim + self.distilled_dim}'
            )


class Codes(nn.Module):
    """The network.

    The first half of an identity code is free to separate things; the second half follows the
    identity code of a teacher. Both halves have the same length.
    """

    EPS = 0.02
    """Deviation, in units of the range of an image, below which a channel counts as flat."""

    def __init__(self, config: CodesConfig):
        super().__init__()
        self.config = config
        channels = [2 * config.input_channels, *(config.width * factor for factor in (1, 2, 4, 6))]
        self.blocks = nn.ModuleList(
            nn.Sequential(
                nn.Conv2d(inputs, outputs, 3, 2, 1, bias=False),
                nn.BatchNorm2d(outputs),
                nn.ReLU(inplace=True),
            )
            for inputs, outputs in pairwise(channels)
        )
        pooled = 2 * (channels[-2] + channels[-1])
        self.learned = nn.Linear(pooled, config.learned_dim)
        self.distilled = nn.Linear(pooled, config.distilled_dim)
        self.semantic = nn.Linear(pooled, config.semantic_dim)

    def features(self, x: Tensor) -> Tensor:
        """Return the pooled features `[B, F]` of images `[B, C, S, S]` in [0, 1]."""
        mean = x.mean((2, 3), keepdim=True)
        centered = x - mean
        deviation = (centered.square().mean((2, 3), keepdim=True) + self.EPS**2).sqrt()
        maps = torch.cat((x - 0.5, centered / deviation), 1)
        pooled = []
        for index, block in enumerate(self.blocks):
            maps = block(maps)
            if index >= len(self.blocks) - 2:
                pooled += [maps.mean((2, 3)), maps.amax((2, 3))]
        return torch.cat(pooled, 1)

    def heads(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return the halves of the identity codes and the semantic codes, each of length 1."""
        features = self.features(x)
        layers = (self.learned, self.distilled, self.semantic)
        learned, distilled, semantic = (normalize(layer(features), dim=1) for layer in layers)
        return learned, distilled, semantic

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return identity codes `[B, code_dim]` and semantic codes, each of length 1."""
        learned, distilled, semantic = self.heads(x)
        return torch.cat((learned, distilled), 1) * 0.5**0.5, semantic
