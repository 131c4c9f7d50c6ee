# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Losses of volumes in torch; `sage_perception.zspace.losses` documents them."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from sage_perception.zspace.diffusion import ZDiffuser
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


def diffusion_consistency_loss(volumes: Tensor, diffuser: ZDiffuser) -> Tensor:
    """Return the mean square of what diffusion changes over that of the values, `[B]`.

    `volumes` are `[B, D, H, W]`.
    """
    change = _diffused(volumes, diffuser) - volumes
    dims = (1, 2, 3)
    return change.square().mean(dims) / (volumes.square().mean(dims) + EPS)


def _diffused(volumes: Tensor, diffuser: ZDiffuser) -> Tensor:
    """Return volumes `[B, D, H, W]` after the steps of `ZDiffuser.diffuse`."""
    kernel = volumes.new_zeros(3, 3, 3)
    for axis in (0, 1, 2) if diffuser.across_slices else (1, 2):
        for place in (0, 2):
            index = [1, 1, 1]
            index[axis] = place
            kernel[tuple(index)] = 1

    def neighbor_sum(values: Tensor) -> Tensor:
        return F.conv3d(values[:, None], kernel[None, None], padding=1)[:, 0]

    count = neighbor_sum(torch.ones_like(volumes[:1]))
    # A value without neighbors stays as it is.
    rate = diffuser.rate * (count > 0)
    for _ in range(diffuser.iterations):
        volumes = (1 - rate) * volumes + rate * neighbor_sum(volumes) / count.clamp(min=1)
    return volumes
