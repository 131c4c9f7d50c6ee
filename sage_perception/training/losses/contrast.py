# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""The contrastive loss of pairs."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy


def info_nce(first: Tensor, second: Tensor, scale: Tensor) -> Tensor:
    """Return InfoNCE (van den Oord, Li and Vinyals, 2018), the mean of both directions.

    `first` and `second` are codes of length 1, `[N, C]`, of which rows of the same number belong
    together; `scale` is the inverse of the temperature.
    """
    cosines = first @ second.T * scale
    own = torch.arange(len(cosines), device=cosines.device)
    return (cross_entropy(cosines, own) + cross_entropy(cosines.T, own)) / 2
