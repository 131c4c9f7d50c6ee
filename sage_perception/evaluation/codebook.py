# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Evaluate a codebook: use of its codes, and image quality by the number of levels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch

from sage_perception.codecs.codebook import Codebook
from sage_perception.models import Codec
from sage_perception.training.codebook import BATCH, CodebookTraining
from sage_perception.training.data.images import to_model
from sage_perception.training.latents import encode_crops
from sage_perception.training.losses import images as losses

LADDER = (1, 2, 3, 4, 6, 8, 12, 16, 20, 24, 28, 32, 40, 48, 56, 64)
"""Numbers of levels that are reported."""
LOSSES_DB = (1.0, 0.5, 0.1)
"""Losses of PSNR for which the number of levels is reported."""
BEAM = 8
DECODED_CROPS = 512
"""Crops of each kind that are decoded."""


def evaluate_codebook(codec: Codec, training: CodebookTraining) -> dict[str, Any]:
    """Return the figures of a codebook on the training latents and on held-out crops.

    `DECODED_CROPS` crops of each kind are reconstructed.
    """
    codebook = training.codebook
    held_out = {kind: encode_crops(codec, crops) for kind, crops in training.crops.items()}
    decoded = {
        kind: to_model(crops[:DECODED_CROPS], codec.input_channels)
        for kind, crops in training.crops.items()
    }
    sets = {kind: reconstruction(codec, codebook, crops) for kind, crops in decoded.items()}
    return {
        'model': str(codec.id),
        'codebook': codebook.digest.hex(),
        'levels': codebook.depth,
        'codes': codebook.codes,
        'dims': codebook.dim,
        'bits_per_token': codebook.token_bits,
        'usage': {
            'training': usage(codebook, {k: z[: 8 * BATCH] for k, z in training.sources.items()}),
            'held_out': usage(codebook, held_out | dict(training.held_out)),
        },
        'sets': sets,
        'levels_for_loss_db': {
            'nearest': required_levels(sets, 'loss_db'),
            f'beam_{BEAM}': required_levels(sets, 'beam_loss_db'),
        },
    }


def counts(tokens: np.ndarray, codes: int) -> np.ndarray:
    """Return how often the codes of each level occur in tokens `[N, L]`, int `[L, codes]`."""
    return np.stack([np.bincount(column, minlength=codes) for column in tokens.T])


def perplexity(counts: np.ndarray) -> np.ndarray:
    """Return 2 to the entropy of each row of counts `[L, K]`; K for equal counts."""
    p = counts / counts.sum(1, keepdims=True)
    with np.errstate(divide='ignore'):
        logarithm = np.where(p > 0, np.log2(p), 0)
    return 2 ** -(p * logarithm).sum(1)


def usage(codebook: Codebook, sources: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """Return how sources of latents `[N, D]` use the codes.

    `perplexity` of each level by source; `dead_codes` of each level over all sources; `in_common`,
    of the codes of the first level that any source uses, the share that all sources use.
    """
    by_source = {name: counts(codebook.encode(z), codebook.codes) for name, z in sources.items()}
    used = np.stack(list(by_source.values())) > 0  # [sources, L, K]
    anywhere = np.logical_or.reduce(used)
    everywhere = np.logical_and.reduce(used)
    return {
        'perplexity': {
            name: [round(float(v), 1) for v in perplexity(c)] for name, c in by_source.items()
        },
        'dead_codes': [int(v) for v in (~anywhere).sum(1)],
        'in_common': round(float(everywhere[0].sum() / anywhere[0].sum()), 3),
    }


def quality(y: np.ndarray, x: np.ndarray) -> dict[str, float]:
    """Return the means over crops of PSNR (dB) and MS-SSIM of `y` against `x`."""
    a, b = torch.from_numpy(y), torch.from_numpy(x)
    return {
        'psnr': float(losses.psnr(a, b).mean()),
        'ms_ssim': float(losses.ms_ssim(a, b).mean()),
    }


def reconstruction(codec: Codec, codebook: Codebook, x: np.ndarray) -> list[dict[str, Any]]:
    """Return the quality of crops, float32 `[N, C, S, S]`, by the number of levels.

    The first row has 0 levels and is for unquantized latents. Keys that start with `beam_` are for
    a beam search of width `BEAM`, the others for the nearest code of each level.
    """
    z = codec.encode(x)
    unquantized = quality(codec.decode(z), x)
    rows = [
        {
            'levels': 0,
            'bytes': 4 * z.shape[1],
            'latent_mse': 0.0,
            **unquantized,
            'loss_db': 0.0,
        }
    ]
    greedy = codebook.encode(z)
    for n in sorted({*(n for n in LADDER if n < codebook.depth), codebook.depth}):
        row: dict[str, Any] = {'levels': n, 'bytes': -(-n * codebook.token_bits // 8)}
        for prefix, tokens in (
            ('', greedy[:, :n]),
            ('beam_', codebook.encode(z, levels=n, beam=BEAM)),
        ):
            decoded = codebook.decode(tokens)
            figures = quality(codec.decode(decoded), x)
            row |= {
                f'{prefix}latent_mse': float(np.square(decoded - z).mean()),
                f'{prefix}psnr': figures['psnr'],
                f'{prefix}ms_ssim': figures['ms_ssim'],
                f'{prefix}loss_db': unquantized['psnr'] - figures['psnr'],
            }
        rows.append(row)
    return rows


def required_levels(
    sets: Mapping[str, Sequence[Mapping[str, Any]]], key: str
) -> dict[str, dict[str, Any] | None]:
    """Return the fewest levels whose loss `key` stays within each limit on every kind of crops."""
    found = {}
    for limit in LOSSES_DB:
        enough = [
            rows[0]
            for rows in zip(*(rows[1:] for rows in sets.values()), strict=True)
            if all(row[key] <= limit for row in rows)
        ]
        first = enough[0] if enough else None
        found[f'{limit:g}'] = {k: first[k] for k in ('levels', 'bytes')} if first else None
    return found
