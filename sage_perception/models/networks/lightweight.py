# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""LightweightVAE: a 224×224 image to a 7×7 map of 256 numbers each, and back.

Both halves have a linear path, which `start_from_crops` sets to the principal components of
32×32 blocks, and a convolutional path that starts near zero. So training starts at what PCA can
do block by block, and adds what a block cannot know: the encoder's and the decoder's convolutions
see across the borders.

The linear paths work on pixels divided by 32, so that their weights are of order 1: Adam, which
moves every weight by as much, would else undo 3,072 small ones in a few steps.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import pixel_unshuffle

from sage_perception.core.settings import Count, check
from sage_perception.models import pca
from sage_perception.models.networks.layers import Residual
from sage_perception.models.networks.vae import VAE

BLOCK = 32  # side of the square of pixels that a place of the latent stands for
CELL = 8  # side of the squares at which the convolutions look first and paint last
NEAR_ZERO = 2e-4  # of the first convolutional contribution, beside a linear one of order 1


@dataclass(frozen=True)
class LightweightVAEConfig:
    """What defines a LightweightVAE; the decoder's fields do not touch the latent space.

    `img_size` is the side of the images in pixels, a multiple of 32. `base_channels` are the
    encoder's feature maps at 28×28 of an image of 224; they double when the resolution halves.
    `decoder_channels` are the decoder's, with `decoder_depth` residual blocks.
    """

    input_channels: Literal[1, 3] = 3
    img_size: Count = 224
    latent_channels: Count = 256
    base_channels: Count = 64
    decoder_channels: Count = 128
    decoder_depth: Count = 3

    def __post_init__(self):
        check(self)
        if self.img_size % BLOCK:
            raise ValueError(f'img_size is {self.img_size}, it must be a multiple of {BLOCK}')
        if self.decoder_channels % 2:
            raise ValueError(f'decoder_channels is {self.decoder_channels}, it must be even')
        if self.latent_channels > self.block_numbers:
            raise ValueError(
                f'latent_channels is {self.latent_channels}, '
                f'a block has no more than {self.block_numbers} numbers'
            )

    @property
    def latent_size(self) -> int:
        """Return the side of the latent map: one place for 32×32 pixels."""
        return self.img_size // BLOCK

    @property
    def block_numbers(self) -> int:
        """Return the numbers of a block of pixels."""
        return self.input_channels * BLOCK**2


class Encoder(nn.Module):
    """Images to the mean and logarithm of the variance of their latents."""

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
        nn.init.normal_(self.correction.weight, std=NEAR_ZERO)
        nn.init.normal_(self.log_var.weight, std=NEAR_ZERO)
        nn.init.constant_(self.log_var.bias, -6.0)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Map float `[B, C, S, S]` in [0, 1] to `(mean, log_var)`, both `[B, K, S/32, S/32]`."""
        features = self.features(x - 0.5)
        mean = self.linear((x - 0.5) / BLOCK) + self.correction(features)
        return mean, self.log_var(features)


class Decoder(nn.Module):
    """Latents to images: blocks painted linearly, plus what convolutions make of them."""

    def __init__(self, config: LightweightVAEConfig):
        super().__init__()
        channels, width = config.input_channels, config.decoder_channels
        self.linear = nn.Conv2d(config.latent_channels, config.block_numbers, 1)
        self.paint = nn.PixelShuffle(BLOCK)
        self.hint = nn.Sequential(
            nn.Conv2d(config.latent_channels, 2 * width, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(2 * width, 4 * width, 1),
            nn.PixelShuffle(2),
            Residual(width, width),
            nn.Conv2d(width, 2 * width, 1),
            nn.PixelShuffle(2),
        )
        self.look = nn.Sequential(
            nn.PixelUnshuffle(CELL), nn.Conv2d(channels * CELL**2, width, 3, padding=1)
        )
        self.detail = nn.Sequential(
            nn.Conv2d(width + width // 2, width, 1),
            *(Residual(width, width) for _ in range(config.decoder_depth)),
            nn.Conv2d(width, 2 * width, 1),
            nn.PixelShuffle(2),
            nn.ReLU(),
            nn.Conv2d(width // 2, channels * (CELL // 2) ** 2, 3, padding=1),
            nn.PixelShuffle(CELL // 2),
        )
        nn.init.normal_(self.detail[-2].weight, std=NEAR_ZERO)
        nn.init.zeros_(self.detail[-2].bias)

    def forward(self, z: Tensor) -> Tensor:
        """Map float `[B, K, H, W]` to `[B, C, 32·H, 32·W]`, near [0, 1] but not clamped."""
        painted = self.paint(self.linear(z)) / BLOCK
        seen = torch.cat((self.look(painted), self.hint(z)), 1)
        return painted + self.detail(seen) + 0.5


class LightweightVAE(VAE):
    """A variational autoencoder (Kingma and Welling, 2013) whose latent keeps places apart.

    K is `latent_channels`, H = W = `latent_size`.
    """

    def __init__(self, config: LightweightVAEConfig | None = None):
        super().__init__()
        self.config = config or LightweightVAEConfig()
        self.encoder = Encoder(self.config)
        self.decoder = Decoder(self.config)

    def blocks(self, x: Tensor) -> Tensor:
        """Return the blocks `[B·H·W, C·32·32]` of images `[B, C, S, S]`."""
        return pixel_unshuffle(x, BLOCK).movedim(1, 3).flatten(0, 2)

    @torch.no_grad()
    def start_from_crops(self, crops: Tensor) -> None:
        """Start the linear paths at the principal components of the blocks of training crops.

        `crops` are float `[N, C, S, S]` in [0, 1]. The components keep their orthogonality and
        are scaled together, so that the latents' variances are 1 on average and distances between
        latents are distances between blocks. Raises `ValueError` for crops with fewer blocks than
        there are components.
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
        encoder.bias.copy_(-scale * rows @ mean)
        decoder.weight.copy_((rows.T / scale).view_as(decoder.weight) * BLOCK**2)
        decoder.bias.copy_(mean * BLOCK**2)
