# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""The KL term of variational autoencoders in torch."""

from __future__ import annotations

from torch import Tensor


def kl_divergence(mean: Tensor, log_var: Tensor) -> Tensor:
    """Return the divergence of each dimension from the unit Gaussian, nats, of the input's shape.

    Kingma and Welling, Auto-Encoding Variational Bayes, 2013, appendix B.
    """
    return 0.5 * (mean.square() + log_var.exp() - 1 - log_var)
