# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""The slot model: encoder, Slot Attention and decoder, for images and videos."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from sage_perception.models.networks.slots.attention import SlotAttention
from sage_perception.models.networks.slots.colors import Colors
from sage_perception.models.networks.slots.config import SlotsConfig
from sage_perception.models.networks.slots.decoder import BroadcastDecoder, Decoded
from sage_perception.models.networks.slots.encoder import PretrainedEncoder, token_encoder
from sage_perception.models.networks.slots.feature_decoder import FeatureDecoder
from sage_perception.models.networks.slots.start import ImageStart, SlotStart
from sage_perception.models.networks.slots.temporal import SlotPredictor


class SlotsOutput(NamedTuple):
    """The slots of images and what they decode to.

    Attributes:
        slots: float `[B, K, D]`.
        attention: float `[B, K, N]`, the share of each token that a slot holds.
        image, images, masks: as of `Decoded`.

    """

    slots: Tensor
    attention: Tensor
    image: Tensor
    images: Tensor
    masks: Tensor


class SlotModel(nn.Module):
    """Decomposes images into slots, and composes images from slots (specification 003)."""

    def __init__(self, config: SlotsConfig) -> None:
        super().__init__()
        self.config = config
        self.encoder = nn.ModuleDict(
            {
                'tokens': token_encoder(config),
                'start': SlotStart(config),
                'attention': SlotAttention(config),
                'predictor': SlotPredictor(config.slot_dim),
            }
        )
        if config.init == 'image':
            self.encoder['seeds'] = ImageStart(config)
        self.space = Colors(config)
        decoder = FeatureDecoder if config.decoder_features else BroadcastDecoder
        self.decoder = decoder(config)

    def attend(self, x: Tensor, previous: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Return slots `[B, K, D]` and attention `[B, K, N]` of images `[B, C, S, S]`.

        `previous` are the slots of the previous frames, from which those of these frames are
        predicted; without them the slots start from scratch, after training from the best of the
        configured number of starts.
        """
        if previous is None:
            tokens = self.tokens(x)
            starts = 1 if self.training else self.config.starts
            found = [
                self.compete(tokens, self.seeded(x, tokens, self.encoder['start'](len(x))))
                for _ in range(starts)
            ]
            if starts == 1:
                return found[0]
            errors = torch.stack([self.error(x, *each) for each in found])
            best = errors.nan_to_num(torch.inf).argmin(0)
            rows = torch.arange(len(x), device=x.device)
            slots, attention = (torch.stack(part)[best, rows] for part in zip(*found, strict=True))
            return slots, attention
        start = self.encoder['predictor'](previous)
        return self.compete(self.tokens(x), start, self.config.video_iterations)

    def refine(self, x: Tensor, start: Tensor, iterations: int = 0) -> tuple[Tensor, Tensor]:
        """Return what `attend` does for a first frame, from one random `start` `[B, K, D]`.

        0 iterations: those of a first frame.
        """
        tokens = self.tokens(x)
        return self.compete(tokens, self.seeded(x, tokens, start), iterations)

    def tokens(self, x: Tensor) -> Tensor:
        """Return the tokens `[B, N, C]` of images."""
        return self.encoder['tokens'](self.space(x))

    def seeded(self, x: Tensor, tokens: Tensor, start: Tensor) -> Tensor:
        """Return the start of the slots `[B, K, D]`, with that from the image if there is one."""
        if self.config.init != 'image':
            return start
        return start + self.encoder['seeds'](self.space(x), tokens)

    def compete(self, tokens: Tensor, start: Tensor, iterations: int = 0) -> tuple[Tensor, Tensor]:
        """Return what `refine` does, of tokens `[B, N, C]` instead of images."""
        attention, config = self.encoder['attention'], self.config
        if not self.training:
            iterations = iterations or config.eval_iterations
        slots, shares = attention(tokens, start, iterations or config.iterations)
        return slots, shares

    def error(self, x: Tensor, slots: Tensor, attention: Tensor) -> Tensor:
        """Return the mean squared error of each of the composed images, `[B]`."""
        image = self.compose(slots, attention).image
        return (self.space(image) - self.space(x)).square().mean((1, 2, 3))

    def attend_maps(self, maps: Tensor) -> tuple[Tensor, Tensor]:
        """Return what `attend` does, of maps of the frozen encoder, float `[B, 112, g, g]`."""
        tokens = self.encoder['tokens']
        assert isinstance(tokens, PretrainedEncoder)  # others have no maps
        return self.compete(tokens.project(maps), self.encoder['start'](len(maps)))

    def compose_features(self, slots: Tensor, attention: Tensor) -> Tensor:
        """Return composed colors and features of tokens, `[B, N, C + F]`; see `features`."""
        assert isinstance(self.decoder, FeatureDecoder)  # others compose pixels
        return self.decoder.features(slots, attention)

    def compose(self, slots: Tensor, attention: Tensor | None = None) -> Decoded:
        """Compose images of slots; `attention` is required if it composes the image."""
        return self.decoder(slots, attention)

    def forward(self, x: Tensor, previous: Tensor | None = None) -> SlotsOutput:
        """Decompose and compose images, float `[B, C, S, S]` in [0, 1]; see `attend`."""
        slots, attention = self.attend(x, previous)
        return SlotsOutput(slots, attention, *self.compose(slots, attention))

    def frames(self, video: Tensor, carry: bool = True) -> list[SlotsOutput]:
        """Decompose the frames of videos, float `[B, T, C, S, S]`, one after another.

        With `carry`, the slots of a frame start from those of the previous one, without its
        gradient; otherwise each frame starts from scratch.
        """
        outputs: list[SlotsOutput] = []
        for x in video.unbind(1):
            previous = outputs[-1].slots.detach() if carry and outputs else None
            outputs.append(self(x, previous))
        return outputs


def segment(masks: Tensor) -> Tensor:
    """Return the slot with the largest mask at each pixel: masks `[..., K, S, S]` to int64."""
    return torch.argmax(masks, -3)
