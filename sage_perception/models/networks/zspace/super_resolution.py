# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Corrects interpolated slices; `sage_perception.zspace.ZSuperResolution` runs it."""

from __future__ import annotations

import numpy as np
import torch.nn.functional as F
from torch import Tensor, nn


class SliceNetwork(nn.Module):
    """Two 3×3 convolutions that correct the cubic interpolation between four slices.

    The second one starts at zero, so that the untrained network is cubic interpolation.
    """

    def __init__(self, channels: int = 8) -> None:
        super().__init__()
        self.first = nn.Conv2d(4, channels, 3, padding=1)
        self.second = nn.Conv2d(channels, 1, 3, padding=1)
        nn.init.zeros_(self.second.weight)
        nn.init.zeros_(self.second.bias)  # type: ignore[arg-type]

    def forward(self, slices: Tensor) -> Tensor:
        """Return the middle `[B, 1, H, W]` of four slices `[B, 4, H, W]`, at most 1 in size."""
        cubic = (9 * (slices[:, 1:2] + slices[:, 2:3]) - slices[:, :1] - slices[:, 3:]) / 16
        return cubic + self.second(F.relu(self.first(slices)))

    def loss(self, slices: Tensor) -> Tensor:
        """Return the mean squared error for `[B, 5, H, W]`: four slices, and the middle last."""
        return (self(slices[:, :4]) - slices[:, 4:]).square().mean()

    def arrays(self) -> dict[str, np.ndarray]:
        """Return the weights for `ZSuperResolution`."""
        return {k: v.detach().cpu().numpy().copy() for k, v in self.state_dict().items()}
