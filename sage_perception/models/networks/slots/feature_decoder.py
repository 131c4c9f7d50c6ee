# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""A decoder that composes features instead of pixels (Seitzer et al., 2023)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from sage_perception.models.networks.slots.config import SlotsConfig
from sage_perception.models.networks.slots.decoder import Decoded
from sage_perception.models.networks.slots.positions import upsampled


class FeatureDecoder(nn.Module):
    """Decodes each slot to one color and one vector of features, linearly.

    The attention composes them, so that a slot can explain only the tokens it holds (specification
    003, §2C). A decoder with positions and masks of its own learns the photographs by heart.
    """

    def __init__(self, config: SlotsConfig) -> None:
        super().__init__()
        self.size, self.channels = config.img_size, config.input_channels
        self.side = config.token_grid
        self.values = nn.Linear(config.slot_dim, self.channels + config.decoder_features)

    def features(self, slots: Tensor, attention: Tensor) -> Tensor:
        """Return colors and features of tokens, `[B, N, C + F]`, colors first.

        `slots` are `[B, K, D]`, and `attention` is `[B, K, N]`.
        """
        return attention.transpose(1, 2) @ self.values(slots)

    def forward(self, slots: Tensor, attention: Tensor) -> Decoded:
        """Compose the image of slots `[B, K, D]` with attention `[B, K, N]`."""
        masks = upsampled(attention, self.side, self.size)
        colors = self.values(slots)[..., : self.channels, None, None]
        images = colors.expand(-1, -1, -1, self.size, self.size)
        return Decoded(torch.einsum('bkyx,bkcyx->bcyx', masks, images), images, masks)
