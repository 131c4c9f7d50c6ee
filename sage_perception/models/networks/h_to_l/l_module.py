# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Consumers of compressed contexts: an action head and a bridge to a larger latent space."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import mse_loss

from sage_perception.models.networks.h_to_l.layers import ResidualMLP

ACTIONS = 19
"""Dimensions of an action (specification 002, section 3.4)."""
PAN_TILT = slice(0, 2)
"""Actions that point a camera: pan (x, right) and tilt (y, down), half frames from the center."""


class LModule(nn.Module):
    """Maps a 256-D compressed context to a 19-D action.

    The sum of a linear map, `direct`, and a multilayer perceptron; both are initialized to zero.
    """

    def __init__(self, compressed_dim: int = 256, action_dim: int = ACTIONS, hidden: int = 64):
        super().__init__()
        self.direct = nn.Linear(compressed_dim, action_dim)
        first, last = nn.Linear(compressed_dim, hidden), nn.Linear(hidden, action_dim)
        self.layers = nn.Sequential(first, nn.SiLU(), last)
        for layer in (self.direct, last):
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)

    def forward(self, compressed: Tensor) -> Tensor:
        """Return the actions `[B, 19]` for compressed contexts `[B, 256]`."""
        return self.direct(compressed) + self.layers(compressed)


class HRMLatentBridge(nn.Module):
    """Maps between the 256-D strategic latent and the 1024-D tactical latent, both ways.

    Trained for cycle consistency (Zhu et al., 2017). The linear maps are initialized as inverses
    of each other.
    """

    def __init__(self, h_dim: int = 256, l_dim: int = 1024, hidden: int = 512):
        super().__init__()
        self.h_to_l_net = ResidualMLP(h_dim, hidden, l_dim)
        self.l_to_h_net = ResidualMLP(l_dim, hidden, h_dim)
        nn.init.orthogonal_(self.h_to_l_net.direct.weight)
        with torch.no_grad():
            self.l_to_h_net.direct.weight.copy_(torch.linalg.pinv(self.h_to_l_net.direct.weight))

    def h_to_l(self, h_latent: Tensor) -> Tensor:
        """Return tactical latents `[B, 1024]` for strategic ones `[B, 256]`."""
        return self.h_to_l_net(h_latent)

    def l_to_h(self, l_latent: Tensor) -> Tensor:
        """Return strategic latents `[B, 256]` for tactical ones `[B, 1024]`."""
        return self.l_to_h_net(l_latent)

    def cycle_loss(self, h_latent: Tensor, l_latent: Tensor | None = None) -> Tensor:
        """Return the mean squared error of the round trip from each given latent, a scalar."""
        loss = mse_loss(self.l_to_h(self.h_to_l(h_latent)), h_latent)
        if l_latent is not None:
            loss = loss + mse_loss(self.h_to_l(self.l_to_h(l_latent)), l_latent)
        return loss
