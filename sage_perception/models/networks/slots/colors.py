# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""The color space of a slot model."""

from __future__ import annotations

from torch import Tensor, nn

from sage_perception.models.mask_refinement import DARKEST
from sage_perception.models.networks.slots.config import SlotsConfig


class Colors(nn.Module):
    """Maps RGB in [0, 1] to the color space of a model, and back.

    In the space `'log'`, a shade adds the same number to the logarithm of each channel, so it
    changes their mean only, which is multiplied by `luminance` (log-opponent colors; Finlayson et
    al., 2009, remove it).
    """

    def __init__(self, config: SlotsConfig) -> None:
        super().__init__()
        self.log, self.luminance = config.color_space == 'log', config.luminance

    def forward(self, x: Tensor) -> Tensor:
        """Return images `[..., C, S, S]` in the color space."""
        if not self.log:
            return x
        logarithm = (x + DARKEST).log()
        return logarithm - (1 - self.luminance) * logarithm.mean(-3, keepdim=True)

    def inverse(self, colors: Tensor) -> Tensor:
        """Return RGB of images in the color space; `forward` returns the same colors again."""
        if not self.log:
            return colors
        factor = (1 - self.luminance) / self.luminance
        return (colors + factor * colors.mean(-3, keepdim=True)).exp() - DARKEST
