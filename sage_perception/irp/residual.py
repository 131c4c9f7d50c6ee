# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Reconstruction residuals as images: crop minus decoded latent."""

from __future__ import annotations

import numpy as np

ZERO, SCALE = 128, 127  # gray level of a zero residual, and gray levels per unit


def to_residual(crops: np.ndarray, decoded: np.ndarray) -> np.ndarray:
    """Return the residuals of crops, uint8 `[B, S, S, C]`.

    Both arguments are float32 `[B, C, S, S]` in [0, 1]. A gray level g encodes the residual
    (g − 128) / 127.
    """
    levels = np.rint(ZERO + SCALE * (crops - decoded))
    return levels.clip(0, 255).astype(np.uint8).transpose(0, 2, 3, 1)


def from_residual(residuals: np.ndarray, decoded: np.ndarray) -> np.ndarray:
    """Return the crops of residuals and decoded latents, float32 `[B, C, S, S]`, to 1/254."""
    difference = (residuals.astype(np.float32) - ZERO) / SCALE
    return (decoded + difference.transpose(0, 3, 1, 2)).clip(0, 1)
