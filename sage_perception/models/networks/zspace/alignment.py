# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Learnable exponent of the alignment of views."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from sage_perception.zspace.views import MAX_GAMMA, MIN_ALIGNMENT, MIN_BASELINE, MIN_GAMMA


class AlignmentGamma(nn.Module):
    """The weights of `zspace.MultiViewFusion` with a γ that gradients reach.

    γ = 0.25 + 7.75·sigmoid(θ) stays in the range of the fusion. `initial` is its start.
    """

    def __init__(self, initial: float = 1.0) -> None:
        super().__init__()
        share = (initial - MIN_GAMMA) / (MAX_GAMMA - MIN_GAMMA)
        self.theta = nn.Parameter(torch.logit(torch.tensor(float(share)), eps=1e-4))

    @property
    def gamma(self) -> Tensor:
        """Return γ, a scalar in [0.25, 8]."""
        return MIN_GAMMA + (MAX_GAMMA - MIN_GAMMA) * self.theta.sigmoid()

    def forward(self, alignments: Tensor, baselines: Tensor) -> Tensor:
        """Return weights `[..., V]` with the sum 1.

        `alignments` are the cosines of forward vectors with the focus, and `baselines` the
        baseline weights, both `[..., V]`.
        """
        logits = self.gamma * alignments.clamp(min=MIN_ALIGNMENT).log()
        return (logits + baselines.clamp(min=MIN_BASELINE).log()).softmax(dim=-1)
