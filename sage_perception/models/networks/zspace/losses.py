# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Losses of volumes in torch; `sage_perception.zspace.losses` documents them."""

from __future__ import annotations

from torch import Tensor

from sage_perception.zspace.losses import EPS


def slice_agreement_loss(volumes: Tensor) -> Tensor:
    """Return 1 minus the mean cosine of all pairs of slices, `[B]`, of `[B, D, H, W]`, D ≥ 2."""
    flat = volumes.flatten(2)
    unit = flat / (flat.square().sum(2, keepdim=True) + EPS).sqrt()
    cosines = unit @ unit.transpose(1, 2)
    pairs = volumes.shape[1] * (volumes.shape[1] - 1)
    return 1 - (cosines.sum((1, 2)) - cosines.diagonal(dim1=1, dim2=2).sum(1)) / pairs


def temporal_smoothness_loss(volumes: Tensor) -> Tensor:
    """Return the mean squared change over the mean square, a scalar, of `[T, D, H, W]`, T ≥ 2."""
    return volumes.diff(dim=0).square().mean() / (volumes.square().mean() + EPS)
