# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""TinyVAE: a 64×64 crop to 64 numbers and back with at most 300,000 parameters.

Both halves have a linear path, which `init_linear` sets to the principal components of the
training crops, and a convolutional path that starts near zero. So training starts at what PCA
can do and only adds to it. Every convolution is depthwise, pointwise or one of each.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import mse_loss, pixel_shuffle

from sage_perception.models.layers import DepthwiseSeparable, Enlarge, InvertedResidual

GRID = 16  # side of the small picture that the linear path sees and paints
BINS = 8  # side of the feature maps next to the latent
NEAR_ZERO = 1e-3  # of the first convolutional contribution, beside a linear one of order 1


@dataclass(frozen=True)
class TinyVAEConfig:
    """What defines a TinyVAE; the decoder's fields do not touch the latent space.

    `img_size` is the side of the pictures in pixels, a multiple of 64.
    """

    input_channels: int = 3
    latent_dim: int = 64
    img_size: int = 64
    encoder_width: int = 96
    encoder_bins: int = 12
    decoder_width: int = 48
    decoder_depth: int = 4

    def __post_init__(self):
        for name, value in vars(self).items():
            if value < 1:
                raise ValueError(f'{name} is {value}, it must be positive')
        if self.img_size % 64:
            raise ValueError(f'img_size is {self.img_size}, it must be a multiple of 64')
        if self.encoder_width % 4 or self.decoder_width % 2:
            raise ValueError(
                f'encoder_width {self.encoder_width} must be a multiple of 4, '
                f'decoder_width {self.decoder_width} of 2'
            )


class Encoder(nn.Module):
    """Pictures to the mean and logarithm of the variance of their latents.

    Takes pictures of any side from 16 up: both paths end in adaptive pooling.
    """

    def __init__(self, config: TinyVAEConfig):
        super().__init__()
        channels, width = config.input_channels, config.encoder_width
        self.features = nn.Sequential(
            DepthwiseSeparable(channels, width // 4, multiplier=8),
            DepthwiseSeparable(width // 4, width // 2),
            DepthwiseSeparable(width // 2, width),
            InvertedResidual(width, expansion=1),
            InvertedResidual(width, expansion=1),
            nn.AdaptiveAvgPool2d(BINS),
        )
        self.squeeze = nn.Conv2d(width, config.encoder_bins, 1)
        self.thumbnail = nn.AdaptiveAvgPool2d(GRID)
        self.linear = nn.Linear(channels * GRID**2, config.latent_dim)
        self.correction = nn.Linear(config.encoder_bins * BINS**2, config.latent_dim, bias=False)
        self.log_var = nn.Linear(width, config.latent_dim)
        nn.init.normal_(self.correction.weight, std=NEAR_ZERO)
        nn.init.normal_(self.log_var.weight, std=NEAR_ZERO)
        nn.init.constant_(self.log_var.bias, -6.0)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Map float `[B, C, H, W]` in [0, 1] to `(mean, log_var)`, both `[B, D]`."""
        features = self.features(x)
        mean = self.linear(self.thumbnail(x).flatten(1))
        mean = mean + self.correction(self.squeeze(features).flatten(1))
        return mean, self.log_var(features.mean((2, 3)))


class Decoder(nn.Module):
    """Latents to pictures: a linear thumbnail, enlarged, plus what the convolutions add."""

    def __init__(self, config: TinyVAEConfig):
        super().__init__()
        channels, width = config.input_channels, config.decoder_width
        self.channels = channels
        self.linear = nn.Linear(config.latent_dim, channels * GRID**2)
        self.hint = nn.Linear(config.latent_dim, 8 * BINS**2)
        self.enlarge = Enlarge(channels, config.img_size // GRID)
        self.detail = nn.Sequential(
            nn.Conv2d(channels + 2, width, 1),
            *[InvertedResidual(width) for _ in range(config.decoder_depth)],
            nn.Conv2d(width, 2 * width, 1),
            nn.PixelShuffle(2),
            InvertedResidual(width // 2),
            nn.Conv2d(width // 2, channels * (config.img_size // (2 * GRID)) ** 2, 1),
            nn.PixelShuffle(config.img_size // (2 * GRID)),
        )
        nn.init.normal_(self.detail[-2].weight, std=NEAR_ZERO)
        nn.init.zeros_(self.detail[-2].bias)

    def forward(self, z: Tensor) -> Tensor:
        """Map float `[B, D]` to `[B, C, img_size, img_size]`, near [0, 1] but not clamped."""
        thumbnail = self.linear(z).unflatten(1, (self.channels, GRID, GRID))
        hint = pixel_shuffle(self.hint(z).unflatten(1, (8, BINS, BINS)), GRID // BINS)
        return self.enlarge(thumbnail) + self.detail(torch.cat((thumbnail, hint), 1))


class TinyVAE(nn.Module):
    """A variational autoencoder (Kingma and Welling, 2013) for the crops of visual attention."""

    def __init__(self, config: TinyVAEConfig | None = None):
        super().__init__()
        self.config = config or TinyVAEConfig()
        self.encoder = Encoder(self.config)
        self.decoder = Decoder(self.config)

    def encode(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return `(mean, log_var)`, both `[B, D]`, of pictures `[B, C, H, W]` in [0, 1]."""
        return self.encoder(x)

    def get_latents(self, x: Tensor) -> Tensor:
        """Return the latents `[B, D]` of pictures `[B, C, H, W]`: the means, nothing random."""
        return self.encoder(x)[0]

    def decode(self, z: Tensor) -> Tensor:
        """Return the pictures `[B, C, img_size, img_size]` in [0, 1] of latents `[B, D]`."""
        return self.decoder(z).clamp(0, 1)

    def reconstruct(self, x: Tensor) -> Tensor:
        """Return what is left of pictures `[B, C, H, W]` after encoding and decoding."""
        return self.decode(self.get_latents(x))

    def reconstruction_loss(self, x: Tensor) -> Tensor:
        """Return the mean squared error `[B]` of each picture's reconstruction."""
        return mse_loss(self.reconstruct(x), x, reduction='none').mean((1, 2, 3))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return `(reconstruction, mean, log_var)`; the code is sampled in training mode only.

        The reconstruction is not clamped, so that its gradient does not die outside [0, 1].
        """
        mean, log_var = self.encoder(x)
        z = mean
        if self.training:
            z = mean + torch.randn_like(mean) * (0.5 * log_var).exp()
        return self.decoder(z), mean, log_var

    @torch.no_grad()
    def init_linear(self, mean: Tensor, components: Tensor) -> None:
        """Start the linear paths from principal components of thumbnails.

        `mean` is `[C * 16 * 16]`, `components` `[D, C * 16 * 16]` with orthogonal rows of equal
        length; a row's length is the scale of the latents against the thumbnails' pixels.
        """
        scale = components.norm(dim=1, keepdim=True)
        self.encoder.linear.weight.copy_(components)
        self.encoder.linear.bias.copy_(-components @ mean)
        self.decoder.linear.weight.copy_((components / scale**2).T)
        self.decoder.linear.bias.copy_(mean)
