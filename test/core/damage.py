# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Random damage of files."""

import numpy as np


def damaged(whole, seed, cut):
    """Return a copy of bytes with up to 11 wrong ones, shortened with the probability `cut`."""
    rng = np.random.default_rng(seed)
    data = bytearray(whole)
    for _ in range(rng.integers(1, 12)):
        data[rng.integers(len(data))] = rng.integers(256)
    return data[: rng.integers(len(data))] if rng.random() < cut else data
