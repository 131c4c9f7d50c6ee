# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""What every family of variational autoencoders does with its encoder and decoder."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import mse_loss


class VAE(nn.Module):
    """A variational autoencoder (Kingma and Welling, 2013).

    A family makes `config`, `encoder`, images to `(mean, log_var)`, and `decoder`, latents to
    images near [0, 1]. Latents are `[B, D]`, or `[B, K, H, W]` where places are kept apart.
    """

    def encode(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return `(mean, log_var)`, shaped as latents, of images `[B, C, S, S]` in [0, 1]."""
        return self.encoder(x)

    def get_latents(self, x: Tensor) -> Tensor:
        """Return the latents of images `[B, C, S, S]`: the means, nothing random."""
        return self.encoder(x)[0]

    def decode(self, z: Tensor) -> Tensor:
        """Return the images `[B, C, S, S]` in [0, 1] of latents."""
        return self.decoder(z).clamp(0, 1)

    def reconstruct(self, x: Tensor) -> Tensor:
        """Return what is left of images `[B, C, S, S]` after encoding and decoding."""
        return self.decode(self.get_latents(x))

    def reconstruction_loss(self, x: Tensor) -> Tensor:
        """Return the mean squared error `[B]` of each image's reconstruction."""
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
