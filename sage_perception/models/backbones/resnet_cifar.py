# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Residual networks for images of 32×32 pixels, with learnable skip gates.

He, Zhang, Ren and Sun, "Deep residual learning for image recognition", 2016, section 4.2: three
stages of 16, 32 and 64 channels and 6n + 2 layers. Shortcuts between stages subsample and pad
with zeros, without parameters.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sage_perception.core.settings import Interval, check
from sage_perception.models.backbones.skip_slip import SkipSlipSchedule


@dataclass(frozen=True)
class CifarResNetConfig:
    """Size of a residual network, and the start of its skip gates.

    The output of block i is relu(shortcut + s_i·g_i·branch): s_i is the factor of `skip_slip`, 1
    without one, and the gate g_i, a parameter if `learnable_skip` is set, starts at `skip_init`.
    Raises `ValueError` for invalid values.
    """

    depths: tuple[int, ...] = (3, 3, 3)
    channels: tuple[int, ...] = (16, 32, 64)
    classes: Annotated[int, Interval(1, 100_000)] = 10
    learnable_skip: bool = False
    skip_init: Annotated[float, Interval(0, 4)] = 1.0
    skip_slip: SkipSlipSchedule | None = None

    def __post_init__(self) -> None:
        check(self)
        if len(self.depths) != len(self.channels) or not self.depths:
            raise ValueError(
                f'depths {self.depths} and channels {self.channels} must have one item per stage'
            )
        if min(self.depths) < 1 or sum(self.depths) > 256:
            raise ValueError(f'depths {self.depths} must be 1 or more, at most 256 in all')
        if min(self.channels) < 1 or max(self.channels) > 4096:
            raise ValueError(f'channels {self.channels} must be 1 to 4096')

    @classmethod
    def resnet20(cls, slip: bool = False) -> CifarResNetConfig:
        """Return ResNet-20, with gates and the default slip schedule if `slip` is set."""
        return cls._of_depth(3, slip)

    @classmethod
    def resnet56(cls, slip: bool = False) -> CifarResNetConfig:
        """Return ResNet-56, with gates and the default slip schedule if `slip` is set.

        The default is linear from 0.35 to 1 with the power 1.5 in each stage (spec 004).
        """
        return cls._of_depth(9, slip)

    @classmethod
    def _of_depth(cls, blocks: int, slip: bool) -> CifarResNetConfig:
        schedule = SkipSlipSchedule.linear(0.35, 1).with_power(1.5).per_stage()
        return cls(
            depths=(blocks,) * 3,
            learnable_skip=slip,
            skip_slip=schedule if slip else None,
        )


class ResidualBlock(nn.Module):
    """Two 3×3 convolutions whose output is added to the input with a gate."""

    def __init__(
        self, in_channels: int, channels: int, stride: int, skip_init: float, slip: float
    ) -> None:
        super().__init__()
        self.first = nn.Conv2d(in_channels, channels, 3, stride, 1, bias=False)
        self.first_norm = nn.BatchNorm2d(channels)
        self.second = nn.Conv2d(channels, channels, 3, 1, 1, bias=False)
        self.second_norm = nn.BatchNorm2d(channels)
        self.gate = nn.Parameter(torch.tensor(float(skip_init)))
        self.slip = slip
        self.stride = stride
        self.extra = channels - in_channels

    def forward(self, x: Tensor) -> Tensor:
        """Return feature maps `[B, C, H / stride, W / stride]` of maps `[B, C0, H, W]`."""
        branch = F.relu(self.first_norm(self.first(x)))
        branch = self.second_norm(self.second(branch))
        shortcut = x[:, :, :: self.stride, :: self.stride]
        if self.extra > 0:
            before = self.extra // 2
            shortcut = F.pad(shortcut, (0, 0, 0, 0, before, self.extra - before))
        elif self.extra < 0:
            shortcut = shortcut[:, : self.extra]
        return F.relu(shortcut + self.slip * self.gate * branch)


class CifarResNet(nn.Module):
    """A residual network for small images; `forward` returns the logits of the classes."""

    def __init__(self, config: CifarResNetConfig) -> None:
        super().__init__()
        self.config = config
        channels = config.channels[0]
        self.stem = nn.Conv2d(3, channels, 3, 1, 1, bias=False)
        self.stem_norm = nn.BatchNorm2d(channels)
        factors = (config.skip_slip or SkipSlipSchedule(1, 1)).preview(config.depths)
        self.stages = nn.ModuleList()
        for index, width in enumerate(config.channels):
            blocks = []
            for block, factor in enumerate(factors[index]):
                stride = 2 if index and not block else 1
                blocks.append(
                    ResidualBlock(channels, width, stride, config.skip_init, float(factor))
                )
                channels = width
            self.stages.append(nn.Sequential(*blocks))
        self.head = nn.Linear(channels, config.classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode='fan_out', nonlinearity='relu')
            elif isinstance(module, ResidualBlock):
                module.gate.requires_grad_(config.learnable_skip)

    def forward(self, images: Tensor) -> Tensor:
        """Return logits `[B, classes]` of images, float `[B, 3, H, W]`."""
        return self.head(self.features(images)[f'stage{len(self.stages)}'].mean((2, 3)))

    def features(self, images: Tensor) -> dict[str, Tensor]:
        """Return the feature maps `[B, C, H, W]` of `stem`, `stage1` and further stages."""
        x = F.relu(self.stem_norm(self.stem(images)))
        found = {'stem': x}
        for index, stage in enumerate(self.stages, 1):
            x = found[f'stage{index}'] = stage(x)
        return found
