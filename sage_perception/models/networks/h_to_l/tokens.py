# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Conversion between contexts and rows of tokens."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from sage_perception.models.networks.h_to_l.config import HToLConfig


class Tokens(nn.Module):
    """Splits contexts into tokens by kind and joins them again; slices whole parts for speed.

    Raises `ValueError` if groups overlap or exceed `input_dim`.
    """

    def __init__(self, config: HToLConfig):
        super().__init__()
        self.kinds = config.kinds
        parts = sorted(
            (start, start + group.count * width)
            for group in self.kinds.values()
            for start, width in group.parts
        )
        following = [*(start for start, _ in parts[1:]), config.input_dim]
        if any(end > after for (_, end), after in zip(parts, following, strict=True)):
            raise ValueError(f'groups overlap or exceed input_dim, {config.input_dim}')
        self.begin = parts[0][0] if parts else 0
        # Lengths of the stretches after each part that belong to no token.
        self.gaps = [after - end for (_, end), after in zip(parts, following, strict=True)]

    def split(self, x: Tensor) -> list[Tensor]:
        """Return the tokens `[B, count, width]` of each kind of contexts `[B, 4096]`."""
        return [
            torch.cat(
                [
                    x[:, start : start + group.count * width].reshape(-1, group.count, width)
                    for start, width in group.parts
                ],
                2,
            )
            for group in self.kinds.values()
        ]

    def join(self, tokens: Sequence[Tensor]) -> Tensor:
        """Return contexts `[B, 4096]` from tokens of each kind; 0 outside tokens."""
        parts = {}
        for token, group in zip(tokens, self.kinds.values(), strict=True):
            widths = [width for _, width in group.parts]
            for (start, _), part in zip(group.parts, token.split(widths, 2), strict=True):
                parts[start] = part.flatten(1)
        row = [
            nn.functional.pad(parts[start], (0, gap))
            for start, gap in zip(sorted(parts), self.gaps, strict=True)
        ]
        return nn.functional.pad(torch.cat(row, 1), (self.begin, 0))

    def present(self, mask: Tensor) -> Tensor:
        """Return 1 for each token with a known value, else 0: float `[B, T]` of `[B, 4096]`."""
        return torch.cat([part.amax(2) for part in self.split(mask)], 1)
