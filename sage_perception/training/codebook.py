# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Train the residual codebook that quantizes the latents of a model to tokens.

One codebook serves all modalities: latents of another modality, projected to the latent space of
the model (same dimensions, same scale), are an additional source of training latents and then
use the same tokens. Whether a token has the same meaning in two modalities depends on the
projections.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np
import torch
from vector_quantize_pytorch import ResidualVQ

from sage_perception.codecs.codebook import Codebook, write
from sage_perception.core.progress import track
from sage_perception.models import Codec
from sage_perception.training.config import DataConfig
from sage_perception.training.data.mixture import Mixture, mixture
from sage_perception.training.data.stream import CropStream

CODES = 512
BATCH = 4096
"""Latents per step, eight per code."""
STEPS = 120
DECAY = 0.9
"""Decay of the moving averages of the codes, per step."""
DEAD = 2.0
"""Moving average of latents per batch below which a code is replaced."""
KMEANS_LATENTS = 2 * BATCH
HELD_OUT_SHARE = 0.1
"""Share of the latents of other modalities to evaluate on instead of training."""


@dataclass(frozen=True, eq=False)
class CodebookTraining:
    """A trained codebook with the latents it was trained on and those to evaluate it on.

    `sources` and `held_out` are latents `[N, D]` by modality; `crops` are held-out crops by kind,
    uint8 RGB `[N, S, S, 3]`.
    """

    codebook: Codebook
    path: Path
    sources: Mapping[str, np.ndarray]
    crops: Mapping[str, np.ndarray]
    held_out: Mapping[str, np.ndarray] = field(default_factory=dict)


def train_for_model(
    codec: Codec,
    data: DataConfig,
    levels: int = 8,
    crops: int = 96_000,
    others: Mapping[str, np.ndarray] | None = None,
) -> CodebookTraining:
    """Train the codebook of a model on `crops` training crops and write it to the model folder.

    `others` are latents `[N, D]` of other modalities. Raises `ConfigError`, and `ValueError` for
    latents that do not match the model.
    """
    cv2.setNumThreads(1)
    held_out_images = held_out_crops(codec, data, BATCH)
    sources: dict[str, np.ndarray] = {}
    held_out: dict[str, np.ndarray] = {}
    for name, latents in (others or {}).items():
        codec.require_latents(latents)
        shuffled = np.random.default_rng(0).permutation(latents)
        count = max(round(HELD_OUT_SHARE * len(shuffled)), 1)
        sources[name], held_out[name] = shuffled[count:], shuffled[:count]
    sources = {'vision': training_latents(codec, data, crops, seed=1), **sources}
    codebook = train(sources, codec.id.fingerprint, levels, steps=STEPS)
    path = write(codec.artifact.path, codebook)
    return CodebookTraining(codebook, path, sources, held_out_images, held_out)


def train(
    sources: Mapping[str, np.ndarray],
    fingerprint: bytes,
    levels: int = 8,
    codes: int = CODES,
    steps: int = STEPS,
    seed: int = 0,
) -> Codebook:
    """Train one codebook on latents from one or more sources, each float32 `[N, D]`.

    Every source is drawn from equally often, whatever its size. Each level starts with k-means of
    the residuals of the levels before and follows moving averages (van den Oord et al., 2017,
    appendix A). A code that falls out of use is replaced by a latent (SoundStream, Zeghidour et
    al., 2021). Raises `ValueError` for an invalid source.
    """
    if levels < 1 or codes < 2:
        raise ValueError(f'levels is {levels}, codes {codes}: at least 1 and 2')
    latents = check_sources(sources)
    total = sum(map(len, latents))
    if total < codes:
        raise ValueError(f'{total} latents are too few for {codes} codes per level')
    dim = latents[0].shape[1]
    generator = torch.Generator().manual_seed(seed)

    def draw(count: int) -> torch.Tensor:
        share = -(-count // len(latents))
        return torch.cat(
            [z[torch.randint(len(z), (share,), generator=generator)] for z in latents]
        )

    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(seed)
        quantizer = ResidualVQ(
            dim=dim,
            num_quantizers=levels,
            codebook_size=codes,
            kmeans_init=True,
            decay=DECAY,
            threshold_ema_dead_code=DEAD,
            rotation_trick=False,  # there is no encoder that needs gradients
        )
        quantizer.train()
        quantizer(draw(KMEANS_LATENTS))
        for _ in track(range(steps), 'training the codebook'):
            quantizer(draw(BATCH))
        return Codebook(quantizer.codebooks.float().contiguous().numpy(), fingerprint)


def check_sources(sources: Mapping[str, np.ndarray]) -> list[torch.Tensor]:
    """Return the sources as tensors. Raises `ValueError` if their shapes or values are invalid."""
    if not sources:
        raise ValueError('no source of latents: at least one is required to train a codebook')
    dim = next(iter(sources.values())).shape[-1]
    for name, z in sources.items():
        if z.ndim != 2 or z.shape[1] != dim or not len(z) or z.dtype.kind != 'f':
            raise ValueError(
                f'source {name!r}: latents are float32 [N, {dim}], not {z.dtype} {list(z.shape)}'
            )
        if not np.isfinite(z).all():
            raise ValueError(f'source {name!r} has values that are not finite')
    return [torch.from_numpy(np.ascontiguousarray(z, np.float32)) for z in sources.values()]


def training_latents(codec: Codec, data: DataConfig, count: int, seed: int) -> np.ndarray:
    """Return the latents of `count` augmented training crops, float32 `[count, D]`."""
    stream = CropStream(mixture(data, codec.input_size), codec.input_channels, seed, 0, count)
    parts = [
        codec.encode(np.stack([stream[i] for i in range(start, min(start + 64, count))]))
        for start in track(range(0, count, 64), 'encoding crops')
    ]
    return np.concatenate(parts)


def held_out_crops(codec: Codec, data: DataConfig, count: int) -> dict[str, np.ndarray]:
    """Return `count` crops of each kind of held-out files, uint8 RGB `[count, S, S, 3]`."""
    mixed = mixture(data, codec.input_size, held_out=True)
    return {
        type(source).__name__.lower(): Mixture((source,), (1,), mixed.config).sample(count, 0)
        for source in mixed.sources
    }
