# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""LightweightVAE: a 224×224 image to a 7×7 map of 256-D latents, and back.

Encoder and decoder are each the sum of a linear path, which `init_from_crops` initializes with the
principal components of 32×32 blocks, and a convolutional path that starts near zero. Training
therefore starts from the quality of block-wise PCA, and the convolutions add detail that
crosses the borders of blocks.

The linear paths work on pixels divided by 32, such that their weights are of order 1. Adam changes
every weight by a similar amount and would otherwise destroy 3,072 small weights in a few steps.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import pixel_unshuffle

from sage_perception.core.settings import PositiveInt, check
from sage_perception.models import pca
from sage_perception.models.networks.layers import Residual, init_near_zero
from sage_perception.models.networks.vae import VAE

BLOCK = 32  # side, pixels, of the image block of one position of the latent
CELL = 8  # stride, pixels, of the first encoder and the last decoder convolutions
NEAR_ZERO = 2e-4  # initial scale of the convolutional path; the linear one is of order 1


@dataclass(frozen=True)
class LightweightVAEConfig:
    """Configuration of a LightweightVAE; fields of the decoder do not affect the latent space.

    `img_size` is the side of the images in pixels, a multiple of 32. `base_channels` is the number
    of the encoder's feature maps at 1/8 of the resolution; it doubles with each halving.
    `decoder_channels` and `decoder_depth` are the channels and residual blocks of the decoder.
    """

    input_channels: Literal[1, 3] = 3
    img_size: PositiveInt = 224
    latent_channels: PositiveInt = 256
    base_channels: PositiveInt = 64
    decoder_channels: PositiveInt = 128
    decoder_depth: PositiveInt = 3

    def __post_init__(self) -> None:
        check(self)
        if self.img_size % BLOCK:
            raise ValueError(f'img_size is {self.img_size}; it must be a multiple of {BLOCK}')
        if self.decoder_channels % 2:
            raise ValueError(f'decoder_channels is {self.decoder_channels}; it must be even')
        if self.latent_channels > self.block_dim:
            raise ValueError(
                f'latent_channels is {self.latent_channels}, '
                f'it must be at most {self.block_dim}, the values of a block'
            )

    @property
    def latent_size(self) -> int:
        """Return the side of the latent map: one position per 32×32 pixels."""
        return self.img_size // BLOCK

    @property
    def block_dim(self) -> int:
        """Return the number of values of a block of pixels."""
        return self.input_channels * BLOCK**2


class Encoder(nn.Module):
    """Maps images to the mean and log-variance of their latents."""

    def __init__(self, config: LightweightVAEConfig):
        super().__init__()
        channels, latent = config.input_channels, config.latent_channels
        fine, middle, coarse = (config.base_channels * n for n in (1, 2, 4))
        self.features = nn.Sequential(
            nn.Conv2d(channels, fine, 2 * CELL, CELL, CELL // 2),
            Residual(fine, fine),
            nn.Conv2d(fine, middle, 3, 2, 1),
            Residual(middle, middle // 2),
            nn.Conv2d(middle, coarse, 3, 2, 1),
            Residual(coarse, coarse // 2),
        )
        self.linear = nn.Conv2d(channels, latent, BLOCK, BLOCK)
        self.correction = nn.Conv2d(coarse, latent, 1, bias=False)
        self.log_var = nn.Conv2d(coarse, latent, 1)
        init_near_zero(self.correction, NEAR_ZERO)
        init_near_zero(self.log_var, NEAR_ZERO, bias=-6.0)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Map float `[B, C, S, S]` in [0, 1] to `(mean, log_var)`, both `[B, K, S/32, S/32]`."""
        features = self.features(x - 0.5)
        mean = self.linear((x - 0.5) / BLOCK) + self.correction(features)
        return mean, self.log_var(features)


class Decoder(nn.Module):
    """Maps latents to images: blocks decoded linearly, plus a convolutional residual."""

    def __init__(self, config: LightweightVAEConfig):
        super().__init__()
        channels, width = config.input_channels, config.decoder_channels
        self.linear = nn.Conv2d(config.latent_channels, config.block_dim, 1)
        self.pixel_shuffle = nn.PixelShuffle(BLOCK)
        self.latent_features = nn.Sequential(
            nn.Conv2d(config.latent_channels, 2 * width, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(2 * width, 4 * width, 1),
            nn.PixelShuffle(2),
            Residual(width, width),
            nn.Conv2d(width, 2 * width, 1),
            nn.PixelShuffle(2),
        )
        self.image_features = nn.Sequential(
            nn.PixelUnshuffle(CELL), nn.Conv2d(channels * CELL**2, width, 3, padding=1)
        )
        self.detail = nn.Sequential(
            nn.Conv2d(width + width // 2, width, 1),
            *(Residual(width, width) for _ in range(config.decoder_depth)),
            nn.Conv2d(width, 2 * width, 1),
            nn.PixelShuffle(2),
            nn.ReLU(),
            last := nn.Conv2d(width // 2, channels * (CELL // 2) ** 2, 3, padding=1),
            nn.PixelShuffle(CELL // 2),
        )
        init_near_zero(last, NEAR_ZERO)

    def forward(self, z: Tensor) -> Tensor:
        """Map float `[B, K, H, W]` to `[B, C, 32·H, 32·W]`, near [0, 1] but not clamped."""
        linear = self.pixel_shuffle(self.linear(z)) / BLOCK
        features = torch.cat((self.image_features(linear), self.latent_features(z)), 1)
        return linear + self.detail(features) + 0.5


class LightweightVAE(VAE):
    """A variational autoencoder (Kingma and Welling, 2013) with a spatial latent `[K, H, W]`.

    K is `latent_channels`, H = W = `latent_size`.
    """

    encoder: Encoder
    decoder: Decoder

    def __init__(self, config: LightweightVAEConfig | None = None):
        super().__init__()
        self.config = config or LightweightVAEConfig()
        self.encoder = Encoder(self.config)
        self.decoder = Decoder(self.config)

    def blocks(self, x: Tensor) -> Tensor:
        """Return the blocks `[B·H·W, C·32·32]` of images `[B, C, S, S]`."""
        return pixel_unshuffle(x, BLOCK).movedim(1, 3).flatten(0, 2)

    @torch.no_grad()
    def init_from_crops(self, crops: Tensor) -> None:
        """Initialize the linear paths with the principal components of the blocks of crops.

        `crops` are float `[N, C, S, S]` in [0, 1]. The components stay orthogonal and share one
        scale, such that the mean variance of the latents is 1 and distances between latents are
        proportional to distances between blocks. Raises `ValueError` if the crops have fewer
        blocks than there are components.
        """
        count = self.config.latent_channels
        blocks = (self.blocks(crops) - 0.5) / BLOCK
        if len(blocks) <= count:
            raise ValueError(
                f'{len(crops)} crops have {len(blocks)} blocks, '
                f'{count} components need more: raise training.fitted_crops'
            )
        fitted = pca.fit(blocks.numpy(), count)
        mean, rows = torch.from_numpy(fitted.mean), torch.from_numpy(fitted.components)
        scale = ((blocks - mean) @ rows.T).var(0).mean().rsqrt()
        encoder, decoder = self.encoder.linear, self.decoder.linear
        encoder.weight.copy_((rows * scale).view_as(encoder.weight))
        if encoder.bias is not None:
            encoder.bias.copy_(-scale * rows @ mean)
        decoder.weight.copy_((rows.T / scale).view_as(decoder.weight) * BLOCK**2)
        if decoder.bias is not None:
            decoder.bias.copy_(mean * BLOCK**2)
