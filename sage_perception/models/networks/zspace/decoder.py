# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Decodes latents to volumes; `sage_perception.zspace.ZDecoder` runs it."""

from __future__ import annotations

import numpy as np
from torch import Tensor, nn


class VolumeDecoder(nn.Module):
    """tanh(latent·W + b): latents `[B, F]` to values in [-1, 1], `[B, D·H·W]`."""

    def __init__(self, features: int, size: int) -> None:
        super().__init__()
        self.linear = nn.Linear(features, size)
        nn.init.zeros_(self.linear.weight)
        nn.init.zeros_(self.linear.bias)

    def forward(self, latents: Tensor) -> Tensor:
        """Return the values of volumes, `[B, D·H·W]`."""
        return self.linear(latents).tanh()

    def loss(self, pairs: Tensor) -> Tensor:
        """Return the mean squared error for `[B, F + D·H·W]`: latents beside their volumes."""
        features = self.linear.in_features
        return (self(pairs[:, :features]) - pairs[:, features:]).square().mean()

    def arrays(self) -> dict[str, np.ndarray]:
        """Return the weights for `ZDecoder.from_state_dict`."""
        return {
            'weight': self.linear.weight.detach().cpu().numpy().T.copy(),
            'bias': self.linear.bias.detach().cpu().numpy().copy(),
        }
