# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""The convolutional encoder: an image to a row of tokens (specification 003, §2A)."""

from __future__ import annotations

import math

from torch import Tensor, nn

from sage_perception.models.networks.efficientnet import Trunk
from sage_perception.models.networks.layers import group_norm
from sage_perception.models.networks.slots.config import SlotsConfig
from sage_perception.models.networks.slots.positions import PositionEmbedding


class TokenEncoder(nn.Module):
    """Four blocks of convolution, normalization and ReLU, then positions and an MLP.

    Each of the first log2(stride) blocks halves the image; a stride of 5 is that of the first.
    """

    def __init__(self, config: SlotsConfig) -> None:
        super().__init__()
        first = 5 if config.stride == 5 else 2
        reductions = round(math.log(config.stride, first))
        layers: list[nn.Module] = []
        inputs = config.input_channels
        for block, outputs in enumerate(config.encoder_channels):
            stride = first if block < reductions else 1
            kernel = max(config.kernel, stride)
            padding = (kernel - stride + 1) // 2
            layers.append(nn.Conv2d(inputs, outputs, kernel, stride, padding))
            layers.append(
                group_norm(outputs) if config.norm == 'group' else nn.BatchNorm2d(outputs)
            )
            layers.append(nn.ReLU())
            inputs = outputs
        self.convolutions = nn.Sequential(*layers)
        self.position = PositionEmbedding(config.token_grid, inputs)
        self.mlp = nn.Sequential(
            nn.LayerNorm(inputs), nn.Linear(inputs, inputs), nn.ReLU(), nn.Linear(inputs, inputs)
        )

    def forward(self, x: Tensor) -> Tensor:
        """Return tokens `[B, N, C]` of images, float `[B, channels, S, S]` in [0, 1]."""
        maps = self.convolutions(2 * x - 1)
        return self.mlp(self.position(maps.flatten(2).transpose(1, 2)))


class PretrainedEncoder(nn.Module):
    """The frozen first blocks of EfficientNet-Lite0, then an MLP and positions.

    Only the MLP and the positions are trained, so a training can keep the maps of its images.
    """

    BLOCKS, HIDDEN = 11, 128

    def __init__(self, config: SlotsConfig) -> None:
        super().__init__()
        self.trunk = Trunk(self.BLOCKS)
        inputs, outputs = self.trunk.channels, config.encoder_channels[-1]
        self.mlp = nn.Sequential(
            nn.LayerNorm(inputs),
            nn.Linear(inputs, self.HIDDEN),
            nn.ReLU(),
            nn.Linear(self.HIDDEN, outputs),
        )
        self.position = PositionEmbedding(config.token_grid, outputs)

    def forward(self, x: Tensor) -> Tensor:
        """Return tokens `[B, N, C]` of images, float `[B, 3, S, S]` in [0, 1]."""
        return self.project(self.trunk(x))

    def project(self, maps: Tensor) -> Tensor:
        """Return tokens `[B, N, C]` of maps of the frozen blocks, float `[B, 112, g, g]`."""
        return self.position(self.mlp(maps.flatten(2).transpose(1, 2)))


def token_encoder(config: SlotsConfig) -> TokenEncoder | PretrainedEncoder:
    """Return the encoder of a configuration.

    Raises `ModuleNotFoundError` if it needs packages that are not installed.
    """
    return TokenEncoder(config) if config.encoder == 'convolutions' else PretrainedEncoder(config)
