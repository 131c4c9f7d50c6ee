# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Slot Attention (Locatello et al., 2020; specification 003, §2B)."""

from __future__ import annotations

from contextlib import nullcontext

import torch
from torch import Tensor, nn

from sage_perception.models.networks.slots.config import SlotsConfig
from sage_perception.models.networks.slots.positions import RelativePositions, slot_positions

EPSILON = 1e-8


class SlotAttention(nn.Module):
    """Slots compete for the tokens of an image.

    In each round, slots are queries and tokens are keys and values. The softmax is over the slots,
    so each token is shared out among them. A slot is updated by a GRU with the weighted mean of
    its tokens, then by a residual MLP. With relative positions, keys and values depend on where a
    token is relative to the slot, and the mean position of its tokens becomes that of the slot.
    """

    LOCALITY = 2.0
    """Initial loss of the logit of a token at a distance of half the image."""

    def __init__(self, config: SlotsConfig) -> None:
        super().__init__()
        dim, tokens = config.slot_dim, config.encoder_channels[-1]
        self.implicit = config.implicit
        self.scale = dim**-0.5
        self.norm_tokens = nn.LayerNorm(tokens)
        self.norm_slots = nn.LayerNorm(dim)
        self.norm_mlp = nn.LayerNorm(dim)
        self.q_proj = nn.Linear(dim, dim, bias=False)
        self.k_proj = nn.Linear(tokens, dim, bias=False)
        self.v_proj = nn.Linear(tokens, dim, bias=False)
        self.gru = nn.GRUCell(dim, dim)
        self.mlp = nn.Sequential(nn.Linear(dim, 2 * dim), nn.ReLU(), nn.Linear(2 * dim, dim))
        self.relative = None
        if config.positions == 'relative':
            self.relative = RelativePositions(config.token_grid)
            self.k_position = nn.Linear(RelativePositions.FEATURES, dim, bias=False)
            nn.init.zeros_(self.k_position.weight)
            self.v_position = nn.Linear(RelativePositions.FEATURES, dim, bias=False)
            self.locality = nn.Parameter(torch.tensor(self.LOCALITY))

    def forward(self, tokens: Tensor, slots: Tensor, iterations: int) -> tuple[Tensor, Tensor]:
        """Refine slots on the tokens of an image.

        Args:
            tokens: float `[B, N, C]`.
            slots: the start, float `[B, K, D]`.
            iterations: rounds, at least 1.

        Returns:
            The slots `[B, K, D]`, and the attention of the last round `[B, K, N]`, which sums to
            1 over the slots.

        """
        tokens = self.norm_tokens(tokens)
        keys, values = self.k_proj(tokens), self.v_proj(tokens)
        start = slots
        # One-step approximation of the gradient of a fixed point (Chang et al., 2022).
        with torch.no_grad() if self.implicit else nullcontext():
            for _ in range(iterations - 1):
                slots, _ = self.step(keys, values, slots)
        if self.implicit and iterations > 1:
            # The start gets the gradient of the result (straight-through; Jia et al., 2023).
            slots = slots.detach() + start - start.detach()
        return self.step(keys, values, slots)

    def step(self, keys: Tensor, values: Tensor, slots: Tensor) -> tuple[Tensor, Tensor]:
        """Return the slots and the attention after one round."""
        queries = self.q_proj(self.norm_slots(slots)) * self.scale
        logits = queries @ keys.transpose(1, 2)
        seen: Tensor | None = None
        if self.relative is not None:
            seen, distance = self.relative(slot_positions(slots))
            # Projected queries meet the features, which is cheaper than keys for each slot.
            logits = logits + (seen @ (queries @ self.k_position.weight)[..., None]).squeeze(-1)
            logits = logits - nn.functional.softplus(self.locality) * distance
        attention = logits.softmax(1)
        weights = attention + EPSILON
        weights = weights / weights.sum(-1, keepdim=True)
        updates = weights @ values
        if seen is not None:
            updates = updates + self.v_position((weights[:, :, None] @ seen).squeeze(2))
        dim = self.gru.hidden_size
        rows = updates.reshape(-1, dim), slots.reshape(-1, dim)
        new = self.gru(*rows).view(-1, updates.shape[1], dim)
        new = new + self.mlp(self.norm_mlp(new))
        if self.relative is not None:
            new = torch.cat((weights @ self.relative.points, new[..., 2:]), -1)
        return new, attention
