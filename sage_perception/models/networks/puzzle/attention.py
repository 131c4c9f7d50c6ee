# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Fusion of modalities by attention over object tokens.

Section 5.2 of the specification lets one vector of a modality attend to one of another.
With a single key the softmax is 1, so that this attention is a sum of linear maps and cannot
relate the two. Here the keys are the objects of a scene: each modality that refers to an object
(words, sound, the pose of the head) has a query of its own, and attends to all objects.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn

from sage_perception.core.settings import NonNegativeInt, PositiveInt, check
from sage_perception.models.networks.layers import two_layers

CUES = ('text', 'audio', 'proprioception')
"""Modalities that refer to an object, in the order of the masks."""
PLACE_DIM = 6
"""Features of a position: center, its squares and product, and the area."""
PLACE_SCALE = 8.0
"""Factor of the features and of what is compared with them, so that small weights suffice."""


@dataclass(frozen=True)
class FusionConfig:
    """How the fusion network is built.

    Attributes
    ----------
    appearance_dim, semantic_dim, position_dim : int
        Parts of an object token: latent, semantic code, and position in the image.
    text_dim, audio_dim, proprioception_dim : int
        Dimensions of the cues.
    width : int
        Dimensions of queries and keys.
    heads : int
        Attention heads.
    fused_dim : int
        Dimensions of the fused latent.
    slot_dim : int
        Dimensions of a slot; 0: a network without tokens of slots.

    """

    appearance_dim: PositiveInt = 64
    semantic_dim: PositiveInt = 64
    position_dim: PositiveInt = 4
    text_dim: PositiveInt = 384
    audio_dim: PositiveInt = 128
    proprioception_dim: PositiveInt = 32
    width: PositiveInt = 128
    heads: PositiveInt = 8
    fused_dim: PositiveInt = 256
    slot_dim: NonNegativeInt = 0

    def __post_init__(self) -> None:
        check(self)
        if self.width % self.heads:
            raise ValueError(f'width is {self.width}, not a multiple of heads {self.heads}')

    @property
    def token_dim(self) -> int:
        """Return the dimensions of an object token."""
        return self.appearance_dim + self.semantic_dim + self.position_dim

    @property
    def cue_dims(self) -> tuple[int, int, int]:
        """Return the dimensions of the cues, in the order of `CUES`."""
        return self.text_dim, self.audio_dim, self.proprioception_dim


class SlotTokens(NamedTuple):
    """The slots of frames: further tokens beside the crops.

    Attributes:
        tokens: slots with the positions of their regions, `[B, K, slot_dim + position_dim]`.
        present: 1 for slots that have a region, else 0, `[B, K]`.

    """

    tokens: Tensor
    present: Tensor


class Fused(NamedTuple):
    """The result of a fusion; N counts the objects, and then the slots if there are any.

    Attributes:
        fused: `[B, fused_dim]`.
        logits: `[B, N]`, of the tokens; about −10⁴ where there is none.
        by_cue: `[B, len(CUES), N]`, the logits of each cue alone; their sum, weighted by the
            trusts of the cues, is `logits`.

    """

    fused: Tensor
    logits: Tensor
    by_cue: Tensor


class CrossModalAttention(nn.Module):
    """Attention of cues over objects.

    An absent cue adds nothing to the logits of the objects, as if it were equally likely for each
    of them; an absent object has no weight.
    """

    token_mean: Tensor
    token_std: Tensor

    def __init__(self, config: FusionConfig):
        super().__init__()
        self.config = config
        width, heads = config.width, config.heads
        self.register_buffer('token_mean', torch.zeros(config.token_dim))
        self.register_buffer('token_std', torch.ones(config.token_dim))
        self.tokens = two_layers(config.token_dim, 2 * width, width)
        for i, dim in enumerate(config.cue_dims):
            self.register_buffer(f'cue_mean_{i}', torch.zeros(dim))
            self.register_buffer(f'cue_std_{i}', torch.ones(dim))
        self.key = nn.Linear(width, width, bias=False)
        self.value = nn.Linear(width, width)
        self.cues = nn.ModuleList(two_layers(dim, 2 * width, width) for dim in config.cue_dims)
        self.head_weights = nn.Parameter(torch.ones(len(CUES), heads) / heads)
        # The squared distance of two places is a product of these features with a linear map of
        # the cue, which dot products of networks learn slowly. At zero it changes nothing.
        places = [nn.Linear(dim, PLACE_DIM) for dim in config.cue_dims]
        for layer in places:
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)
        self.places = nn.ModuleList(places)
        self.direct = nn.ModuleList(nn.Linear(width, config.fused_dim) for _ in CUES)
        self.out = two_layers(2 * width, 2 * width, config.fused_dim)
        self.decoder = nn.Linear(config.fused_dim, config.token_dim + config.proprioception_dim)
        self.slots: nn.Module | None = None
        if config.slot_dim:
            dim = config.slot_dim + config.position_dim
            self.register_buffer('slot_mean', torch.zeros(dim))
            self.register_buffer('slot_std', torch.ones(dim))
            self.slots = two_layers(dim, 2 * width, width)

    def forward(
        self,
        objects: Tensor,
        present: Tensor,
        cues: tuple[Tensor, ...],
        given: Tensor,
        slots: SlotTokens | None = None,
    ) -> Fused:
        """Return the fusion of objects, slots and cues.

        Args:
            objects: tokens `[B, N, token_dim]`.
            present: 1 for tokens that are objects, else 0, `[B, N]`.
            cues: one vector for each of `CUES`, `[B, dim]`.
            given: trust of each cue in [0, 1], `[B, len(CUES)]`; 0: absent.
            slots: tokens of slots, for a network that has them.

        """
        heads = self.config.heads
        tokens = self.tokens((objects - self.token_mean) / self.token_std)
        position = objects[..., -self.config.position_dim :]
        if slots is not None:
            assert self.slots is not None, 'a network without slots: set slot_dim'
            mean, std = self.get_buffer('slot_mean'), self.get_buffer('slot_std')
            tokens = torch.cat((tokens, self.slots((slots.tokens - mean) / std)), 1)
            present = torch.cat((present, slots.present), 1)
            position = torch.cat((position, slots.tokens[..., -self.config.position_dim :]), 1)
        batch, count, _ = tokens.shape
        keys = self.key(tokens).reshape(batch, count, heads, -1)
        values = self.value(tokens)
        absent = (present < 0.5)[:, None]
        total = objects.new_zeros(batch, count)
        direct = objects.new_zeros(batch, self.config.fused_dim)
        context = objects.new_zeros(batch, self.config.width)
        own_logits = []
        features = PLACE_SCALE * place_features(position)
        for i, (network, cue) in enumerate(zip(self.cues, cues, strict=True)):
            standardized = self._standardized(i, cue)
            hidden = network(standardized)
            place = PLACE_SCALE * self.places[i](standardized)
            query = hidden.reshape(batch, heads, -1)
            scores = torch.einsum('bhd,bnhd->bhn', query, keys) / query.shape[2] ** 0.5
            weight = given[:, i, None]
            near = torch.einsum('bf,bnf->bn', place, features)
            own_logits.append(torch.einsum('bhn,h->bn', scores, self.head_weights[i]) + near)
            total = total + weight * own_logits[-1]
            attention = torch.softmax(scores.masked_fill(absent, -1e4), 2)
            own = torch.einsum('bhn,bnhd->bhd', attention, values.reshape(batch, count, heads, -1))
            context = context + weight * own.reshape(batch, -1)
            direct = direct + weight * self.direct[i](hidden)
        logits = total.masked_fill(present < 0.5, -1e4)
        meant = torch.einsum('bn,bnd->bd', torch.softmax(logits, 1), values)
        joined = torch.cat((meant, context / given.sum(1, keepdim=True).clamp(min=1)), 1)
        by_cue = torch.stack(own_logits, 1).masked_fill(absent, -1e4)
        return Fused(self.out(joined) + direct, logits, by_cue)

    def standardize(self, cues: tuple[Tensor, ...], given: Tensor) -> None:
        """Set the statistics of the cues from examples; those of constant dimensions stay."""
        for i, cue in enumerate(cues):
            values = cue[given[:, i] > 0]
            if len(values) < 2:
                continue
            std = values.std(0)
            self.get_buffer(f'cue_mean_{i}').copy_(values.mean(0))
            self.get_buffer(f'cue_std_{i}').copy_(torch.where(std > 1e-4, std, 1.0))

    def _standardized(self, i: int, cue: Tensor) -> Tensor:
        return (cue - self.get_buffer(f'cue_mean_{i}')) / self.get_buffer(f'cue_std_{i}')

    def decode(self, fused: Tensor) -> tuple[Tensor, Tensor]:
        """Return the token `[B, token_dim]` of the object meant, and the proprioception."""
        parts = self.decoder(fused).split(
            (self.config.token_dim, self.config.proprioception_dim), 1
        )
        return parts[0] * self.token_std + self.token_mean, parts[1]


def place_features(position: Tensor) -> Tensor:
    """Return features `[..., PLACE_DIM]` of positions (`puzzle.tokens.positions`), `[..., 4]`."""
    u, v, width, height = position.unbind(-1)
    return torch.stack((u, v, u * u, v * v, u * v, width * height), -1)


class Concatenation(nn.Module):
    """The baseline: all tokens and cues in one vector, for a fixed number of objects."""

    token_mean: Tensor
    token_std: Tensor

    def __init__(self, config: FusionConfig, objects: int, width: int = 384):
        super().__init__()
        self.register_buffer('token_mean', torch.zeros(config.token_dim))
        self.register_buffer('token_std', torch.ones(config.token_dim))
        dim = objects * config.token_dim + sum(config.cue_dims)
        self.layers = nn.Sequential(
            nn.Linear(dim, width), nn.GELU(), nn.Linear(width, width), nn.GELU(),
            nn.Linear(width, objects),
        )  # fmt: skip

    def forward(
        self, objects: Tensor, present: Tensor, cues: tuple[Tensor, ...], given: Tensor
    ) -> Tensor:
        """Return the logits of the objects `[B, N]`; the arguments are those of the attention."""
        tokens = (objects - self.token_mean) / self.token_std * present[..., None]
        weighted = [given[:, i, None] * cue for i, cue in enumerate(cues)]
        logits: Tensor = self.layers(torch.cat((tokens.flatten(1), *weighted), 1))
        return logits
