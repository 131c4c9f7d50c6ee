# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""The losses of slot models (specification 003, §3).

Each is a mean over the batch. `masks` are float `[B, K, S, S]` and sum to 1 over the slots.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

STEEPNESS = 60.0
"""How fast the penalty of an unused slot falls with its area, per unit of the image's area."""
EPSILON = 1e-8


def reconstruction(image: Tensor, target: Tensor) -> Tensor:
    """Return the mean squared error of images `[B, C, S, S]`."""
    return (image - target).square().mean()


def attention_reconstruction(images: Tensor, attention: Tensor, target: Tensor) -> Tensor:
    """Return the mean squared error of the images of slots, composed by their attention.

    The images `[B, K, C, S, S]` and the target `[B, C, S, S]` are averaged over each of the N
    tokens, which the attention `[B, K, N]` weights.
    """
    side = math.isqrt(attention.shape[-1])
    pool = torch.nn.functional.adaptive_avg_pool2d
    tokens = pool(images.flatten(0, 1), side).flatten(2).unflatten(0, attention.shape[:2])
    return reconstruction((attention[:, :, None] * tokens).sum(1), pool(target, side).flatten(2))


def orthogonality(slots: Tensor) -> Tensor:
    """Return the mean squared cosine between different slots `[B, K, D]`, in [0, 1]."""
    unit = torch.nn.functional.normalize(slots, dim=-1)
    cosines = unit @ unit.transpose(1, 2)
    count = slots.shape[1]
    others = ~torch.eye(count, dtype=torch.bool, device=slots.device)
    return cosines[:, others].square().mean()


def mask_entropy(masks: Tensor) -> Tensor:
    """Return the mean entropy of the masks at a pixel, nats: 0 for sharp masks."""
    return -(masks * (masks + EPSILON).log()).sum(1).mean()


def coverage(masks: Tensor) -> Tensor:
    """Return the penalty of slots without area, less the entropy of the areas.

    A slot of area a, a fraction of the image, costs exp(−60 a): almost nothing from 5 % on. The
    entropy of the areas, relative to its maximum ln K, is subtracted, which rewards a division
    among all slots. In [−1, 1].
    """
    areas = masks.mean((2, 3))
    unused = (-STEEPNESS * areas).exp().mean()
    entropy = -(areas * (areas + EPSILON).log()).sum(1).mean()
    return unused - entropy / torch.tensor(float(masks.shape[1])).log()


def appearance(masks: Tensor, target: Tensor) -> Tensor:
    """Return the mean variance of color within the masks.

    The variance of the images `[B, C, S, S]` about the mean color of each mask, weighted by the
    masks: small if each slot holds one color.
    """
    areas = masks.sum((2, 3)).clamp_min(EPSILON)
    mean = torch.einsum('bkyx,bcyx->bkc', masks, target) / areas[..., None]
    square = torch.einsum('bkyx,bcyx->bkc', masks, target.square()) / areas[..., None]
    variance = (square - mean.square()).clamp_min(0).sum(-1)
    return (variance * areas).sum(1).mean() / masks[0, 0].numel()
