# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Token groups and loss weights of contexts of layout 1."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from sage_perception.context.layout import BLOCKS, DIM

LEADING = 2
"""Number of most salient items, which have their own token group and loss weights."""
ITEM_BLOCKS = ('sensory.latents', 'physical.items', 'logical.items')
"""Blocks with one row per item."""
WEIGHTED_FIELDS = {
    'physical.items': ('x', 'y', 'width', 'height', 'velocity_x', 'velocity_y'),
    'logical.items': ('salience', 'trust', 'telemetry_trust', 'error'),
}
"""Fields of the leading items that are weighted in the loss."""
LEADING_WEIGHT = 40.0
"""Loss weight of a weighted field before division by its variance. Robots act on these few fields,
which would otherwise have little weight beside the 64 dimensions of a latent."""
MIN_VARIANCE = 0.01
"""Lower bound of the divisor: the variance of a field may be larger in other scenes."""


def _group(keep: int, rate: int, *names: str, first: int = 0, count: int | None = None) -> dict:
    blocks = [BLOCKS[name] for name in names]
    return {
        'count': blocks[0].count - first if count is None else count,
        'parts': [[b.start + first * len(b.fields), len(b.fields)] for b in blocks],
        'keep': keep,
        'rate': rate,
    }


GROUPS: dict[str, dict[str, Any]] = {
    'leading': _group(64, 56, *ITEM_BLOCKS, count=LEADING),
    'others': _group(28, 112, *ITEM_BLOCKS, first=LEADING),
    'recall': _group(40, 48, 'semantic.recall'),
    'cameras': _group(21, 28, 'physical.cameras', 'logical.cameras'),
    'scene': _group(12, 12, 'physical.time', 'logical.scene'),
}
"""Token groups of layout 1, in the format of `HToLConfig.groups`; without object slots, which no
node fills yet."""


def loss_weights(values: Tensor, mask: Tensor) -> Tensor:
    """Return the loss weight of each dimension, `[4096]`, given contexts and masks `[N, 4096]`."""
    weights = torch.ones(DIM)
    for name, fields in WEIGHTED_FIELDS.items():
        block = BLOCKS[name]
        for column in map(block.fields.index, fields):
            known = block.rows(values)[..., column][block.rows(mask)[..., column] > 0]
            variance = known.var().clamp_min(MIN_VARIANCE)
            block.rows(weights)[:LEADING, column] = LEADING_WEIGHT / variance
    return weights
