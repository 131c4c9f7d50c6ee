# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""The hierarchical variant: each kind of tokens has its own part of the code."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from sage_perception.models.networks.h_to_l.config import HToLConfig
from sage_perception.models.networks.h_to_l.layers import (
    INITIAL_LOG_VAR,
    ContextEncoder,
    ResidualMLP,
)
from sage_perception.models.networks.h_to_l.tokens import Tokens


class HierarchicalEncoder(ContextEncoder):
    """Projects tokens down and encodes those of a kind into a part of `Group.rate` values."""

    def __init__(self, config: HToLConfig):
        super().__init__(config)
        self.tokens = Tokens(config)
        kinds = config.kinds.values()
        self.down_proj = nn.ModuleList(nn.Linear(g.width, g.keep, bias=False) for g in kinds)
        self.code = nn.ModuleList(
            ResidualMLP(g.count * g.keep, config.hidden // 8, g.rate) for g in kinds
        )
        self.log_var = nn.Parameter(torch.full((config.code_dim,), INITIAL_LOG_VAR))

    def forward(self, context: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """Return mean and log-variance `[B, 256]` of contexts and masks `[B, 4096]`."""
        tokens = self.tokens.split(self.centered(context, mask))
        mean = torch.cat(
            [
                code(down(token).flatten(1))
                for down, code, token in zip(self.down_proj, self.code, tokens, strict=True)
            ],
            1,
        )
        return mean, self.log_var.expand_as(mean)


class HierarchicalDecoder(nn.Module):
    """Decodes each part of the code to the tokens of its kind."""

    def __init__(self, config: HToLConfig):
        super().__init__()
        self.tokens = Tokens(config)
        kinds = list(config.kinds.values())
        self.rates = [g.rate for g in kinds]
        self.shapes = [(g.count, g.keep) for g in kinds]
        self.decode = nn.ModuleList(
            ResidualMLP(g.rate, config.hidden // 8, g.count * g.keep) for g in kinds
        )
        self.up_proj = nn.ModuleList(nn.Linear(g.keep, g.width, bias=False) for g in kinds)

    def forward(self, code: Tensor) -> Tensor:
        """Return contexts `[B, 4096]`, minus their mean, of codes `[B, 256]`."""
        parts = code.split(self.rates, 1)
        return self.tokens.join(
            [
                up(decode(part).reshape(-1, *shape))
                for up, decode, part, shape in zip(
                    self.up_proj, self.decode, parts, self.shapes, strict=True
                )
            ]
        )
