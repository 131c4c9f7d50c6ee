# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Compressors of a context of 4096 numbers, partly unknown, to 256: `docs/context.md`.

A context is a row of tokens of a few kinds: things, recalled latents, cameras, the scene. `groups`
of the configuration says where each lies. Four variants, and a baseline:

`bottleneck`    a variational autoencoder of plain layers that knows nothing of tokens
`attention`     one matrix, and learned queries that gather from all tokens (Perceiver: Jaegle et
                al., 2021)
`hierarchical`  tokens are reduced by kind, and each kind has a code of its own length
`hybrid`        tokens are reduced by kind, then principal components over all of them are inferred
                from what is known, and attention is added
`linear`        one matrix there and one back, what the others are compared with

All can be set to principal components and learn from there on
(`sage_perception.training.tasks.h_to_l.start_from_contexts`). No normalization or non-linearity
touches the code: what can be read from a context linearly can be read from its code.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Annotated, Literal, NamedTuple, get_args

import numpy as np
import torch
from torch import Tensor, nn

from sage_perception.core.settings import Count, Interval, Whole, build, check

Variant = Literal['bottleneck', 'attention', 'hierarchical', 'hybrid', 'linear']
VARIANTS = get_args(Variant)
GAIN = 0.8
"""Where the gains of the hybrid's rounds of inference start; above 1 they may diverge."""
PRIOR = 0.3
"""Keeps a number of the code that hardly anything decides near 0."""
LOG_VAR = -4.0
"""Where the logarithms of the codes' variances start; codes themselves vary by 1 on average."""


@dataclass(frozen=True)
class Group:
    """`count` tokens of one kind.

    `parts` are (start, width): token i has the numbers from start + i · width on of each part.
    `keep` numbers describe a token inside the hierarchical variant and the hybrid, `rate` numbers
    of the code are for all tokens of this kind in the hierarchical one.
    """

    count: Count
    parts: tuple[tuple[Whole, Count], ...]
    keep: Count
    rate: Whole

    def __post_init__(self):
        check(self)

    @property
    def width(self) -> int:
        """Return how many numbers a token has."""
        return sum(width for _, width in self.parts)

    @property
    def places(self) -> np.ndarray:
        """Return where the numbers of each token lie, int64 `[count, width]`."""
        rows = [
            np.concatenate([start + i * width + np.arange(width) for start, width in self.parts])
            for i in range(self.count)
        ]
        return np.stack(rows)


@dataclass(frozen=True)
class HToLConfig:
    """Settings of a compressor.

    `groups` is kind → settings of `Group`; `layout` is the version of the layout, `encoder` and
    `latents` the name and the fingerprint of the model whose latents contexts hold. `hidden` is
    the width of plain layers, `queries` of `width` numbers attend, and `rounds` of inference
    follow the first guess.
    """

    groups: dict[str, dict] = field(default_factory=dict)
    variant: Variant = 'hybrid'
    layout: Whole = 0
    encoder: str = ''
    latents: str = ''
    input_dim: Count = 4096
    code_dim: Count = 256
    hidden: Annotated[int, Interval(8)] = 512
    width: Annotated[int, Interval(16)] = 64
    queries: Count = 16
    rounds: Whole = 3

    def __post_init__(self):
        check(self)
        if self.width % (heads := self.width // 16):
            raise ValueError(f'width is {self.width}, no multiple of its {heads} heads')
        if self.code_dim % self.queries:
            raise ValueError(f'code_dim {self.code_dim} is no multiple of queries {self.queries}')
        spent = sum(group.rate for group in self.kinds.values())
        if self.variant == 'hierarchical' and self.groups and spent != self.code_dim:
            raise ValueError(f'groups have rates that add to {spent}, not to {self.code_dim}')

    @property
    def kinds(self) -> dict[str, Group]:
        """Return the groups by name."""
        return {
            name: build(Group, group, f'groups.{name}.') for name, group in self.groups.items()
        }


class HToLOutput(NamedTuple):
    """What a compressor makes of contexts.

    `compressed` `[B, 256]` are the codes' means, `log_var` their log-variances, `reconstruction`
    `[B, 4096]` what the code says of the whole context. `metrics` are scalars:
    `reconstruction_loss`, the mean squared error of what is known; `kl`, nats a dimension, mean
    over batch and dimensions; `information_retained`, the explained variance of what is known.
    """

    compressed: Tensor
    reconstruction: Tensor
    log_var: Tensor
    metrics: dict[str, Tensor]


def masked_error(reconstruction: Tensor, context: Tensor, mask: Tensor) -> Tensor:
    """Return the mean squared error of the numbers of `context` that are known."""
    return ((reconstruction - context).square() * mask).sum() / mask.sum().clamp_min(1)


def explained_variance(reconstruction: Tensor, context: Tensor, mask: Tensor) -> Tensor:
    """Return the share of the variance of known numbers that is told: R², at most 1.

    The variance is about each number's own mean over these contexts where it is known.
    """
    count = mask.sum(0).clamp_min(1)
    mean = (context * mask).sum(0) / count
    total = ((context - mean).square() * mask).sum()
    return 1 - ((reconstruction - context).square() * mask).sum() / total.clamp_min(1e-12)


class Tokens(nn.Module):
    """Contexts to rows of tokens and back; slices of whole parts, for speed."""

    def __init__(self, config: HToLConfig):
        super().__init__()
        self.kinds = config.kinds
        parts = sorted(
            (start, start + group.count * width)
            for group in self.kinds.values()
            for start, width in group.parts
        )
        after = [*(start for start, _ in parts[1:]), config.input_dim]
        if any(end > following for (_, end), following in zip(parts, after, strict=True)):
            raise ValueError('groups overlap or leave the context')
        self.begin = parts[0][0] if parts else 0
        # How many numbers follow each part that no token tells.
        self.gaps = [next_ - end for (_, end), next_ in zip(parts, after, strict=True)]

    def split(self, x: Tensor) -> list[Tensor]:
        """Return the tokens `[B, count, width]` of each kind of contexts `[B, 4096]`."""
        return [
            torch.cat(
                [
                    x[:, start : start + group.count * width].reshape(-1, group.count, width)
                    for start, width in group.parts
                ],
                2,
            )
            for group in self.kinds.values()
        ]

    def join(self, tokens: Sequence[Tensor]) -> Tensor:
        """Return contexts `[B, 4096]` of tokens; 0 where no token says anything."""
        parts = {}
        for token, group in zip(tokens, self.kinds.values(), strict=True):
            widths = [width for _, width in group.parts]
            for (start, _), part in zip(group.parts, token.split(widths, 2), strict=True):
                parts[start] = part.flatten(1)
        row = [
            nn.functional.pad(parts[start], (0, gap))
            for start, gap in zip(sorted(parts), self.gaps, strict=True)
        ]
        return nn.functional.pad(torch.cat(row, 1), (self.begin, 0))

    def present(self, mask: Tensor) -> Tensor:
        """Return which tokens are known at all, float `[B, T]`, of masks `[B, 4096]`."""
        return torch.cat([part.amax(2) for part in self.split(mask)], 1)


class Encoder(nn.Module):
    """What every encoder has: the mean of the contexts that it was started from."""

    def __init__(self, config: HToLConfig):
        super().__init__()
        self.config = config
        self.register_buffer('mean', torch.zeros(config.input_dim))

    def known(self, context: Tensor, mask: Tensor) -> Tensor:
        """Return contexts `[B, 4096]` less the mean, 0 where they are unknown."""
        return (context - self.mean) * mask


class PlainEncoder(Encoder):
    """Layers from all numbers to the code."""

    def __init__(self, config: HToLConfig):
        super().__init__(config)
        hidden = config.hidden
        self.layers = nn.Sequential(
            nn.Linear(config.input_dim, hidden), nn.SiLU(), nn.Linear(hidden, hidden), nn.SiLU()
        )
        self.code = nn.Linear(hidden, 2 * config.code_dim)
        nn.init.constant_(self.code.bias[config.code_dim :], LOG_VAR)

    def forward(self, context: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """Return mean and log-variance `[B, 256]` of contexts and masks `[B, 4096]`."""
        return self.code(self.layers(self.known(context, mask))).chunk(2, 1)


class PlainDecoder(nn.Module):
    """Layers from the code to all numbers."""

    def __init__(self, config: HToLConfig):
        super().__init__()
        hidden = config.hidden
        self.layers = nn.Sequential(
            nn.Linear(config.code_dim, hidden),
            nn.SiLU(),
            nn.Linear(hidden, hidden),
            nn.SiLU(),
            nn.Linear(hidden, config.input_dim),
        )

    def forward(self, code: Tensor) -> Tensor:
        """Return contexts `[B, 4096]`, less their mean, of codes `[B, 256]`."""
        return self.layers(code)


class LinearEncoder(Encoder):
    """One matrix."""

    def __init__(self, config: HToLConfig):
        super().__init__(config)
        self.code = nn.Linear(config.input_dim, config.code_dim, bias=False)
        self.log_var = nn.Parameter(torch.full((config.code_dim,), LOG_VAR))

    def forward(self, context: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """Return mean and log-variance `[B, 256]` of contexts and masks `[B, 4096]`."""
        mean = self.code(self.known(context, mask))
        return mean, self.log_var.expand_as(mean)


class LinearDecoder(nn.Module):
    """One matrix back."""

    def __init__(self, config: HToLConfig):
        super().__init__()
        self.tell = nn.Linear(config.code_dim, config.input_dim, bias=False)

    def forward(self, code: Tensor) -> Tensor:
        """Return contexts `[B, 4096]`, less their mean, of codes `[B, 256]`."""
        return self.tell(code)


class AttentionPool(nn.Module):
    """Learned queries attend to tokens of several kinds, as many heads as the width allows."""

    def __init__(self, widths: Sequence[int], counts: Sequence[int], queries: int, width: int):
        super().__init__()
        self.heads = width // 16
        self.embed = nn.ModuleList(nn.Linear(inputs, width) for inputs in widths)
        self.place = nn.Parameter(torch.randn(sum(counts), width) * 0.02)
        self.queries = nn.Parameter(torch.randn(queries, width))
        self.ask = nn.Linear(width, width, bias=False)
        self.offer = nn.Linear(width, 2 * width, bias=False)
        self.think = nn.Sequential(
            nn.LayerNorm(width),
            nn.Linear(width, 2 * width),
            nn.SiLU(),
            nn.Linear(2 * width, width),
        )

    def forward(self, tokens: Sequence[Tensor], present: Tensor) -> Tensor:
        """Return `[B, queries, width]` of tokens `[B, count, width]` a kind, present `[B, T]`."""
        row = torch.cat([e(t) for e, t in zip(self.embed, tokens, strict=True)], 1) + self.place
        keys, values = self._heads(self.offer(torch.relu(row))).chunk(2, 3)
        asked = self._heads(self.ask(self.queries)[None])
        score = asked @ keys.transpose(2, 3) * (keys.shape[3] ** -0.5)
        score = score + ((present - 1) * 1e4)[:, None, None]
        told = (score.softmax(3) @ values).transpose(1, 2).flatten(2)
        return told + self.think(told)

    def _heads(self, x: Tensor) -> Tensor:
        return x.reshape(x.shape[0], x.shape[1], self.heads, -1).transpose(1, 2)


class AttentionEncoder(Encoder):
    """A matrix makes the code, and queries add to it, each to its own part."""

    def __init__(self, config: HToLConfig):
        super().__init__(config)
        self.tokens = Tokens(config)
        self.direct = nn.Linear(config.input_dim, config.code_dim, bias=False)
        kinds = config.kinds.values()
        self.gather = AttentionPool(
            [g.width for g in kinds], [g.count for g in kinds], config.queries, config.width
        )
        part = config.code_dim // config.queries
        self.add = nn.Linear(config.width, 2 * part)
        nn.init.zeros_(self.add.weight)
        nn.init.zeros_(self.add.bias[:part])
        nn.init.constant_(self.add.bias[part:], LOG_VAR)

    def forward(self, context: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """Return mean and log-variance `[B, 256]` of contexts and masks `[B, 4096]`."""
        known = self.known(context, mask)
        found = self.gather(self.tokens.split(known), self.tokens.present(mask))
        mean, log_var = self.add(found).chunk(2, 2)
        return self.direct(known) + mean.flatten(1), log_var.flatten(1)


class AttentionDecoder(nn.Module):
    """A matrix makes the tokens, and each place of one asks the parts of the code for more."""

    def __init__(self, config: HToLConfig):
        super().__init__()
        self.tokens = Tokens(config)
        self.direct = nn.Linear(config.code_dim, config.input_dim, bias=False)
        kinds = list(config.kinds.values())
        part = config.code_dim // config.queries
        self.queries = config.queries
        count = sum(group.count for group in kinds)
        self.gather = AttentionPool([part], [config.queries], count, config.width)
        self.counts = [group.count for group in kinds]
        self.add = nn.ModuleList(nn.Linear(config.width, group.width) for group in kinds)
        for layer in self.add:
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)

    def forward(self, code: Tensor) -> Tensor:
        """Return contexts `[B, 4096]`, less their mean, of codes `[B, 256]`."""
        parts = code.reshape(code.shape[0], self.queries, -1)
        row = self.gather([parts], torch.ones_like(parts[..., 0])).split(self.counts, 1)
        more = self.tokens.join([add(t) for add, t in zip(self.add, row, strict=True)])
        return self.direct(code) + more


class ResidualMLP(nn.Module):
    """A matrix, and layers beside it that begin at zero and add what it cannot say."""

    def __init__(self, inputs: int, hidden: int, outputs: int):
        super().__init__()
        self.direct = nn.Linear(inputs, outputs, bias=False)
        self.layers = nn.Sequential(
            nn.Linear(inputs, hidden), nn.SiLU(), nn.Linear(hidden, outputs)
        )
        nn.init.zeros_(self.layers[2].weight)
        nn.init.zeros_(self.layers[2].bias)

    def forward(self, x: Tensor) -> Tensor:
        """Return `[B, outputs]` for `[B, inputs]`."""
        return self.direct(x) + self.layers(x)


class HierarchicalEncoder(Encoder):
    """Tokens are reduced, and those of a kind make a part of the code as long as it deserves."""

    def __init__(self, config: HToLConfig):
        super().__init__(config)
        self.tokens = Tokens(config)
        kinds = config.kinds.values()
        self.reduce = nn.ModuleList(nn.Linear(g.width, g.keep, bias=False) for g in kinds)
        self.code = nn.ModuleList(
            ResidualMLP(g.count * g.keep, config.hidden // 8, g.rate) for g in kinds
        )
        self.log_var = nn.Parameter(torch.full((config.code_dim,), LOG_VAR))

    def forward(self, context: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """Return mean and log-variance `[B, 256]` of contexts and masks `[B, 4096]`."""
        tokens = self.tokens.split(self.known(context, mask))
        mean = torch.cat(
            [
                code(reduce(token).flatten(1))
                for reduce, code, token in zip(self.reduce, self.code, tokens, strict=True)
            ],
            1,
        )
        return mean, self.log_var.expand_as(mean)


class HierarchicalDecoder(nn.Module):
    """Every part of the code tells of the tokens of its own kind."""

    def __init__(self, config: HToLConfig):
        super().__init__()
        self.tokens = Tokens(config)
        kinds = list(config.kinds.values())
        self.rates = [g.rate for g in kinds]
        self.shapes = [(g.count, g.keep) for g in kinds]
        self.tell = nn.ModuleList(
            ResidualMLP(g.rate, config.hidden // 8, g.count * g.keep) for g in kinds
        )
        self.enlarge = nn.ModuleList(nn.Linear(g.keep, g.width, bias=False) for g in kinds)

    def forward(self, code: Tensor) -> Tensor:
        """Return contexts `[B, 4096]`, less their mean, of codes `[B, 256]`."""
        parts = code.split(self.rates, 1)
        return self.tokens.join(
            [
                enlarge(tell(part).reshape(-1, *shape))
                for enlarge, tell, part, shape in zip(
                    self.enlarge, self.tell, parts, self.shapes, strict=True
                )
            ]
        )


class HybridEncoder(Encoder):
    """Principal components of what is known, and what attention adds to them.

    Tokens are first brought to `keep` numbers each, the same way for all of a kind. The code is
    inferred so that it predicts the tokens that are present: a first guess, then `rounds` of
    correction by what it does not predict yet, weighed by learned gains. A projection with zeros
    for what is absent would waste the numbers that describe it. This is Jacobi's iteration for the
    code of probabilistic principal components with missing data (Tipping and Bishop, 1999): what
    is present decides each number of the code to a share, by which its correction is divided.
    """

    def __init__(self, config: HToLConfig):
        super().__init__(config)
        self.tokens = Tokens(config)
        kinds = list(config.kinds.values())
        self.reduce = nn.ModuleList(nn.Linear(g.width, g.keep, bias=False) for g in kinds)
        counts, keeps = [g.count for g in kinds], [g.keep for g in kinds]
        self.shapes = list(zip(counts, keeps, strict=True))
        self.sizes = [count * keep for count, keep in self.shapes]
        numbers = sum(self.sizes)
        self.components = nn.Parameter(torch.randn(numbers, config.code_dim) * numbers**-0.5)
        self.unit = nn.Parameter(torch.ones(()), requires_grad=False)  # of the code, squared
        self.gains = nn.Parameter(torch.full((config.rounds, config.code_dim), GAIN))
        self.gather = AttentionPool(keeps, counts, config.queries, config.width)
        self.add = nn.Linear(config.width, config.code_dim // config.queries)
        nn.init.zeros_(self.add.weight)
        nn.init.zeros_(self.add.bias)
        self.log_var = nn.Linear(sum(counts), config.code_dim)
        nn.init.zeros_(self.log_var.weight)
        nn.init.constant_(self.log_var.bias, LOG_VAR)

    def forward(self, context: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """Return mean and log-variance `[B, 256]` of contexts and masks `[B, 4096]`."""
        present = self.tokens.present(mask)
        tokens = self.tokens.split(self.known(context, mask))
        tokens = [reduce(t) for reduce, t in zip(self.reduce, tokens, strict=True)]
        told = torch.cat([t.flatten(1) for t in tokens], 1)
        there = present.split([count for count, _ in self.shapes], 1)
        counts = torch.cat(
            [
                part[:, :, None].expand(-1, -1, keep).flatten(1)
                for part, (_, keep) in zip(there, self.shapes, strict=True)
            ],
            1,
        )
        predict = self.components.T / self.unit
        decided = present @ self._shares(predict) + PRIOR
        code = (told @ self.components) / decided
        for gain in self.gains:
            missed = (told - code @ predict) * counts
            code = code + gain * (missed @ self.components) / decided
        return (
            code + self.add(self.gather(tokens, present)).flatten(1),
            self.log_var(present),
        )

    def _shares(self, predict: Tensor) -> Tensor:
        """Return by how much each token decides each number of the code, `[T, 256]`."""
        each = (self.components * predict.T).split(self.sizes)
        shares = [
            part.reshape(*shape, -1).sum(1) for part, shape in zip(each, self.shapes, strict=True)
        ]
        return torch.cat(shares)


class HybridDecoder(nn.Module):
    """Principal components back to tokens, and what layers add to them."""

    def __init__(self, config: HToLConfig):
        super().__init__()
        self.tokens = Tokens(config)
        kinds = list(config.kinds.values())
        self.shapes = [(g.count, g.keep) for g in kinds]
        self.sizes = [g.count * g.keep for g in kinds]
        self.tell = ResidualMLP(config.code_dim, config.hidden // 4, sum(self.sizes))
        self.enlarge = nn.ModuleList(nn.Linear(g.keep, g.width, bias=False) for g in kinds)

    def forward(self, code: Tensor) -> Tensor:
        """Return contexts `[B, 4096]`, less their mean, of codes `[B, 256]`."""
        parts = self.tell(code).split(self.sizes, 1)
        return self.tokens.join(
            [
                enlarge(part.reshape(-1, *shape))
                for enlarge, part, shape in zip(self.enlarge, parts, self.shapes, strict=True)
            ]
        )


HALVES: dict[str, tuple[type[Encoder], type[nn.Module]]] = {
    'bottleneck': (PlainEncoder, PlainDecoder),
    'attention': (AttentionEncoder, AttentionDecoder),
    'hierarchical': (HierarchicalEncoder, HierarchicalDecoder),
    'hybrid': (HybridEncoder, HybridDecoder),
    'linear': (LinearEncoder, LinearDecoder),
}


class HToLCompressor(nn.Module):
    """4096 numbers to 256 and back; `config.variant` says how."""

    def __init__(self, config: HToLConfig):
        super().__init__()
        self.config = config
        encoder, decoder = HALVES[config.variant]
        self.encoder, self.decoder = encoder(config), decoder(config)

    def encode(self, context: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """Return mean and log-variance `[B, 256]` of contexts and masks `[B, 4096]`, float."""
        return self.encoder(context, mask)

    def decode(self, code: Tensor) -> Tensor:
        """Return what codes `[B, 256]` say of whole contexts `[B, 4096]`."""
        return self.decoder(code) + self.encoder.mean

    def forward(self, context: Tensor, mask: Tensor) -> HToLOutput:
        """Compress contexts and masks `[B, 4096]`; the code is sampled in training mode only."""
        mask = mask.to(context.dtype)
        mean, log_var = self.encode(context, mask)
        code = mean
        if self.training:
            code = mean + torch.randn_like(mean) * (0.5 * log_var).exp()
        reconstruction = self.decode(code)
        with torch.no_grad():
            divergence = 0.5 * (mean.square() + log_var.exp() - 1 - log_var)
            metrics = {
                'reconstruction_loss': masked_error(reconstruction, context, mask),
                'kl': divergence.mean(),
                'information_retained': explained_variance(reconstruction, context, mask),
            }
        return HToLOutput(mean, reconstruction, log_var, metrics)
