# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Compressors of a context of 4096 numbers, partly unknown, to 256: `docs/context.md`.

A context is a row of tokens of a few kinds: things, recalled latents, cameras, the scene. `groups`
of the configuration says where each lies. Four variants, and a baseline:

`bottleneck`    a variational autoencoder of plain layers that knows nothing of tokens
`attention`     learned queries gather from all tokens (Perceiver: Jaegle et al., 2021)
`hierarchical`  each kind of token has a code of its own length
`hybrid`        tokens by kind, then principal components over all of them that are inferred from
                what is known, and attention on top
`linear`        one matrix there and one back, what the others are compared with

No normalisation or non-linearity touches the code: what can be read from a context linearly can be
read from its code.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

VARIANTS = ('bottleneck', 'attention', 'hierarchical', 'hybrid', 'linear')
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
    `keep` numbers describe a token inside the hybrid, `rate` numbers of the code are for one in
    the hierarchical variant.
    """

    count: int
    parts: tuple[tuple[int, int], ...]
    keep: int
    rate: int

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
    variant: str = 'hybrid'
    layout: int = 0
    encoder: str = ''
    latents: str = ''
    input_dim: int = 4096
    code_dim: int = 256
    hidden: int = 512
    width: int = 64
    queries: int = 16
    rounds: int = 1

    def __post_init__(self):
        if self.variant not in VARIANTS:
            raise ValueError(f'variant is {self.variant!r}, it is one of {", ".join(VARIANTS)}')
        if self.code_dim % self.queries:
            raise ValueError(f'code_dim {self.code_dim} is no multiple of queries {self.queries}')
        spent = sum(group.count * group.rate for group in self.kinds.values())
        if self.variant == 'hierarchical' and self.groups and spent != self.code_dim:
            raise ValueError(f'the rates of the groups add to {spent}, not to {self.code_dim}')

    @property
    def kinds(self) -> dict[str, Group]:
        """Return the groups by name."""
        return {
            name: Group(**{**group, 'parts': tuple(map(tuple, group['parts']))})
            for name, group in self.groups.items()
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
    """Contexts to rows of tokens and back."""

    def __init__(self, config: HToLConfig):
        super().__init__()
        self.kinds = config.kinds
        order = np.concatenate([group.places.ravel() for group in self.kinds.values()])
        if len(np.unique(order)) != len(order) or order.max() >= config.input_dim:
            raise ValueError('groups overlap or leave the context')
        back = np.full(config.input_dim, len(order))  # what no token tells is the zero at the end
        back[order] = np.arange(len(order))
        self.sizes = [group.count * group.width for group in self.kinds.values()]
        # No buffers: averaging the weights would round them.
        self.order, self.back = torch.from_numpy(order), torch.from_numpy(back)

    def split(self, x: Tensor) -> list[Tensor]:
        """Return the tokens `[B, count, width]` of each kind of contexts `[B, 4096]`."""
        parts = x[:, self.order.to(x.device)].split(self.sizes, 1)
        return [
            part.reshape(-1, group.count, group.width)
            for part, group in zip(parts, self.kinds.values(), strict=True)
        ]

    def join(self, tokens: Sequence[Tensor]) -> Tensor:
        """Return contexts `[B, 4096]` of tokens; 0 where no token says anything."""
        flat = torch.cat([part.flatten(1) for part in tokens], 1)
        return torch.cat((flat, torch.zeros_like(flat[:, :1])), 1)[:, self.back.to(flat.device)]

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
        self.code = nn.Linear(config.input_dim, config.code_dim)
        self.log_var = nn.Parameter(torch.full((config.code_dim,), LOG_VAR))

    def forward(self, context: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """Return mean and log-variance `[B, 256]` of contexts and masks `[B, 4096]`."""
        mean = self.code(self.known(context, mask))
        return mean, self.log_var.expand_as(mean)


class LinearDecoder(nn.Module):
    """One matrix back."""

    def __init__(self, config: HToLConfig):
        super().__init__()
        self.tell = nn.Linear(config.code_dim, config.input_dim)

    def forward(self, code: Tensor) -> Tensor:
        """Return contexts `[B, 4096]`, less their mean, of codes `[B, 256]`."""
        return self.tell(code)


class Gather(nn.Module):
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
    """Queries gather the code, a part each."""

    def __init__(self, config: HToLConfig):
        super().__init__(config)
        self.tokens = Tokens(config)
        kinds = config.kinds.values()
        self.gather = Gather(
            [g.width for g in kinds], [g.count for g in kinds], config.queries, config.width
        )
        self.code = nn.Linear(config.width, 2 * config.code_dim // config.queries)
        nn.init.constant_(self.code.bias[config.code_dim // config.queries :], LOG_VAR)

    def forward(self, context: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """Return mean and log-variance `[B, 256]` of contexts and masks `[B, 4096]`."""
        tokens = self.tokens.split(self.known(context, mask))
        mean, log_var = self.code(self.gather(tokens, self.tokens.present(mask))).chunk(2, 2)
        return mean.flatten(1), log_var.flatten(1)


class AttentionDecoder(nn.Module):
    """Each place of a token asks the parts of the code."""

    def __init__(self, config: HToLConfig):
        super().__init__()
        self.tokens = Tokens(config)
        kinds = list(config.kinds.values())
        part = config.code_dim // config.queries
        self.queries = config.queries
        count = sum(group.count for group in kinds)
        self.gather = Gather([part], [config.queries], count, config.width)
        self.counts = [group.count for group in kinds]
        self.tell = nn.ModuleList(nn.Linear(config.width, group.width) for group in kinds)

    def forward(self, code: Tensor) -> Tensor:
        """Return contexts `[B, 4096]`, less their mean, of codes `[B, 256]`."""
        parts = code.reshape(code.shape[0], self.queries, -1)
        row = self.gather([parts], torch.ones_like(parts[..., 0])).split(self.counts, 1)
        return self.tokens.join([tell(t) for tell, t in zip(self.tell, row, strict=True)])


class HierarchicalEncoder(Encoder):
    """Every token has its own part of the code, as long as its kind deserves."""

    def __init__(self, config: HToLConfig):
        super().__init__(config)
        self.tokens = Tokens(config)
        kinds = [group for group in config.kinds.values() if group.rate]
        self.used = [bool(group.rate) for group in config.kinds.values()]
        self.linear = nn.ModuleList(nn.Linear(g.width, g.rate, bias=False) for g in kinds)
        self.bend = nn.ModuleList(
            nn.Sequential(nn.Linear(g.width, 64), nn.SiLU(), nn.Linear(64, g.rate)) for g in kinds
        )
        for layers in self.bend:
            nn.init.zeros_(layers[2].weight)
        self.log_var = nn.Parameter(torch.full((config.code_dim,), LOG_VAR))

    def forward(self, context: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """Return mean and log-variance `[B, 256]` of contexts and masks `[B, 4096]`."""
        tokens = self.tokens.split(self.known(context, mask))
        tokens = [token for token, used in zip(tokens, self.used, strict=True) if used]
        parts = [
            (linear(token) + bend(token)).flatten(1)
            for linear, bend, token in zip(self.linear, self.bend, tokens, strict=True)
        ]
        mean = torch.cat(parts, 1)
        return mean, self.log_var.expand_as(mean)


class HierarchicalDecoder(nn.Module):
    """Every part of the code tells of its own token."""

    def __init__(self, config: HToLConfig):
        super().__init__()
        self.tokens = Tokens(config)
        self.kinds = list(config.kinds.values())
        kinds = [group for group in self.kinds if group.rate]
        self.linear = nn.ModuleList(nn.Linear(g.rate, g.width, bias=False) for g in kinds)
        self.bend = nn.ModuleList(
            nn.Sequential(nn.Linear(g.rate, 64), nn.SiLU(), nn.Linear(64, g.width)) for g in kinds
        )
        for layers in self.bend:
            nn.init.zeros_(layers[2].weight)

    def forward(self, code: Tensor) -> Tensor:
        """Return contexts `[B, 4096]`, less their mean, of codes `[B, 256]`."""
        parts = iter(code.split([g.count * g.rate for g in self.kinds if g.rate], 1))
        layers = iter(zip(self.linear, self.bend, strict=True))
        tokens = []
        for group in self.kinds:
            if not group.rate:
                tokens.append(
                    torch.zeros_like(code[:, :1, None]).expand(-1, group.count, group.width)
                )
                continue
            part = next(parts).reshape(-1, group.count, group.rate)
            linear, bend = next(layers)
            tokens.append(linear(part) + bend(part))
        return self.tokens.join(tokens)


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
        numbers = sum(c * k for c, k in zip(counts, keeps, strict=True))
        self.components = nn.Parameter(torch.randn(numbers, config.code_dim) * numbers**-0.5)
        self.unit = nn.Parameter(torch.ones(()), requires_grad=False)  # of the code, squared
        self.gains = nn.Parameter(torch.full((config.rounds, config.code_dim), GAIN))
        self.gather = Gather(keeps, counts, config.queries, config.width)
        self.add = nn.Linear(config.width, config.code_dim // config.queries)
        nn.init.zeros_(self.add.weight)
        self.log_var = nn.Linear(sum(counts), config.code_dim)
        nn.init.zeros_(self.log_var.weight)
        nn.init.constant_(self.log_var.bias, LOG_VAR)
        owner = np.repeat(np.arange(sum(counts)), np.repeat(keeps, counts))
        self.owner = torch.from_numpy(owner)
        self.belongs = nn.functional.one_hot(self.owner).T.float()

    def forward(self, context: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """Return mean and log-variance `[B, 256]` of contexts and masks `[B, 4096]`."""
        present = self.tokens.present(mask)
        tokens = self.tokens.split(self.known(context, mask))
        tokens = [reduce(t) for reduce, t in zip(self.reduce, tokens, strict=True)]
        told = torch.cat([t.flatten(1) for t in tokens], 1)
        counts = present[:, self.owner.to(present.device)]
        predict = self.components.T / self.unit
        share = self.belongs.to(present.device) @ (self.components * predict.T)
        decided = present @ share + PRIOR
        code = (told @ self.components) / decided
        for gain in self.gains:
            missed = (told - code @ predict) * counts
            code = code + gain * (missed @ self.components) / decided
        return (
            code + self.add(self.gather(tokens, present)).flatten(1),
            self.log_var(present),
        )


class HybridDecoder(nn.Module):
    """Principal components back to tokens, and what a layer adds to them."""

    def __init__(self, config: HToLConfig):
        super().__init__()
        self.tokens = Tokens(config)
        kinds = list(config.kinds.values())
        self.shapes = [(g.count, g.keep) for g in kinds]
        self.linear = nn.Linear(config.code_dim, sum(c * k for c, k in self.shapes), bias=False)
        self.bend = nn.Sequential(
            nn.Linear(config.code_dim, config.hidden // 4),
            nn.SiLU(),
            nn.Linear(config.hidden // 4, self.linear.out_features),
        )
        nn.init.zeros_(self.bend[2].weight)
        nn.init.zeros_(self.bend[2].bias)
        self.enlarge = nn.ModuleList(nn.Linear(g.keep, g.width, bias=False) for g in kinds)

    def forward(self, code: Tensor) -> Tensor:
        """Return contexts `[B, 4096]`, less their mean, of codes `[B, 256]`."""
        told = self.linear(code) + self.bend(code)
        parts = told.split([count * keep for count, keep in self.shapes], 1)
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
