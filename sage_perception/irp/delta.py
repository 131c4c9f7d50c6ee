# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Reconstruction deltas: what a latent does not say of its crop, as an image."""

from __future__ import annotations

import numpy as np

MIDDLE, SCALE = 128, 127  # gray of no difference, and grays per unit of difference


def to_delta(pictures: np.ndarray, decoded: np.ndarray) -> np.ndarray:
    """Return crops less what their latents decode to, uint8 `[B, S, S, C]`.

    Both are float32 `[B, C, S, S]` in [0, 1]; a gray g says a difference of (g − 128) / 127.
    """
    delta = np.rint(MIDDLE + SCALE * (pictures - decoded))
    return delta.clip(0, 255).astype(np.uint8).transpose(0, 2, 3, 1)


def from_delta(deltas: np.ndarray, decoded: np.ndarray) -> np.ndarray:
    """Return the crops, float32 `[B, C, S, S]`, to 1/254, of deltas and decoded latents."""
    apart = (deltas.astype(np.float32) - MIDDLE) / SCALE
    return (decoded + apart.transpose(0, 3, 1, 2)).clip(0, 1)
