# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""The attention variant: one matrix, plus learned queries that attend to all tokens."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from sage_perception.models.networks.h_to_l.config import HToLConfig
from sage_perception.models.networks.h_to_l.layers import (
    INITIAL_LOG_VAR,
    AttentionPool,
    ContextEncoder,
)
from sage_perception.models.networks.h_to_l.tokens import Tokens


class AttentionEncoder(ContextEncoder):
    """A matrix yields the code; each query adds to its own part of it."""

    def __init__(self, config: HToLConfig):
        super().__init__(config)
        self.tokens = Tokens(config)
        self.direct = nn.Linear(config.input_dim, config.code_dim, bias=False)
        kinds = config.kinds.values()
        self.pool = AttentionPool(
            [g.width for g in kinds], [g.count for g in kinds], config.queries, config.width
        )
        part = config.code_dim // config.queries
        self.out_proj = nn.Linear(config.width, 2 * part)
        nn.init.zeros_(self.out_proj.weight)
        nn.init.zeros_(self.out_proj.bias[:part])
        nn.init.constant_(self.out_proj.bias[part:], INITIAL_LOG_VAR)

    def forward(self, context: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """Return mean and log-variance `[B, 256]` of contexts and masks `[B, 4096]`."""
        known = self.centered(context, mask)
        pooled = self.pool(self.tokens.split(known), self.tokens.present(mask))
        mean, log_var = self.out_proj(pooled).chunk(2, 2)
        return self.direct(known) + mean.flatten(1), log_var.flatten(1)


class AttentionDecoder(nn.Module):
    """A matrix yields the context; each token attends to the parts of the code and adds to it."""

    def __init__(self, config: HToLConfig):
        super().__init__()
        self.tokens = Tokens(config)
        self.direct = nn.Linear(config.code_dim, config.input_dim, bias=False)
        kinds = list(config.kinds.values())
        part = config.code_dim // config.queries
        self.queries = config.queries
        count = sum(group.count for group in kinds)
        self.pool = AttentionPool([part], [config.queries], count, config.width)
        self.counts = [group.count for group in kinds]
        layers = [nn.Linear(config.width, group.width) for group in kinds]
        for layer in layers:
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)
        self.out_proj = nn.ModuleList(layers)

    def forward(self, code: Tensor) -> Tensor:
        """Return contexts `[B, 4096]`, minus their mean, of codes `[B, 256]`."""
        parts = code.reshape(code.shape[0], self.queries, -1)
        row = self.pool([parts], torch.ones_like(parts[..., 0])).split(self.counts, 1)
        tokens = [proj(token) for proj, token in zip(self.out_proj, row, strict=True)]
        return self.direct(code) + self.tokens.join(tokens)
