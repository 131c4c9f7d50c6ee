# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Initialization of compressors from the principal components of contexts."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TypeVar

import numpy as np
import scipy.linalg
import torch
from torch import Tensor, nn

from sage_perception.models.networks.h_to_l.attention import AttentionDecoder, AttentionEncoder
from sage_perception.models.networks.h_to_l.bottleneck import BottleneckDecoder, BottleneckEncoder
from sage_perception.models.networks.h_to_l.config import Group, HToLConfig
from sage_perception.models.networks.h_to_l.hierarchical import (
    HierarchicalDecoder,
    HierarchicalEncoder,
)
from sage_perception.models.networks.h_to_l.hybrid import HybridDecoder, HybridEncoder
from sage_perception.models.networks.h_to_l.layers import ResidualMLP
from sage_perception.models.networks.h_to_l.linear import LinearDecoder, LinearEncoder
from sage_perception.models.networks.h_to_l.model import HToLCompressor
from sage_perception.models.networks.h_to_l.tokens import Tokens

M = TypeVar('M', bound=nn.Module)

SHRINKAGE = 0.8
"""Weight of the shrinkage target in which tokens of a kind share their statistics."""
PRIOR = 50.0
"""Observations that the mean of a kind of tokens counts as, in the mean of each token."""


@torch.no_grad()
def init_from_contexts(
    model: HToLCompressor,
    values: Tensor,
    mask: Tensor,
    weights: Tensor | None = None,
    shrinkage: float = SHRINKAGE,
) -> None:
    """Initialize a compressor from the principal components of contexts `[N, 4096]`, in place.

    `weights` `[4096]` are the weights of the squared errors, 1 by default. `shrinkage` in [0, 1]
    applies to the hierarchical and hybrid variants: see `shrunk_covariance`. Codes share one
    scale, such that their mean variance is 1 and distances between codes are proportional to
    distances between contexts. Raises `ValueError` if `hidden` of the bottleneck variant is less
    than twice the code.
    """
    encoder, config = model.encoder, model.config
    encoder.mean.copy_(known_mean(values, mask, config))
    units = (torch.ones(config.input_dim) if weights is None else weights).sqrt()
    x = encoder.centered(values, mask) * units
    if isinstance(encoder, (HierarchicalEncoder, HybridEncoder)):
        projected = _init_token_projections(model, x, mask, units)
        kinds = list(config.kinds.values())
        present = encoder.tokens.present(mask)
        covariance = shrunk_covariance(projected, present, kinds, shrinkage)
        observed = torch.cat([rows.flatten(1) for rows in projected], 1)
        init = _init_hybrid if isinstance(encoder, HybridEncoder) else _init_hierarchical
        init(model, observed, covariance)
        return
    components = leading_directions(x.T @ x, config.code_dim)
    scale = 1 / (x @ components).var(0).mean().sqrt()
    encode, decode = components.T * units * scale, components / units[:, None] / scale
    if config.variant == 'bottleneck':
        _init_bottleneck(model, encode, decode)
    else:
        _init_matrices(model, encode, decode)


def known_mean(values: Tensor, mask: Tensor, config: HToLConfig) -> Tensor:
    """Return the mean `[4096]` of the known values of contexts `[N, 4096]`.

    The mean of a token dimension is shrunk towards the mean of its kind, which counts as
    `PRIOR` observations.
    """
    total, count = (values * mask).sum(0), mask.sum(0)
    mean = torch.zeros_like(total)
    for group in config.kinds.values():
        indices = torch.from_numpy(group.indices)
        shared = total[indices].sum(0) / count[indices].sum(0).clamp_min(1)
        mean[indices] = (total[indices] + PRIOR * shared) / (count[indices] + PRIOR)
    return mean


def token_components(x: Tensor, mask: Tensor, tokens: Tokens) -> list[Tensor]:
    """Return the principal directions `[width, width]` of each kind of tokens, best first."""
    found = []
    for rows, known in zip(tokens.split(x), tokens.split(mask), strict=True):
        present = rows[known.amax(2) > 0]
        found.append(leading_directions(present.T @ present, rows.shape[2]))
    return found


def leading_directions(covariance: Tensor, count: int) -> Tensor:
    """Return the `count` principal directions `[D, count]` of a covariance `[D, D]`, best first.

    Columns beyond the number of dimensions with variance are 0.
    """
    varies = torch.nonzero(covariance.diagonal() > 0)[:, 0]  # skip constant dimensions for speed
    size = len(varies)
    _, vectors = scipy.linalg.eigh(
        covariance[varies][:, varies].double().numpy(),
        subset_by_index=[max(size - count, 0), size - 1],
    )
    directions = torch.zeros(len(covariance), count)
    directions[varies, : vectors.shape[1]] = torch.from_numpy(vectors[:, ::-1].astype(np.float32))
    return directions


def shrunk_covariance(
    projected: Sequence[Tensor], present: Tensor, kinds: Sequence[Group], shrinkage: float
) -> Tensor:
    """Return the covariance of all tokens, shrunk towards a target with exchangeable tokens.

    `projected` are tokens `[N, count, keep]` by kind, `present` `[N, T]` is 1 for tokens that
    are present. In the target, which has the weight `shrinkage`, all tokens of a kind share one
    covariance, and all pairs of them share one cross-covariance. A few clips are not enough to
    estimate them for each of 24 object positions separately.
    """
    observed = torch.cat([rows.flatten(1) for rows in projected], 1)
    covariance = observed.T @ observed / len(observed)
    begin = token = 0
    for rows, group in zip(projected, kinds, strict=True):
        known = present[:, token : token + group.count]
        share = known.T @ known / len(rows)  # of contexts in which both positions are taken
        flat, total = rows.flatten(0, 1), rows.sum(1)
        own = flat.T @ flat
        pairs = share.sum() - share.trace()
        within = own / (share.trace() * len(rows)).clamp_min(1)
        between = (total.T @ total - own) / (pairs * len(rows)).clamp_min(1)
        same = torch.eye(group.count)
        target = torch.kron(share * (1 - same), between) + torch.kron(share * same, within)
        block = slice(begin, begin + group.count * group.keep)
        covariance[block, block] += shrinkage * (target - covariance[block, block])
        begin, token = block.stop, token + group.count
    return covariance


def _init_matrices(model: HToLCompressor, encode: Tensor, decode: Tensor) -> None:
    """Set the matrix `[256, 4096]` of the encoder and the matrix `[4096, 256]` of the decoder."""
    encoder, decoder = model.encoder, model.decoder
    if isinstance(encoder, LinearEncoder) and isinstance(decoder, LinearDecoder):
        encoder.code.weight.copy_(encode)
        decoder.decode.weight.copy_(decode)
    elif isinstance(encoder, AttentionEncoder) and isinstance(decoder, AttentionDecoder):
        encoder.direct.weight.copy_(encode)
        decoder.direct.weight.copy_(decode)


def _init_bottleneck(model: HToLCompressor, encode: Tensor, decode: Tensor) -> None:
    """Make the layers compute two matrices, using SiLU(a) - SiLU(-a) = a."""
    encoder, decoder = model.encoder, model.decoder
    assert isinstance(encoder, BottleneckEncoder)
    assert isinstance(decoder, BottleneckDecoder)
    size, hidden = model.config.code_dim, model.config.hidden
    if hidden < 2 * size:
        raise ValueError(
            f'hidden is {hidden}; it must be at least {2 * size} to initialize a code of {size}'
        )
    one = torch.eye(size)
    split, unite = torch.cat((one, -one)), torch.cat((one, -one), 1)
    layers = [*_of_type(encoder.layers, nn.Linear), encoder.code]
    layers += _of_type(decoder.layers, nn.Linear)
    weights = (split @ encode, split @ unite, unite, split, split @ unite, decode @ unite)
    for layer, weight in zip(layers, weights, strict=True):
        rows, columns = weight.shape
        layer.weight[:rows] = 0
        layer.weight[:rows, :columns] = weight
        layer.bias[:rows] = 0


def _init_token_projections(
    model: HToLCompressor, x: Tensor, mask: Tensor, units: Tensor
) -> list[Tensor]:
    """Set the down and up projections of tokens; return the projected tokens of `x` by kind."""
    encoder, decoder = model.encoder, model.decoder
    assert isinstance(encoder, (HierarchicalEncoder, HybridEncoder))
    assert isinstance(decoder, (HierarchicalDecoder, HybridDecoder))
    tokens, projected = encoder.tokens, []
    for down, up, components, rows, unit in zip(
        _of_type(encoder.down_proj, nn.Linear),
        _of_type(decoder.up_proj, nn.Linear),
        token_components(x, mask, tokens),
        tokens.split(x),
        tokens.split(units[None]),
        strict=True,
    ):
        kept, scale = components[:, : down.out_features], unit[0, 0]
        down.weight.copy_(kept.T * scale)
        up.weight.copy_(kept / scale[:, None])
        projected.append(rows @ kept)
    return projected


def _init_hierarchical(model: HToLCompressor, observed: Tensor, covariance: Tensor) -> None:
    encoder, decoder = model.encoder, model.decoder
    assert isinstance(encoder, HierarchicalEncoder)
    assert isinstance(decoder, HierarchicalDecoder)
    kinds = model.config.kinds.values()
    sizes = [group.count * group.keep for group in kinds]
    blocks = [slice(end - size, end) for end, size in zip(np.cumsum(sizes), sizes, strict=True)]
    found = [
        leading_directions(covariance[block, block], group.rate)
        for block, group in zip(blocks, kinds, strict=True)
    ]
    codes = [observed[:, block] @ own for block, own in zip(blocks, found, strict=True)]
    scale = 1 / torch.cat(codes, 1).var(0).mean().sqrt()
    for encode, decode, own in zip(
        _of_type(encoder.code, ResidualMLP),
        _of_type(decoder.decode, ResidualMLP),
        found,
        strict=True,
    ):
        encode.direct.weight.copy_(own.T * scale)
        decode.direct.weight.copy_(own / scale)


def _init_hybrid(model: HToLCompressor, observed: Tensor, covariance: Tensor) -> None:
    encoder, decoder = model.encoder, model.decoder
    assert isinstance(encoder, HybridEncoder)
    assert isinstance(decoder, HybridDecoder)
    components = leading_directions(covariance, model.config.code_dim)
    scale = 1 / (observed @ components).var(0).mean().sqrt()
    encoder.components.copy_(components * scale)
    encoder.scale_squared.copy_(scale**2)
    decoder.decode.direct.weight.copy_(components / scale)


def _of_type(modules: Iterable[nn.Module], kind: type[M]) -> list[M]:
    return [module for module in modules if isinstance(module, kind)]
