# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Predicts the profile of the next volume; `sage_perception.zspace.ProfilePredictor` runs it."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from sage_perception.models.networks.zspace.spiral_rnn import SpiralRnn


class ProfileNetwork(nn.Module):
    """A SpiralRnn and a linear head that predict the change of a profile `[3·D]`.

    `mean` and `scale` `[3·D]` standardize the profiles. The head starts at zero, so that the
    untrained network predicts no change.
    """

    mean: Tensor
    scale: Tensor

    def __init__(self, mean: Tensor, scale: Tensor, hidden: int = 16) -> None:
        super().__init__()
        size = len(mean)
        self.rnn = SpiralRnn(2 * size, hidden)
        self.head_weight = nn.Parameter(torch.zeros(hidden, size))
        self.head_bias = nn.Parameter(torch.zeros(size))
        self.register_buffer('mean', mean)
        self.register_buffer('scale', scale)

    def forward(self, profiles: Tensor) -> Tensor:
        """Return the predicted next profile after each step, standardized `[B, T, 3·D]`.

        `profiles` are standardized, `[B, T, 3·D]`.
        """
        change = torch.diff(profiles, dim=1, prepend=profiles[:, :1])
        before = torch.cat([torch.zeros_like(change[:, :1]), change[:, :-1]], dim=1)
        states = self.rnn(torch.cat([change, before], dim=2))
        return profiles + states @ self.head_weight + self.head_bias

    def loss(self, profiles: Tensor) -> Tensor:
        """Return the mean squared error one step ahead, for profiles `[B, T, 3·D]`."""
        standardized = (profiles - self.mean) / self.scale
        return (self(standardized[:, :-1]) - standardized[:, 1:]).square().mean()

    def arrays(self) -> dict[str, np.ndarray]:
        """Return the weights for `ProfilePredictor`."""
        return {k: v.detach().cpu().numpy().copy() for k, v in self.state_dict().items()}
