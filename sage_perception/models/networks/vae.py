# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Operations that all families of image autoencoders share."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn
from torch.nn.functional import mse_loss

from sage_perception.models.networks.divergence import sample_code


class VAE(nn.Module):
    """A variational autoencoder (Kingma and Welling, 2013).

    A family sets `config`, `encoder`, which maps images to `(mean, log_var)`, and `decoder`, which
    maps latents to unclamped images. Latents are `[B, D]`, or `[B, K, H, W]` for a spatial latent.
    """

    config: Any
    encoder: nn.Module
    decoder: nn.Module

    def init_from_crops(self, crops: Tensor) -> None:
        """Initialize from principal components of crops, float `[N, C, S, S]` in [0, 1]."""
        raise NotImplementedError

    def encode(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return `(mean, log_var)`, shaped like latents, of images `[B, C, S, S]` in [0, 1]."""
        return self.encoder(x)

    def get_latents(self, x: Tensor) -> Tensor:
        """Return the latents of images `[B, C, S, S]`: the means, without sampling."""
        return self.encoder(x)[0]

    def decode(self, z: Tensor) -> Tensor:
        """Return the images `[B, C, S, S]` in [0, 1] of latents."""
        return self.decoder(z).clamp(0, 1)

    def reconstruct(self, x: Tensor) -> Tensor:
        """Return images `[B, C, S, S]` after encoding and decoding."""
        return self.decode(self.get_latents(x))

    def reconstruction_loss(self, x: Tensor) -> Tensor:
        """Return the mean squared error `[B]` of each image's reconstruction."""
        return mse_loss(self.reconstruct(x), x, reduction='none').mean((1, 2, 3))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return `(reconstruction, mean, log_var)`; sample the latent in training mode only.

        The reconstruction is not clamped, so that the gradient does not vanish outside [0, 1].
        """
        mean, log_var = self.encoder(x)
        z = sample_code(mean, log_var) if self.training else mean
        return self.decoder(z), mean, log_var
