# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""The identity head: latents to codes whose cosine is high for two views of the same thing.

An exported head is an `IdentityCode`: the codes of the trained network beside the latents
themselves, centered and weighted (`sage_perception.training.trust.views`). The network alone
adapts to the few images it is trained on; with the latents it separates things better than either.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from sage_perception.core.settings import PositiveInt, check


@dataclass(frozen=True)
class IdentityConfig:
    """Configuration of an identity head.

    `latent_dim` is the dimension of the latents, which must be that of the model whose latents the
    head takes, `hidden` the width of the two hidden layers, and `code_dim` that of the codes.
    """

    latent_dim: PositiveInt = 64
    hidden: PositiveInt = 512
    code_dim: PositiveInt = 64

    def __post_init__(self) -> None:
        check(self)


class IdentityHead(nn.Module):
    """A linear path plus a perceptron with two hidden layers, on standardized latents.

    The statistics `mean` and `std` `[D]` are those of the latents of the model.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, config: IdentityConfig):
        super().__init__()
        self.config = config
        self.register_buffer('mean', torch.zeros(config.latent_dim))
        self.register_buffer('std', torch.ones(config.latent_dim))
        self.linear = nn.Linear(config.latent_dim, config.code_dim)
        self.layers = nn.ModuleList(
            [
                nn.Linear(config.latent_dim, config.hidden),
                nn.Linear(config.hidden, config.hidden),
                nn.Linear(config.hidden, config.code_dim),
            ]
        )

    def forward(self, z: Tensor) -> Tensor:
        """Return the codes `[B, C]` of length 1 of latents `[B, D]`."""
        x = (z - self.mean) / self.std
        hidden = torch.relu(self.layers[1](torch.relu(self.layers[0](x))))
        return normalize(self.linear(x) + self.layers[2](hidden), dim=1)


class IdentityCode(nn.Module):
    """A trained head and weighted latents, in equal parts.

    `weights` `[D]` scale the centered latents.
    """

    weights: Tensor

    def __init__(self, head: IdentityHead, weights: Tensor):
        super().__init__()
        self.head = head
        self.register_buffer('weights', weights)

    def forward(self, z: Tensor) -> Tensor:
        """Return the codes `[B, C + D]` of length 1 of latents `[B, D]`."""
        latents = normalize((z - self.head.mean) * self.weights, dim=1)
        return torch.cat((self.head(z), latents), 1) * 0.5**0.5
