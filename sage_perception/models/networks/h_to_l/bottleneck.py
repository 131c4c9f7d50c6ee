# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""The bottleneck variant: fully connected layers over all dimensions."""

from __future__ import annotations

from torch import Tensor, nn

from sage_perception.models.networks.h_to_l.config import HToLConfig
from sage_perception.models.networks.h_to_l.layers import INITIAL_LOG_VAR, ContextEncoder


class BottleneckEncoder(ContextEncoder):
    """Fully connected layers from a context to its code."""

    def __init__(self, config: HToLConfig):
        super().__init__(config)
        hidden = config.hidden
        self.layers = nn.Sequential(
            nn.Linear(config.input_dim, hidden), nn.SiLU(), nn.Linear(hidden, hidden), nn.SiLU()
        )
        self.code = nn.Linear(hidden, 2 * config.code_dim)
        nn.init.constant_(self.code.bias[config.code_dim :], INITIAL_LOG_VAR)

    def forward(self, context: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """Return mean and log-variance `[B, 256]` of contexts and masks `[B, 4096]`."""
        mean, log_var = self.code(self.layers(self.centered(context, mask))).chunk(2, 1)
        return mean, log_var


class BottleneckDecoder(nn.Module):
    """Fully connected layers from a code to its context."""

    def __init__(self, config: HToLConfig):
        super().__init__()
        hidden = config.hidden
        self.layers = nn.Sequential(
            nn.Linear(config.code_dim, hidden),
            nn.SiLU(),
            nn.Linear(hidden, hidden),
            nn.SiLU(),
            nn.Linear(hidden, config.input_dim),
        )

    def forward(self, code: Tensor) -> Tensor:
        """Return contexts `[B, 4096]`, minus their mean, of codes `[B, 256]`."""
        return self.layers(code)
