# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""The network of the models of sound."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from sage_perception.models.networks.audio.config import AudioConfig
from sage_perception.models.networks.divergence import sample_code
from sage_perception.models.networks.layers import Residual, group_norm

LOG_VAR_BIAS = -4.0
"""Initial log-variance: a code of little noise, which reconstructs from the first steps."""


class AudioOutput(NamedTuple):
    """The result of a forward pass.

    Attributes:
        mel: float `[B, 1, bands, frames]`, the reconstruction, not clamped.
        mean: float `[B, D]`.
        log_var: float `[B, D]`, natural logarithm.
        logits: float `[B, W]`, of the labels.
    """

    mel: Tensor
    mean: Tensor
    log_var: Tensor
    logits: Tensor


class Encoder(nn.Module):
    """Maps spectrograms `[B, 1, bands, frames]` to mean and log-variance, `[B, D]` each."""

    def __init__(self, config: AudioConfig) -> None:
        super().__init__()
        first, second, third = config.channels
        self.features = nn.Sequential(
            nn.Conv2d(1, first, 5, 2, 2),
            group_norm(first),
            nn.ReLU(),
            nn.Conv2d(first, second, 3, 2, 1),
            Residual(second, second),
            group_norm(second),
            nn.ReLU(),
            nn.Conv2d(second, third, 3, 2, 1),
            Residual(third, third),
            group_norm(third),
            nn.ReLU(),
            nn.Conv2d(third, config.code_channels, 1),
            nn.ReLU(),
            nn.Flatten(),
            nn.Dropout(config.dropout),
        )
        height, width = config.grid
        size = config.code_channels * height * width
        self.mean = nn.Linear(size, config.latent_dim)
        self.log_var = nn.Linear(size, config.latent_dim)
        nn.init.normal_(self.log_var.weight, std=1e-3)
        nn.init.constant_(self.log_var.bias, LOG_VAR_BIAS)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return `(mean, log_var)`."""
        features = self.features(2 * x - 1)
        return self.mean(features), self.log_var(features).clamp(-12, 4)


class Decoder(nn.Module):
    """Maps latents `[B, D]` to spectrograms `[B, 1, bands, frames]`."""

    def __init__(self, config: AudioConfig) -> None:
        super().__init__()
        first, second, third = config.channels
        self.grid = config.code_channels, *config.grid
        height, width = config.grid
        self.up_proj = nn.Linear(config.latent_dim, config.code_channels * height * width)
        self.layers = nn.Sequential(
            nn.Conv2d(config.code_channels, third, 1),
            Residual(third, third // 2),
            nn.Conv2d(third, 4 * second, 1),
            nn.PixelShuffle(2),
            Residual(second, second // 2),
            nn.Conv2d(second, 4 * first, 1),
            nn.PixelShuffle(2),
            nn.ReLU(),
            nn.Conv2d(first, 4, 3, 1, 1),
            nn.PixelShuffle(2),
        )

    def forward(self, z: Tensor) -> Tensor:
        """Return the spectrograms, not clamped."""
        mel: Tensor = self.layers(self.up_proj(z).unflatten(1, self.grid))
        return mel


class AudioVAE(nn.Module):
    """A variational autoencoder of log-mel spectrograms with a label head on the latent."""

    def __init__(self, config: AudioConfig) -> None:
        super().__init__()
        self.config = config
        self.encoder = Encoder(config)
        self.decoder = Decoder(config)
        self.head = nn.Sequential(
            nn.Linear(config.latent_dim, config.latent_dim),
            nn.ReLU(),
            nn.Dropout(config.dropout),
            nn.Linear(config.latent_dim, len(config.labels)),
        )

    def analyze(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return `(mean, log_var, logits)` of spectrograms `[B, 1, bands, frames]` in [0, 1]."""
        mean, log_var = self.encoder(x)
        return mean, log_var, self.head(mean)

    def decode(self, z: Tensor) -> Tensor:
        """Return the spectrograms `[B, 1, bands, frames]` in [0, 1] of latents."""
        mel: Tensor = self.decoder(z)
        return mel.clamp(0, 1)

    def forward(self, x: Tensor) -> AudioOutput:
        """Return all outputs; the latent is sampled in training mode only."""
        mean, log_var = self.encoder(x)
        z = sample_code(mean, log_var) if self.training else mean
        return AudioOutput(self.decoder(z), mean, log_var, self.head(z))


def explained_variance(x: Tensor, y: Tensor) -> Tensor:
    """Return R² of reconstructions `y` of spectrograms `x`, over all values of all of them."""
    return 1 - (x - y).square().sum() / torch.clamp((x - x.mean()).square().sum(), min=1e-9)
