# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""The Gaussian code of variational autoencoders: sampling and the KL term, in torch."""

from __future__ import annotations

import torch
from torch import Tensor


def sample_code(mean: Tensor, log_var: Tensor) -> Tensor:
    """Return a sample of each Gaussian, of the shape of the arguments; differentiable in both.

    The reparameterization trick: Kingma and Welling, Auto-Encoding Variational Bayes, 2013, 2.4.
    """
    return mean + torch.randn_like(mean) * (0.5 * log_var).exp()


def kl_divergence(mean: Tensor, log_var: Tensor) -> Tensor:
    """Return the divergence of each dimension from the unit Gaussian, nats, elementwise.

    Kingma and Welling, Auto-Encoding Variational Bayes, 2013, appendix B.
    """
    return 0.5 * (mean.square() + log_var.exp() - 1 - log_var)
