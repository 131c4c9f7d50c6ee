# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""What consumes compressed contexts: a head that acts, and the bridge to a larger space."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import mse_loss

from sage_perception.models.networks.h_to_l import ResidualMLP

ACTIONS = 19
"""Numbers of an action (specification 002, section 3.4)."""
PAN_TILT = slice(0, 2)
"""The actions that point a camera: pan and tilt, half frames from the middle, x right, y down."""


class LModule(nn.Module):
    """Acts on a compressed context: 256 numbers to 19.

    `direct` is a linear way from the numbers to the actions, the layers add what it cannot say.
    """

    def __init__(self, compressed_dim: int = 256, action_dim: int = ACTIONS, hidden: int = 64):
        super().__init__()
        self.direct = nn.Linear(compressed_dim, action_dim)
        self.layers = nn.Sequential(
            nn.Linear(compressed_dim, hidden), nn.SiLU(), nn.Linear(hidden, action_dim)
        )
        for layer in (self.direct, self.layers[2]):
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)

    def forward(self, compressed: Tensor) -> Tensor:
        """Return the actions `[B, 19]` for compressed contexts `[B, 256]`."""
        return self.direct(compressed) + self.layers(compressed)


class HRMLatentBridge(nn.Module):
    """Between the strategic latent of 256 numbers and the tactical one of 1024, both ways.

    What goes there and back should be what it was (cycle consistency: Zhu et al., 2017).
    """

    def __init__(self, h_dim: int = 256, l_dim: int = 1024, hidden: int = 512):
        super().__init__()
        self.h_to_l_net = ResidualMLP(h_dim, hidden, l_dim)
        self.l_to_h_net = ResidualMLP(l_dim, hidden, h_dim)
        nn.init.orthogonal_(self.h_to_l_net.direct.weight)
        with torch.no_grad():  # the linear ways begin as each other's inverse
            self.l_to_h_net.direct.weight.copy_(torch.linalg.pinv(self.h_to_l_net.direct.weight))

    def h_to_l(self, h_latent: Tensor) -> Tensor:
        """Return tactical latents `[B, 1024]` for strategic ones `[B, 256]`."""
        return self.h_to_l_net(h_latent)

    def l_to_h(self, l_latent: Tensor) -> Tensor:
        """Return strategic latents `[B, 256]` for tactical ones `[B, 1024]`."""
        return self.l_to_h_net(l_latent)

    def cycle_loss(self, h_latent: Tensor, l_latent: Tensor | None = None) -> Tensor:
        """Return the mean squared error of the way there and back, from each given side."""
        loss = mse_loss(self.l_to_h(self.h_to_l(h_latent)), h_latent)
        if l_latent is not None:
            loss = loss + mse_loss(self.h_to_l(self.l_to_h(l_latent)), l_latent)
        return loss
