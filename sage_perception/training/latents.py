# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Latents of many crops."""

from __future__ import annotations

import numpy as np

from sage_perception.models import Codec
from sage_perception.training.data.images import to_model

BATCH = 64
"""Crops that are encoded together, which bounds the memory."""


def encode_crops(codec: Codec, crops: np.ndarray) -> np.ndarray:
    """Return the latents, float32 `[N, D]`, of uint8 RGB crops `[N, S, S, 3]`, N ≥ 1."""
    parts = np.array_split(crops, -(-len(crops) // BATCH))
    return np.concatenate([codec.encode(to_model(p, codec.input_channels)) for p in parts])
