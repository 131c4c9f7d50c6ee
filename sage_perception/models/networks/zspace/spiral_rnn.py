# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""The SpiralRnn cell in torch; `sage_perception.zspace.SpiralRnn` documents its equations."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn


class SpiralRnn(nn.Module):
    """A recurrent cell that is anchored to a learned state.

    The parameters have the names and shapes of the state dict of `sage_perception.zspace`.
    """

    def __init__(self, input_dim: int, hidden: int) -> None:
        super().__init__()

        def uniform(rows: int, columns: int, fan_in: int) -> nn.Parameter:
            bound = 1 / math.sqrt(fan_in)
            return nn.Parameter(torch.empty(rows, columns).uniform_(-bound, bound))

        self.anchor = uniform(1, hidden, hidden)
        self.input_kernel = uniform(input_dim, 2 * hidden, input_dim)
        self.state_kernel = uniform(hidden, 2 * hidden, hidden)
        self.phase_kernel = uniform(hidden, hidden, hidden)
        self.bias = nn.Parameter(torch.zeros(1, 2 * hidden))
        self.phase_bias = nn.Parameter(torch.zeros(1, hidden))

    def step(self, state: Tensor, inputs: Tensor) -> Tensor:
        """Return the state `[B, H]` after a step with inputs `[B, I]`."""
        both = inputs @ self.input_kernel + state @ self.state_kernel + self.bias
        drive, rotation = both.chunk(2, dim=1)
        gate = torch.sigmoid(state @ self.phase_kernel + rotation + self.phase_bias)
        return gate * state + (1 - gate) * drive.tanh() + self.anchor * rotation.tanh()

    def forward(self, inputs: Tensor) -> Tensor:
        """Return the state after each step of inputs `[B, T, I]`, `[B, T, H]`."""
        state, states = self.anchor.expand(len(inputs), -1), []
        for index in range(inputs.shape[1]):
            state = self.step(state, inputs[:, index])
            states.append(state)
        return torch.stack(states, dim=1)
