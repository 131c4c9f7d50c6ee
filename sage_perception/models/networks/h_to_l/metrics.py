# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Measures of a reconstruction over the known values of contexts."""

from __future__ import annotations

from torch import Tensor


def masked_error(reconstruction: Tensor, context: Tensor, mask: Tensor) -> Tensor:
    """Return the mean squared error over the known values of `context`, a scalar.

    All arguments are float `[B, 4096]`; `mask` is 1 where a value is known, else 0.
    """
    return ((reconstruction - context).square() * mask).sum() / mask.sum().clamp_min(1)


def explained_variance(reconstruction: Tensor, context: Tensor, mask: Tensor) -> Tensor:
    """Return the explained share of the variance of known values: R², a scalar of at most 1.

    The variance of each dimension is taken about its mean over the contexts that know it.
    Arguments are as of `masked_error`.
    """
    count = mask.sum(0).clamp_min(1)
    mean = (context * mask).sum(0) / count
    total = ((context - mean).square() * mask).sum()
    return 1 - ((reconstruction - context).square() * mask).sum() / total.clamp_min(1e-12)
