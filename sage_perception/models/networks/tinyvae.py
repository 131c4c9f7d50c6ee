# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""TinyVAE: a 64×64 crop to 64 numbers and back with at most 300,000 parameters.

Both halves have a linear path, which `start_from_crops` sets to the principal components of the
training crops, and a convolutional path that starts near zero. So training starts at what PCA
can do and only adds to it. Other sizes, up to a teacher of ten million parameters, are
configurations of the same class.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import adaptive_avg_pool2d, pixel_unshuffle

from sage_perception.core.settings import Count, check
from sage_perception.models import pca
from sage_perception.models.networks.layers import (
    DepthwiseSeparable,
    Enlarge,
    InvertedResidual,
    Opponent,
    Residual,
)
from sage_perception.models.networks.vae import VAE

GRID = 16  # side of the small image that the linear path sees and paints
CELLS = 4  # side of the encoder's last feature maps
BINS = 8  # side of the decoder's first ones
NEAR_ZERO = 1e-3  # of the first convolutional contribution, beside a linear one of order 1


@dataclass(frozen=True)
class TinyVAEConfig:
    """What defines a TinyVAE; the decoder's fields do not touch the latent space.

    `img_size` is the side of the images in pixels: 32, 64, 128, … Widths are channels of the
    smallest feature maps, depths their residual blocks, and bins the maps next to the latent.
    With `separable` 1 the blocks are depthwise-separable: fewer parameters, slower.
    """

    input_channels: Literal[1, 3] = 3
    latent_dim: Count = 64
    img_size: Count = 64
    encoder_width: Count = 96
    encoder_depth: Count = 1
    encoder_bins: Count = 32
    decoder_width: Count = 48
    decoder_depth: Count = 1
    decoder_bins: Count = 8
    separable: Literal[0, 1] = 0

    def __post_init__(self):
        check(self)
        if self.img_size < 32 or self.img_size & (self.img_size - 1):
            raise ValueError(f'img_size is {self.img_size}, it must be 32, 64, 128, …')
        for name, factor in (('encoder_width', 4), ('decoder_width', 12)):
            value = getattr(self, name)
            if value % factor:
                raise ValueError(f'{name} is {value}, it must be a multiple of {factor}')

    def blocks(self, count: int, channels: int, hidden: int) -> list[nn.Module]:
        """Return `count` residual blocks of this configuration's kind."""
        if self.separable:
            return [InvertedResidual(channels, expansion=2, kernel=3) for _ in range(count)]
        return [Residual(channels, hidden) for _ in range(count)]

    def halve(self, inputs: int, outputs: int) -> nn.Module:
        """Return what halves the resolution."""
        if self.separable:
            return DepthwiseSeparable(inputs, outputs)
        return nn.Conv2d(inputs, outputs, 3, 2, 1)


class Thumbnail(nn.Module):
    """An image's lightness on 16×16 cells and its color on 8×8, as one vector.

    Color is weighed by 2, so that distances are those between 16×16 images in red, green and
    blue whose color is smooth.
    """

    def __init__(self, channels: int):
        super().__init__()
        self.opponent = Opponent() if channels == 3 else None
        self.numbers = GRID**2 + (2 * BINS**2 if channels == 3 else 0)

    def forward(self, x: Tensor) -> Tensor:
        """Map float `[B, C, H, W]` to `[B, numbers]`."""
        x = adaptive_avg_pool2d(x, GRID)
        if self.opponent is None:
            return x.flatten(1)
        lightness, color = self.opponent(x)
        return torch.cat((lightness.flatten(1), 2 * color.flatten(1)), 1)


class Encoder(nn.Module):
    """Images to the mean and logarithm of the variance of their latents.

    Takes images of any side: what 64 numbers can hold is seen at 32×32, and looking closer
    costs time without a gain.
    """

    def __init__(self, config: TinyVAEConfig):
        super().__init__()
        width = config.encoder_width
        self.shrink = nn.AdaptiveAvgPool2d(2 * GRID)
        self.features = nn.Sequential(
            nn.Conv2d(config.input_channels, width // 4, 4, 2, 1),
            nn.ReLU(),
            config.halve(width // 4, width // 2),
            nn.ReLU(),
            config.halve(width // 2, width),
            *config.blocks(config.encoder_depth, width, width // 4),
        )
        self.squeeze = nn.Conv2d(width, config.encoder_bins, 1)
        self.thumbnail = Thumbnail(config.input_channels)
        self.linear = nn.Linear(self.thumbnail.numbers, config.latent_dim)
        self.correction = nn.Linear(config.encoder_bins * CELLS**2, config.latent_dim, bias=False)
        self.log_var = nn.Linear(width, config.latent_dim)
        nn.init.normal_(self.correction.weight, std=NEAR_ZERO)
        nn.init.normal_(self.log_var.weight, std=NEAR_ZERO)
        nn.init.constant_(self.log_var.bias, -6.0)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Map float `[B, C, H, W]` in [0, 1] to `(mean, log_var)`, both `[B, D]`."""
        x = self.shrink(x)
        features = self.features(x - 0.5)
        mean = self.linear(self.thumbnail(x))
        mean = mean + self.correction(self.squeeze(features).flatten(1))
        return mean, self.log_var(features.mean((2, 3)))


class Decoder(nn.Module):
    """Latents to images: a linear thumbnail, enlarged, plus what the convolutions add."""

    def __init__(self, config: TinyVAEConfig):
        super().__init__()
        width, half, quarter = (config.decoder_width * n // 3 for n in (3, 2, 1))
        self.opponent = Opponent() if config.input_channels == 3 else None
        self.linear = nn.Linear(config.latent_dim, Thumbnail(config.input_channels).numbers)
        self.hint = nn.Linear(config.latent_dim, config.decoder_bins * BINS**2)
        self.enlarge_colour = Enlarge(2, 2) if self.opponent else None
        self.enlarge = Enlarge(config.input_channels, config.img_size // GRID)
        last = config.img_size // 32
        small = 4 + (2 if self.opponent else 0) + config.decoder_bins
        self.detail = nn.Sequential(
            nn.Conv2d(small, width, 1),
            *config.blocks(config.decoder_depth, width, width),
            nn.Conv2d(width, 4 * half, 1),
            nn.PixelShuffle(2),
            *config.blocks(config.decoder_depth, half, half),
            nn.Conv2d(half, 4 * quarter, 1),
            nn.PixelShuffle(2),
            nn.ReLU(),
            *refinement(quarter, config),
            nn.Conv2d(quarter, config.input_channels * last**2, 3, padding=1),
            nn.PixelShuffle(last),
        )
        nn.init.normal_(self.detail[-2].weight, std=NEAR_ZERO)
        nn.init.zeros_(self.detail[-2].bias)

    def forward(self, z: Tensor) -> Tensor:
        """Map float `[B, D]` to `[B, C, img_size, img_size]`, near [0, 1] but not clamped."""
        painted = self.linear(z)
        thumbnail = painted[:, : GRID**2].unflatten(1, (1, GRID, GRID))
        small = [pixel_unshuffle(thumbnail, 2), self.hint(z).unflatten(1, (-1, BINS, BINS))]
        if self.opponent:
            color = painted[:, GRID**2 :].unflatten(1, (2, BINS, BINS)) / 2
            small.append(color)
            thumbnail = self.opponent.invert(thumbnail, self.enlarge_colour(color))
        return self.enlarge(thumbnail) + self.detail(torch.cat(small, 1))


def refinement(channels: int, config: TinyVAEConfig) -> list[nn.Module]:
    """Return what a decoder does at 32×32, where every operation is dear."""
    if config.separable:
        return [InvertedResidual(channels, expansion=1, kernel=3)]
    return [nn.Conv2d(channels, channels, 3, padding=1), nn.ReLU()]


class TinyVAE(VAE):
    """A variational autoencoder (Kingma and Welling, 2013) for the crops of visual attention."""

    def __init__(self, config: TinyVAEConfig | None = None):
        super().__init__()
        self.config = config or TinyVAEConfig()
        self.encoder = Encoder(self.config)
        self.decoder = Decoder(self.config)

    @torch.no_grad()
    def start_from_crops(self, crops: Tensor) -> None:
        """Start the linear paths at the principal components of the thumbnails of training crops.

        `crops` are float `[N, C, S, S]` in [0, 1]. The components keep their orthogonality and
        are scaled together, so that the latents' variances are 1 on average and distances between
        latents are distances between thumbnails. What a latent has more than a thumbnail starts
        at zero, for the convolutions to fill.
        """
        small = self.encoder.thumbnail(crops)
        fitted = pca.fit(small.numpy(), self.config.latent_dim)
        mean, rows = torch.from_numpy(fitted.mean), torch.from_numpy(fitted.components)
        scale = ((small - mean) @ rows.T).var(0).mean().rsqrt()
        encoder, decoder = self.encoder.linear, self.decoder.linear
        for values in (encoder.weight, encoder.bias, decoder.weight):
            values.zero_()
        used = len(rows)
        encoder.weight[:used] = scale * rows
        encoder.bias[:used] = -scale * rows @ mean
        decoder.weight[:, :used] = rows.T / scale
        decoder.bias.copy_(mean)
