# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""TinyVAE: a 64×64 crop to a 64-D latent and back with at most 300,000 parameters.

Encoder and decoder are each the sum of a linear path, which `init_from_crops` initializes with the
principal components of the training crops, and a convolutional path that starts near zero.
Training therefore starts from the quality of PCA. Other image sizes and larger networks, such as
the teacher of `config/train/teacher.yaml`, are configurations of the same class.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import adaptive_avg_pool2d, pixel_unshuffle

from sage_perception.core.settings import PositiveInt, check
from sage_perception.models import pca
from sage_perception.models.networks.layers import (
    DepthwiseSeparable,
    InvertedResidual,
    Opponent,
    Residual,
    Upsample,
    init_near_zero,
)
from sage_perception.models.networks.vae import VAE

GRID = 16  # side of the thumbnail that the linear path encodes and decodes
CELLS = 4  # side of the encoder's last feature maps
BINS = 8  # side of the decoder's first feature maps
NEAR_ZERO = 1e-3  # initial scale of the convolutional path; the linear one is of order 1


@dataclass(frozen=True)
class TinyVAEConfig:
    """Configuration of a TinyVAE; fields of the decoder do not affect the latent space.

    `img_size` is the side of the images in pixels, a power of two of at least 32. Widths are the
    channels of the smallest feature maps, depths the number of their residual blocks, and bins the
    channels of the maps next to the latent. `separable` 1 selects depthwise-separable blocks:
    fewer parameters, slower.
    """

    input_channels: Literal[1, 3] = 3
    latent_dim: PositiveInt = 64
    img_size: PositiveInt = 64
    encoder_width: PositiveInt = 96
    encoder_depth: PositiveInt = 1
    encoder_bins: PositiveInt = 32
    decoder_width: PositiveInt = 48
    decoder_depth: PositiveInt = 1
    decoder_bins: PositiveInt = 8
    separable: Literal[0, 1] = 0

    def __post_init__(self) -> None:
        check(self)
        if self.img_size < 32 or self.img_size & (self.img_size - 1):
            raise ValueError(f'img_size is {self.img_size}; it must be 32, 64, 128, …')
        for name, factor in (('encoder_width', 4), ('decoder_width', 12)):
            value = getattr(self, name)
            if value % factor:
                raise ValueError(f'{name} is {value}; it must be a multiple of {factor}')

    def blocks(self, count: int, channels: int, hidden: int) -> list[nn.Module]:
        """Return `count` residual blocks of the configured type."""
        if self.separable:
            return [InvertedResidual(channels, expansion=2, kernel=3) for _ in range(count)]
        return [Residual(channels, hidden) for _ in range(count)]

    def downsample(self, inputs: int, outputs: int) -> nn.Module:
        """Return a layer that halves the resolution."""
        if self.separable:
            return DepthwiseSeparable(inputs, outputs)
        return nn.Conv2d(inputs, outputs, 3, 2, 1)


class Thumbnail(nn.Module):
    """Lightness on a 16×16 grid and color on an 8×8 grid, as one vector.

    Color has the weight 2, such that distances equal those between 16×16 RGB images with smooth
    color.
    """

    def __init__(self, channels: int):
        super().__init__()
        self.opponent = Opponent() if channels == 3 else None
        self.size = GRID**2 + (2 * BINS**2 if channels == 3 else 0)

    def forward(self, x: Tensor) -> Tensor:
        """Map float `[B, C, H, W]` to `[B, size]`."""
        x = adaptive_avg_pool2d(x, GRID)
        if self.opponent is None:
            return x.flatten(1)
        lightness, color = self.opponent(x)
        return torch.cat((lightness.flatten(1), 2 * color.flatten(1)), 1)


class Encoder(nn.Module):
    """Maps images to the mean and log-variance of their latents.

    Accepts images of any side and downsamples them to 32×32 first: a 64-D latent cannot hold finer
    detail, and a higher resolution would only cost time.
    """

    def __init__(self, config: TinyVAEConfig):
        super().__init__()
        width = config.encoder_width
        self.shrink = nn.AdaptiveAvgPool2d(2 * GRID)
        self.features = nn.Sequential(
            nn.Conv2d(config.input_channels, width // 4, 4, 2, 1),
            nn.ReLU(),
            config.downsample(width // 4, width // 2),
            nn.ReLU(),
            config.downsample(width // 2, width),
            *config.blocks(config.encoder_depth, width, width // 4),
        )
        self.squeeze = nn.Conv2d(width, config.encoder_bins, 1)
        self.thumbnail = Thumbnail(config.input_channels)
        self.linear = nn.Linear(self.thumbnail.size, config.latent_dim)
        self.correction = nn.Linear(config.encoder_bins * CELLS**2, config.latent_dim, bias=False)
        self.log_var = nn.Linear(width, config.latent_dim)
        init_near_zero(self.correction, NEAR_ZERO)
        init_near_zero(self.log_var, NEAR_ZERO, bias=-6.0)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Map float `[B, C, H, W]` in [0, 1] to `(mean, log_var)`, both `[B, D]`."""
        x = self.shrink(x)
        features = self.features(x - 0.5)
        mean = self.linear(self.thumbnail(x))
        mean = mean + self.correction(self.squeeze(features).flatten(1))
        return mean, self.log_var(features.mean((2, 3)))


class Decoder(nn.Module):
    """Maps latents to images: a linear thumbnail, upsampled, plus a convolutional residual."""

    def __init__(self, config: TinyVAEConfig):
        super().__init__()
        width, half, quarter = (config.decoder_width * n // 3 for n in (3, 2, 1))
        self.opponent = Opponent() if config.input_channels == 3 else None
        self.linear = nn.Linear(config.latent_dim, Thumbnail(config.input_channels).size)
        self.latent_features = nn.Linear(config.latent_dim, config.decoder_bins * BINS**2)
        self.up_proj_color = Upsample(2, 2) if self.opponent else None
        self.up_proj = Upsample(config.input_channels, config.img_size // GRID)
        factor = config.img_size // 32
        inputs = 4 + (2 if self.opponent else 0) + config.decoder_bins
        self.detail = nn.Sequential(
            nn.Conv2d(inputs, width, 1),
            *config.blocks(config.decoder_depth, width, width),
            nn.Conv2d(width, 4 * half, 1),
            nn.PixelShuffle(2),
            *config.blocks(config.decoder_depth, half, half),
            nn.Conv2d(half, 4 * quarter, 1),
            nn.PixelShuffle(2),
            nn.ReLU(),
            *refinement(quarter, config),
            last := nn.Conv2d(quarter, config.input_channels * factor**2, 3, padding=1),
            nn.PixelShuffle(factor),
        )
        init_near_zero(last, NEAR_ZERO)

    def forward(self, z: Tensor) -> Tensor:
        """Map float `[B, D]` to `[B, C, img_size, img_size]`, near [0, 1] but not clamped."""
        flat = self.linear(z)
        thumbnail = flat[:, : GRID**2].unflatten(1, (1, GRID, GRID))
        features = self.latent_features(z).unflatten(1, (-1, BINS, BINS))
        inputs = [pixel_unshuffle(thumbnail, 2), features]
        if self.opponent is not None and self.up_proj_color is not None:
            color = flat[:, GRID**2 :].unflatten(1, (2, BINS, BINS)) / 2
            inputs.append(color)
            thumbnail = self.opponent.invert(thumbnail, self.up_proj_color(color))
        return self.up_proj(thumbnail) + self.detail(torch.cat(inputs, 1))


def refinement(channels: int, config: TinyVAEConfig) -> list[nn.Module]:
    """Return the layers of the decoder at 32×32, where every operation is expensive."""
    if config.separable:
        return [InvertedResidual(channels, expansion=1, kernel=3)]
    return [nn.Conv2d(channels, channels, 3, padding=1), nn.ReLU()]


class TinyVAE(VAE):
    """A variational autoencoder (Kingma and Welling, 2013) for the crops of visual attention."""

    encoder: Encoder
    decoder: Decoder

    def __init__(self, config: TinyVAEConfig | None = None):
        super().__init__()
        self.config = config or TinyVAEConfig()
        self.encoder = Encoder(self.config)
        self.decoder = Decoder(self.config)

    @torch.no_grad()
    def init_from_crops(self, crops: Tensor) -> None:
        """Initialize the linear paths with the principal components of thumbnails of crops.

        `crops` are float `[N, C, S, S]` in [0, 1]. The components stay orthogonal and share one
        scale, such that the mean variance of the latents is 1 and distances between latents are
        proportional to distances between thumbnails. Latent dimensions beyond those of a thumbnail
        start at zero; only the convolutional path uses them at first.
        """
        thumbnails = self.encoder.thumbnail(crops)
        fitted = pca.fit(thumbnails.numpy(), self.config.latent_dim)
        mean, rows = torch.from_numpy(fitted.mean), torch.from_numpy(fitted.components)
        scale = ((thumbnails - mean) @ rows.T).var(0).mean().rsqrt()
        encoder, decoder = self.encoder.linear, self.decoder.linear
        for values in (encoder.weight, encoder.bias, decoder.weight):
            values.zero_()
        used = len(rows)
        encoder.weight[:used] = scale * rows
        encoder.bias[:used] = -scale * rows @ mean
        decoder.weight[:, :used] = rows.T / scale
        decoder.bias.copy_(mean)
