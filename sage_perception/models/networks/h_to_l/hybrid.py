# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""The hybrid variant: principal components inferred from the known tokens, plus attention."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from sage_perception.models.networks.h_to_l.config import HToLConfig
from sage_perception.models.networks.h_to_l.layers import (
    INITIAL_LOG_VAR,
    AttentionPool,
    ContextEncoder,
    ResidualMLP,
)
from sage_perception.models.networks.h_to_l.tokens import Tokens

INITIAL_GAIN = 0.8
"""Initial gain of each correction; the iteration may diverge above 1."""
PRIOR = 0.3
"""Prior precision that keeps code dimensions without evidence near 0."""


class HybridEncoder(ContextEncoder):
    """Infers principal components from the known tokens and adds the output of attention.

    Tokens are first projected down to `Group.keep` values, with one matrix a kind. The code is
    inferred to predict the tokens that are present: an initial estimate, then `rounds`
    corrections by the prediction residual, with learned gains. Projecting zeros for absent tokens
    instead would bias the code towards 0. This is Jacobi iteration for the code of probabilistic
    principal component analysis with missing data (Tipping and Bishop, 1999): each correction is
    divided by the share of the code dimension that the present tokens determine.
    """

    def __init__(self, config: HToLConfig):
        super().__init__(config)
        self.tokens = Tokens(config)
        kinds = list(config.kinds.values())
        self.down_proj = nn.ModuleList(nn.Linear(g.width, g.keep, bias=False) for g in kinds)
        counts, keeps = [g.count for g in kinds], [g.keep for g in kinds]
        self.shapes = list(zip(counts, keeps, strict=True))
        self.sizes = [count * keep for count, keep in self.shapes]
        inputs = sum(self.sizes)
        self.components = nn.Parameter(torch.randn(inputs, config.code_dim) * inputs**-0.5)
        # Square of the scale of the code; a parameter so that exports and checkpoints include it.
        self.scale_squared = nn.Parameter(torch.ones(()), requires_grad=False)
        self.gains = nn.Parameter(torch.full((config.rounds, config.code_dim), INITIAL_GAIN))
        self.pool = AttentionPool(keeps, counts, config.queries, config.width)
        self.out_proj = nn.Linear(config.width, config.code_dim // config.queries)
        nn.init.zeros_(self.out_proj.weight)
        nn.init.zeros_(self.out_proj.bias)
        self.log_var = nn.Linear(sum(counts), config.code_dim)
        nn.init.zeros_(self.log_var.weight)
        nn.init.constant_(self.log_var.bias, INITIAL_LOG_VAR)

    def forward(self, context: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """Return mean and log-variance `[B, 256]` of contexts and masks `[B, 4096]`."""
        present = self.tokens.present(mask)
        tokens = self.tokens.split(self.centered(context, mask))
        tokens = [down(token) for down, token in zip(self.down_proj, tokens, strict=True)]
        observed = torch.cat([t.flatten(1) for t in tokens], 1)
        by_kind = present.split([count for count, _ in self.shapes], 1)
        observed_mask = torch.cat(
            [
                part[:, :, None].expand(-1, -1, keep).flatten(1)
                for part, (_, keep) in zip(by_kind, self.shapes, strict=True)
            ],
            1,
        )
        predict = self.components.T / self.scale_squared
        precision = present @ self._token_shares(predict) + PRIOR
        code = (observed @ self.components) / precision
        for gain in self.gains:
            residual = (observed - code @ predict) * observed_mask
            code = code + gain * (residual @ self.components) / precision
        return (
            code + self.out_proj(self.pool(tokens, present)).flatten(1),
            self.log_var(present),
        )

    def _token_shares(self, predict: Tensor) -> Tensor:
        """Return the share of each code dimension that each token determines, `[T, 256]`."""
        each = (self.components * predict.T).split(self.sizes)
        shares = [
            part.reshape(*shape, -1).sum(1) for part, shape in zip(each, self.shapes, strict=True)
        ]
        return torch.cat(shares)


class HybridDecoder(nn.Module):
    """Decodes principal components to tokens, with a residual multilayer perceptron."""

    def __init__(self, config: HToLConfig):
        super().__init__()
        self.tokens = Tokens(config)
        kinds = list(config.kinds.values())
        self.shapes = [(g.count, g.keep) for g in kinds]
        self.sizes = [g.count * g.keep for g in kinds]
        self.decode = ResidualMLP(config.code_dim, config.hidden // 4, sum(self.sizes))
        self.up_proj = nn.ModuleList(nn.Linear(g.keep, g.width, bias=False) for g in kinds)

    def forward(self, code: Tensor) -> Tensor:
        """Return contexts `[B, 4096]`, minus their mean, of codes `[B, 256]`."""
        parts = self.decode(code).split(self.sizes, 1)
        return self.tokens.join(
            [
                up(part.reshape(-1, *shape))
                for up, part, shape in zip(self.up_proj, parts, self.shapes, strict=True)
            ]
        )
