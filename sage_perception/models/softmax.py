# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Probabilities from logits, in numpy."""

from __future__ import annotations

import numpy as np


def softmax(logits: np.ndarray) -> np.ndarray:
    """Return the probabilities `[N, C]` of logits, of the same type."""
    exponentials = np.exp(logits - logits.max(axis=1, keepdims=True))
    return exponentials / exponentials.sum(axis=1, keepdims=True)
