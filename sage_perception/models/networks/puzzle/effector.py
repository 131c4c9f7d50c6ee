# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""EffectorVAE: from h and l to an action of 19 joints (specification 002, §3.3)."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from sage_perception.models.networks.layers import two_layers
from sage_perception.models.networks.puzzle.grid import H_DIM, L_DIM

ACTION_DIM = 19
CODE_DIM = 32


class Command(NamedTuple):
    """An action and the code it was decoded from.

    Attributes:
        action: `[B, 19]` in [−1, 1], see `puzzle.action`.
        code, log_var: mean and log-variance of the code, `[B, 32]`.

    """

    action: Tensor
    code: Tensor
    log_var: Tensor


class EffectorVAE(nn.Module):
    """Actions from the latents of a puzzle."""

    def __init__(self, width: int = 192):
        super().__init__()
        self.encoder = two_layers(H_DIM + L_DIM, width, 2 * CODE_DIM)
        self.decoder = two_layers(CODE_DIM, width, ACTION_DIM)

    def forward(self, h: Tensor, l: Tensor, sample: bool = False) -> Command:
        """Return the actions of latents; `sample` draws the code instead of taking its mean."""
        mean, log_var = self.encoder(torch.cat((h, l), 1)).chunk(2, 1)
        log_var = log_var.clamp(-12, 4)
        code = mean
        if sample:
            code = mean + torch.exp(log_var / 2) * torch.randn_like(mean)
        return Command(torch.tanh(self.decoder(code)), mean, log_var)
