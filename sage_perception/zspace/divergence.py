# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Disagreement of maps as a divergence of distributions."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from sage_perception.zspace.checks import ZSpaceError, finite_array, normalized


def map_divergence(first: ArrayLike, second: ArrayLike) -> float:
    """Return the Jensen-Shannon divergence of two maps, in [0, 1] (Lin, 1991).

    The maps `[H, W]`, none of whose values is negative, are divided by their sums. The divergence
    is the mean KL divergence from their mean in bits: 0 for maps that are multiples of each other,
    1 for maps that share no cell. The KL divergence alone is infinite where one map is 0. Raises
    `ZSpaceError` for maps of different shapes and for negative values.
    """
    maps = [finite_array(f'map {i}', each, 2) for i, each in enumerate((first, second))]
    if maps[0].shape != maps[1].shape:
        raise ZSpaceError(f'maps of shapes {maps[0].shape} and {maps[1].shape} cannot be compared')
    if min(each.min() for each in maps) < 0:
        raise ZSpaceError('a map has negative values, which no distribution has')
    p, q = (normalized(each.ravel() / max(float(each.max()), 1e-300)) for each in maps)
    mean = (p + q) / 2
    total = 0.0
    for part in (p, q):
        present = part > 0
        total += float((part[present] * np.log2(part[present] / mean[present])).sum()) / 2
    return min(max(total, 0.0), 1.0)
