# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Building blocks of the image networks: depthwise-separable layers, group normalization.

The attribute names of `Residual` are part of the tensor names that fingerprints of released
latent spaces cover; renaming them changes every fingerprint.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn


def group_norm(channels: int) -> nn.GroupNorm:
    """Return a GroupNorm of up to eight groups, which works with any batch size.

    The large `eps` keeps sensor noise on a uniform surface from being amplified.
    """
    return nn.GroupNorm(math.gcd(8, channels), channels, eps=1e-3)


def two_layers(inputs: int, hidden: int, outputs: int) -> nn.Sequential:
    """Return two linear layers with a GELU between them."""
    return nn.Sequential(nn.Linear(inputs, hidden), nn.GELU(), nn.Linear(hidden, outputs))


def init_near_zero(layer: nn.Conv2d | nn.Linear, std: float, bias: float = 0.0) -> None:
    """Initialize weights from a Gaussian of deviation `std`, and the bias, if any, to `bias`."""
    nn.init.normal_(layer.weight, std=std)
    if layer.bias is not None:
        nn.init.constant_(layer.bias, bias)


class DepthwiseSeparable(nn.Module):
    """A 3×3 depthwise convolution followed by a pointwise one (MobileNets: Howard et al., 2017).

    `multiplier` is the number of depthwise filters per input channel.
    """

    def __init__(self, inputs: int, outputs: int, stride: int = 2, multiplier: int = 1):
        super().__init__()
        wide = inputs * multiplier
        self.depthwise = nn.Conv2d(inputs, wide, 3, stride, 1, groups=inputs, bias=False)
        self.norm = group_norm(wide)
        self.pointwise = nn.Conv2d(wide, outputs, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Map float `[B, inputs, H, W]` to `[B, outputs, H / stride, W / stride]`."""
        return torch.relu(self.pointwise(self.norm(self.depthwise(x))))


class InvertedResidual(nn.Module):
    """Expansion, depthwise convolution, projection, residual sum (MobileNetV2, 2018).

    One normalization per block, before the expansion, where it is cheapest.
    """

    def __init__(self, channels: int, expansion: int = 2, kernel: int = 5):
        super().__init__()
        wide = channels * expansion
        self.norm = group_norm(channels)
        self.expand = nn.Conv2d(channels, wide, 1)
        self.depthwise = nn.Conv2d(wide, wide, kernel, padding=kernel // 2, groups=wide)
        self.project = nn.Conv2d(wide, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Map float `[B, channels, H, W]` to the same shape."""
        y = torch.relu(self.expand(self.norm(x)))
        return x + self.project(torch.relu(self.depthwise(y)))


class Upsample(nn.Module):
    """Trainable upsampling by `factor`, initialized as bicubic.

    A convolution computes the `factor`² sub-pixels of each pixel and `pixel_shuffle` arranges them
    (Shi et al., 2016); several times faster than a bicubic resize on one CPU thread.
    """

    def __init__(self, channels: int, factor: int):
        super().__init__()
        self.factor = factor
        self.filter = nn.Conv2d(
            channels, channels * factor**2, 5, groups=channels, bias=False, padding=0
        )
        with torch.no_grad():
            self.filter.weight.copy_(bicubic_kernels(factor).repeat(channels, 1, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        """Map float `[B, C, H, W]` to `[B, C, H * factor, W * factor]`."""
        x = nn.functional.pad(x, (2, 2, 2, 2), mode='replicate')
        return nn.functional.pixel_shuffle(self.filter(x), self.factor)


def bicubic_kernels(factor: int) -> Tensor:
    """Return the 5×5 kernels of bicubic upsampling, one per sub-pixel: `[factor², 1, 5, 5]`.

    Keys, Cubic convolution interpolation, 1981, with a = −3/4 as in OpenCV and torch.
    """
    a = -0.75
    offset = (torch.arange(factor) + 0.5) / factor - 0.5
    distance = (torch.arange(-2, 3)[None, :] - offset[:, None]).abs()
    near = (a + 2) * distance**3 - (a + 3) * distance**2 + 1
    far = a * (distance**3 - 5 * distance**2 + 8 * distance - 4)
    taps = torch.where(distance <= 1, near, torch.where(distance < 2, far, 0.0))
    return torch.einsum('ia,jb->ijab', taps, taps).reshape(factor**2, 1, 5, 5)


class Residual(nn.Module):
    """Two 3×3 convolutions through `hidden` channels, added to the input (pre-activation).

    He et al., 2016. On maps of 8×8 and 16×16 a plain convolution is several times faster than a
    depthwise one with the same number of operations, especially in training.
    """

    def __init__(self, channels: int, hidden: int):
        super().__init__()
        self.norm = group_norm(channels)
        self.look = nn.Conv2d(channels, hidden, 3, padding=1)
        self.add = nn.Conv2d(hidden, channels, 3, padding=1)
        nn.init.normal_(self.add.weight, std=0.01)

    def forward(self, x: Tensor) -> Tensor:
        """Map float `[B, channels, H, W]` to the same shape."""
        return x + self.add(torch.relu(self.look(self.norm(x))))


class Opponent(nn.Module):
    """Orthonormal change of basis from RGB to lightness and two color differences.

    Color has half the resolution of lightness, as in JPEG with 4:2:0 subsampling.
    """

    basis: Tensor

    def __init__(self) -> None:
        super().__init__()
        lightness, red_blue, green = (1, 1, 1), (1, 0, -1), (1, -2, 1)
        rows = torch.tensor([lightness, red_blue, green], dtype=torch.float32)
        self.register_buffer('basis', nn.functional.normalize(rows), persistent=False)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Map `[B, 3, H, W]` to lightness `[B, 1, H, W]` and color `[B, 2, H / 2, W / 2]`."""
        x = nn.functional.conv2d(x, self.basis[:, :, None, None])
        return x[:, :1], nn.functional.avg_pool2d(x[:, 1:], 2)

    def invert(self, lightness: Tensor, color: Tensor) -> Tensor:
        """Map lightness `[B, 1, H, W]` and color `[B, 2, H, W]` to RGB `[B, 3, H, W]`."""
        x = torch.cat((lightness, color), 1)
        return nn.functional.conv2d(x, self.basis.T[:, :, None, None])
