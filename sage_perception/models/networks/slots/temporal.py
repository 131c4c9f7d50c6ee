# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Slots over time: the predictor between frames and the temporal transformer (003, phase 2)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated

import torch
from torch import Tensor, nn

from sage_perception.core.settings import Interval, check

HEADS = 4


def attention_layer(dim: int) -> nn.TransformerEncoderLayer:
    """Return a transformer layer with normalization first."""
    return nn.TransformerEncoderLayer(
        dim, HEADS, 2 * dim, dropout=0.0, batch_first=True, norm_first=True
    )


class SlotPredictor(nn.Module):
    """Predicts the slots of the next frame from those of this one (Kipf et al., 2022).

    One transformer layer over the slots of a frame. Its outputs start at zero, so an untrained
    predictor returns its input.
    """

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.layer = attention_layer(dim)
        self.gate = nn.Parameter(torch.zeros(dim))

    def forward(self, slots: Tensor) -> Tensor:
        """Map slots `[B, K, D]` to the start of the next frame `[B, K, D]`."""
        return slots + self.gate * (self.layer(slots) - slots)


def time_embedding(frames: int, dim: int) -> Tensor:
    """Return sinusoidal embeddings of frame numbers, float32 `[T, D]` (Vaswani et al., 2017)."""
    rates = torch.exp(-math.log(10_000.0) * torch.arange(0, dim, 2) / dim)
    angles = torch.arange(frames)[:, None] * rates[None, :]
    return torch.stack((angles.sin(), angles.cos()), -1).flatten(1)[:, :dim]


@dataclass(frozen=True)
class SequenceConfig:
    """How a temporal transformer is built.

    Attributes
    ----------
    slot_dim : int
        D, the dimensions of a slot: a multiple of 4.
    layers : int
        Layers over time, each followed by one over the slots of a frame.

    """

    slot_dim: Annotated[int, Interval(4, 512)] = 64
    layers: Annotated[int, Interval(1, 12)] = 2

    def __post_init__(self) -> None:
        check(self)
        if self.slot_dim % HEADS:
            raise ValueError(f'slot_dim is {self.slot_dim}; it must be a multiple of {HEADS}')


class TemporalTransformer(nn.Module):
    """Predicts hidden slots of a clip from the others, as BERT predicts words.

    Layers alternate between the frames of one slot and the slots of one frame. With `causal`,
    a frame sees itself and earlier frames only, as a live camera requires.
    """

    MAX_FRAMES = 64
    embedding: Tensor

    def __init__(self, config: SequenceConfig) -> None:
        super().__init__()
        self.config = config
        dim, layers = config.slot_dim, config.layers
        self.over_time = nn.ModuleList(attention_layer(dim) for _ in range(layers))
        self.over_slots = nn.ModuleList(attention_layer(dim) for _ in range(layers))
        self.hidden = nn.Parameter(torch.randn(dim) * dim**-0.5)
        self.output = nn.Linear(dim, dim)
        nn.init.zeros_(self.output.weight)
        nn.init.zeros_(self.output.bias)
        self.register_buffer('embedding', time_embedding(self.MAX_FRAMES, dim), persistent=False)

    def forward(self, slots: Tensor, hidden: Tensor, causal: bool = False) -> Tensor:
        """Return the slots with the hidden ones predicted.

        Args:
            slots: float `[B, T, K, D]`, T at most `MAX_FRAMES`; slot k is the same object in
                all frames.
            hidden: bool `[B, T, K]`, the slots to predict.
            causal: whether a frame depends on earlier frames only.

        Returns:
            float `[B, T, K, D]`. A hidden slot is predicted as a change of the last visible one
            of the same object, or of the learned hidden token if there is none.

        """
        batch, frames, count, dim = slots.shape
        base = last_visible(slots, hidden, self.hidden)
        x = torch.where(hidden[..., None], self.hidden, slots)
        x = x + self.embedding[:frames, None, :]
        mask = None
        if causal:
            mask = nn.Transformer.generate_square_subsequent_mask(frames, device=slots.device)
        for over_time, over_slots in zip(self.over_time, self.over_slots, strict=True):
            rows = x.transpose(1, 2).reshape(batch * count, frames, dim)
            rows = over_time(rows, src_mask=mask)
            x = rows.view(batch, count, frames, dim).transpose(1, 2)
            x = over_slots(x.reshape(batch * frames, count, dim)).view(x.shape)
        return torch.where(hidden[..., None], base + self.output(x), slots)


def last_visible(slots: Tensor, hidden: Tensor, default: Tensor) -> Tensor:
    """Return for each slot the last one of the same object that is not hidden.

    `slots` are float `[B, T, K, D]`, `hidden` bool `[B, T, K]`, and `default` `[D]` stands for
    objects that have not been visible.
    """
    frames = slots.shape[1]
    index = torch.arange(frames, device=slots.device)
    earlier = index[:, None] >= index  # [T, T]
    visible = earlier[None, :, :, None] & ~hidden[:, None]
    last = torch.where(visible, index[:, None], -1).amax(2)
    gathered = slots.gather(1, last.clamp_min(0)[..., None].expand(slots.shape))
    return torch.where(last[..., None] < 0, default, gathered)
