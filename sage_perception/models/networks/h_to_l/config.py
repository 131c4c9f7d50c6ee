# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Configuration of the compressors and the token layout of a context."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Any, Literal, get_args

import numpy as np

from sage_perception.core.settings import Interval, NonNegativeInt, PositiveInt, build, check

Variant = Literal['bottleneck', 'attention', 'hierarchical', 'hybrid', 'linear']
VARIANTS = get_args(Variant)


@dataclass(frozen=True)
class Group:
    """`count` tokens of one kind.

    `parts` are pairs (start, width): token i consists of the values from start + i · width of
    each part. `keep` is the width of a token after the down projection of the hierarchical and
    hybrid variants. `rate` is the length of the code of all tokens of this kind in the
    hierarchical variant.
    """

    count: PositiveInt
    parts: tuple[tuple[NonNegativeInt, PositiveInt], ...]
    keep: PositiveInt
    rate: NonNegativeInt

    def __post_init__(self) -> None:
        check(self)

    @property
    def width(self) -> int:
        """Return the number of values of a token."""
        return sum(width for _, width in self.parts)

    @property
    def indices(self) -> np.ndarray:
        """Return the context index of each value of each token, int64 `[count, width]`."""
        rows = [
            np.concatenate([start + i * width + np.arange(width) for start, width in self.parts])
            for i in range(self.count)
        ]
        return np.stack(rows)


@dataclass(frozen=True)
class HToLConfig:
    """Configuration of a compressor.

    `groups` maps each kind to the fields of its `Group`. `layout` is the version of the context
    layout. `encoder` and `latents` are the name and the fingerprint of the model that produces the
    latents in a context. `hidden` is the width of fully connected layers, `queries` and `width`
    are the number and the width of the attention queries, and `rounds` is the number of
    corrections after the initial estimate of the hybrid variant.
    """

    groups: dict[str, dict[str, Any]] = field(default_factory=dict)
    variant: Variant = 'hybrid'
    layout: NonNegativeInt = 0
    encoder: str = ''
    latents: str = ''
    input_dim: PositiveInt = 4096
    code_dim: PositiveInt = 256
    hidden: Annotated[int, Interval(8)] = 512
    width: Annotated[int, Interval(16)] = 64
    queries: PositiveInt = 16
    rounds: NonNegativeInt = 3

    def __post_init__(self) -> None:
        check(self)
        if self.width % (heads := self.width // 16):
            raise ValueError(f'width is {self.width}; it must be a multiple of its {heads} heads')
        if self.code_dim % self.queries:
            raise ValueError(
                f'code_dim is {self.code_dim}; it must be a multiple of queries, {self.queries}'
            )
        total = sum(group.rate for group in self.kinds.values())
        if self.variant == 'hierarchical' and self.groups and total != self.code_dim:
            raise ValueError(
                f'rates of groups add up to {total}, they must add up to code_dim, {self.code_dim}'
            )

    @property
    def kinds(self) -> dict[str, Group]:
        """Return the groups by name."""
        return {
            name: build(Group, group, f'groups.{name}.') for name, group in self.groups.items()
        }
