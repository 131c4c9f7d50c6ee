# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Layers that several variants share."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from sage_perception.models.networks.h_to_l.config import HToLConfig

INITIAL_LOG_VAR = -4.0
"""Initial log-variance of codes; the codes themselves have unit variance on average."""
HEAD_WIDTH = 16


class ContextEncoder(nn.Module):
    """Base of the encoders: stores the mean of the contexts used for initialization."""

    mean: Tensor

    def __init__(self, config: HToLConfig):
        super().__init__()
        self.config = config
        self.register_buffer('mean', torch.zeros(config.input_dim))

    def centered(self, context: Tensor, mask: Tensor) -> Tensor:
        """Return contexts `[B, 4096]` minus the mean, 0 where unknown."""
        return (context - self.mean) * mask


class ResidualMLP(nn.Module):
    """A linear map plus a multilayer perceptron that is initialized to zero."""

    def __init__(self, inputs: int, hidden: int, outputs: int):
        super().__init__()
        self.direct = nn.Linear(inputs, outputs, bias=False)
        first, last = nn.Linear(inputs, hidden), nn.Linear(hidden, outputs)
        self.layers = nn.Sequential(first, nn.SiLU(), last)
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)

    def forward(self, x: Tensor) -> Tensor:
        """Map `[B, inputs]` to `[B, outputs]`."""
        return self.direct(x) + self.layers(x)


class AttentionPool(nn.Module):
    """Learned queries that attend to tokens of several kinds; heads are 16 wide.

    `widths` and `counts` are of the tokens of each kind.
    """

    def __init__(self, widths: Sequence[int], counts: Sequence[int], queries: int, width: int):
        super().__init__()
        self.heads = width // HEAD_WIDTH
        self.embed = nn.ModuleList(nn.Linear(inputs, width) for inputs in widths)
        self.position = nn.Parameter(torch.randn(sum(counts), width) * 0.02)
        self.queries = nn.Parameter(torch.randn(queries, width))
        self.q_proj = nn.Linear(width, width, bias=False)
        self.kv_proj = nn.Linear(width, 2 * width, bias=False)
        self.mlp = nn.Sequential(
            nn.LayerNorm(width),
            nn.Linear(width, 2 * width),
            nn.SiLU(),
            nn.Linear(2 * width, width),
        )

    def forward(self, tokens: Sequence[Tensor], present: Tensor) -> Tensor:
        """Return `[B, queries, width]` of tokens `[B, count, width]` by kind.

        `present` `[B, T]` is 1 for tokens to attend to, else 0.
        """
        embedded = [embed(token) for embed, token in zip(self.embed, tokens, strict=True)]
        row = torch.cat(embedded, 1) + self.position
        keys, values = self._heads(self.kv_proj(torch.relu(row))).chunk(2, 3)
        queries = self._heads(self.q_proj(self.queries)[None])
        score = queries @ keys.transpose(2, 3) * (keys.shape[3] ** -0.5)
        score = score + ((present - 1) * 1e4)[:, None, None]
        pooled = (score.softmax(3) @ values).transpose(1, 2).flatten(2)
        return pooled + self.mlp(pooled)

    def _heads(self, x: Tensor) -> Tensor:
        return x.reshape(x.shape[0], x.shape[1], self.heads, -1).transpose(1, 2)
