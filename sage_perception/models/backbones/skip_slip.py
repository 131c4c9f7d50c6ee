# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Slip schedules: how strongly the residual branches of a network count, block by block."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Annotated

import numpy as np

from sage_perception.core.settings import Interval, check

MAX_BLOCKS = 4096
"""Maximum number of blocks of a network."""


@dataclass(frozen=True)
class SkipSlipSchedule:
    """Factors on the residual branches of a network (spec 004, Backbone quickstart).

    The factor of a block is start + (end - start)·t^power, where t goes from 0 for the first to 1
    for the last block of the network, or of each stage if `by_stage` is set. `start` and `end`
    are in [0, 4] and `power` in (0, 16]. Raises `ValueError` for others.
    """

    start: Annotated[float, Interval(0, 4)]
    end: Annotated[float, Interval(0, 4)]
    power: Annotated[float, Interval(0, 16, open_low=True)] = 1.0
    by_stage: bool = False

    def __post_init__(self) -> None:
        check(self)

    @classmethod
    def linear(cls, start: float, end: float) -> SkipSlipSchedule:
        """Return the schedule that goes from `start` to `end` in equal steps over all blocks."""
        return cls(start, end)

    def per_stage(self) -> SkipSlipSchedule:
        """Return the schedule that starts again in each stage."""
        return replace(self, by_stage=True)

    def with_power(self, power: float) -> SkipSlipSchedule:
        """Return the schedule with the exponent `power` of t."""
        return replace(self, power=power)

    def preview(self, depths: Sequence[int]) -> list[np.ndarray]:
        """Return the factors of the blocks of each stage, float64 `[depth]`.

        `depths` are the numbers of blocks of the stages. A stage or network of one block has the
        factor `end`. Raises `ValueError` for a depth below 1 or more than `MAX_BLOCKS` blocks.
        """
        if not len(depths) or min(depths) < 1 or sum(depths) > MAX_BLOCKS:
            raise ValueError(
                f'depths {list(depths)[:8]} must be 1 or more blocks per stage, at most '
                f'{MAX_BLOCKS} in all'
            )
        if self.by_stage:
            return [self._factors(depth) for depth in depths]
        return np.split(self._factors(sum(depths)), np.cumsum(depths)[:-1])

    def preview_with_identity_blend(self, depths: Sequence[int], blend: float) -> list[np.ndarray]:
        """Return the factors f of `preview` as (1 - blend)·f + blend.

        `blend` in [0, 1] is the share of plain residual connections, whose factor is 1. Raises
        `ValueError` outside.
        """
        if not 0 <= blend <= 1:
            raise ValueError(f'blend is {blend}; it must be in [0, 1]')
        return [(1 - blend) * factors + blend for factors in self.preview(depths)]

    def _factors(self, count: int) -> np.ndarray:
        t = np.linspace(0, 1, count) if count > 1 else np.ones(1)
        return self.start + (self.end - self.start) * t**self.power
