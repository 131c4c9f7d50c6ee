# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""The linear variant, the baseline: one matrix in each direction."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from sage_perception.models.networks.h_to_l.config import HToLConfig
from sage_perception.models.networks.h_to_l.layers import INITIAL_LOG_VAR, ContextEncoder


class LinearEncoder(ContextEncoder):
    """A matrix from a context to its code."""

    def __init__(self, config: HToLConfig):
        super().__init__(config)
        self.code = nn.Linear(config.input_dim, config.code_dim, bias=False)
        self.log_var = nn.Parameter(torch.full((config.code_dim,), INITIAL_LOG_VAR))

    def forward(self, context: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """Return mean and log-variance `[B, 256]` of contexts and masks `[B, 4096]`."""
        mean = self.code(self.centered(context, mask))
        return mean, self.log_var.expand_as(mean)


class LinearDecoder(nn.Module):
    """A matrix from a code to its context."""

    def __init__(self, config: HToLConfig):
        super().__init__()
        self.decode = nn.Linear(config.code_dim, config.input_dim, bias=False)

    def forward(self, code: Tensor) -> Tensor:
        """Return contexts `[B, 4096]`, minus their mean, of codes `[B, 256]`."""
        return self.decode(code)
