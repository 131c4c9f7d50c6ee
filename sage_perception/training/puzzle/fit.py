# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Training of the fusion network and of its baseline, and the calibration of its trust."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, mse_loss, one_hot

from sage_perception.models.networks.puzzle.attention import (
    Concatenation,
    CrossModalAttention,
    FusionConfig,
)
from sage_perception.training.in_memory import train
from sage_perception.training.puzzle.cues import Phrases
from sage_perception.training.puzzle.examples import TRAINING, Batch, Condition, draw
from sage_perception.training.puzzle.scenes import OBJECTS, SceneTokens

TEXT_NOISE = 0.015
"""Standard deviation of the noise of text embeddings, whose length is 1, per dimension."""
CUE_WEIGHT = 1.0
"""Weight of the choice by each cue alone against the choice by all, so that a fusion network
does not depend on cues that may be missing."""
DECODED_WEIGHT = 0.2
"""Weight of the decoding of the fused latent against the choice of the object."""


@dataclass(frozen=True)
class FitConfig:
    """How to train: AdamW with a cosine decay; one pool of examples serves several epochs."""

    steps: int = 1500
    batch: int = 256
    pool: int = 40_000
    learning_rate: float = 1.5e-3
    weight_decay: float = 0.02
    seed: int = 1


def fit_attention(
    scenes: SceneTokens,
    clean: Phrases,
    noisy: Phrases | None,
    condition: Condition = TRAINING,
    config: FitConfig | None = None,
) -> CrossModalAttention:
    """Return a trained fusion network."""
    config = config or FitConfig()
    torch.manual_seed(config.seed)
    model = CrossModalAttention(FusionConfig())
    _standardize(model.token_mean, model.token_std, scenes)

    def loss(batch: Batch) -> Tensor:
        fused, logits, by_cue = model(*blurred(batch)[:4])
        token, body = model.decode(fused)
        meant = batch.objects[torch.arange(len(token)), batch.target]
        decoded = mse_loss((token - meant) / model.token_std, torch.zeros_like(token))
        has_body = batch.given[:, 2:]
        decoded = decoded + (((body - batch.cues[2]) * has_body) ** 2).mean() * 10
        right = one_hot(batch.target, by_cue.shape[2])
        alone = CUE_WEIGHT * cue_loss(by_cue, right, batch.given)
        return cross_entropy(logits, batch.target) + alone + DECODED_WEIGHT * decoded

    pool = draw(scenes, clean, noisy, condition, config.pool, np.random.default_rng(config.seed))
    model.standardize(pool.cues, pool.given)
    fit_pool(model, lambda rows: loss(select(pool, rows)), len(pool.target), config)
    return model


def cue_loss(by_cue: Tensor, right: Tensor, given: Tensor) -> Tensor:
    """Return the mean cross entropy of each cue alone, where another one is given too.

    With one cue, the choice by all is the choice by this one. `by_cue` are the logits of the cues,
    `[B, C, N]`, `right` is 1 for the tokens that show the object meant, `[B, N]`, and `given` has
    the trusts of the cues, `[B, C]`.
    """
    chosen = by_cue.log_softmax(2).masked_fill(right[:, None] < 0.5, -1e4).logsumexp(2)
    present = (given > 0).float()
    several = present * (present.sum(1, keepdim=True) > 1)
    return -(chosen * several).sum() / len(given)


def fit_concatenation(
    scenes: SceneTokens,
    clean: Phrases,
    noisy: Phrases | None,
    condition: Condition = TRAINING,
    config: FitConfig | None = None,
) -> Concatenation:
    """Return a trained baseline."""
    config = config or FitConfig()
    torch.manual_seed(config.seed)
    model = Concatenation(FusionConfig(), OBJECTS)
    _standardize(model.token_mean, model.token_std, scenes)
    pool = draw(scenes, clean, noisy, condition, config.pool, np.random.default_rng(config.seed))

    def loss(batch: Batch) -> Tensor:
        logits = model(*blurred(batch)[:4]).masked_fill(batch.present < 0.5, -1e4)
        return cross_entropy(logits, batch.target)

    fit_pool(model, lambda rows: loss(select(pool, rows)), len(pool.target), config)
    return model


def fit_pool(
    model: nn.Module, loss: Callable[[Tensor], Tensor], count: int, config: FitConfig
) -> None:
    """Train what requires gradients in a network; `loss` and `count` are those of `train`."""
    model.train()
    train(
        (parameter for parameter in model.parameters() if parameter.requires_grad), loss, count,
        steps=config.steps, batch=config.batch, learning_rate=config.learning_rate,
        weight_decay=config.weight_decay, seed=config.seed,
    )  # fmt: skip
    model.eval()


@torch.inference_mode()
def logits_of(model: CrossModalAttention | Concatenation, batch: Batch) -> Tensor:
    """Return the logits of the objects `[B, N]`; those of absent ones are about −10⁴."""
    if isinstance(model, CrossModalAttention):
        logits: Tensor = model(*batch[:4]).logits
        return logits
    return model(*batch[:4]).masked_fill(batch.present < 0.5, -1e4)


def accuracy(model: CrossModalAttention | Concatenation, batch: Batch) -> float:
    """Return the share of examples whose object has the highest logit."""
    return float((logits_of(model, batch).argmax(1) == batch.target).float().mean())


def fit_temperature(logits: Tensor, target: Tensor) -> float:
    """Return the temperature that maximizes the likelihood of targets (Guo et al., 2017)."""
    temperatures = torch.logspace(-0.7, 0.7, 141)
    costs = [float(cross_entropy(logits / t, target)) for t in temperatures]
    return float(temperatures[int(np.argmin(costs))])


def _standardize(mean: Tensor, std: Tensor, scenes: SceneTokens) -> None:
    tokens = torch.from_numpy(scenes.tokens).flatten(0, 1)
    mean.copy_(tokens.mean(0))
    std.copy_(tokens.std(0).clamp(min=1e-3))


def blurred(batch: Batch) -> Batch:
    """Return examples with noise on their text embeddings, so that near sentences are alike."""
    text = batch.cues[0]
    noisy = (text + TEXT_NOISE * torch.randn_like(text)) * batch.given[:, :1]
    return batch._replace(cues=(noisy, *batch.cues[1:]))


def select(batch: Batch, rows: Tensor) -> Batch:
    """Return the examples of a batch with the indices `rows`."""
    return Batch(
        batch.objects[rows],
        batch.present[rows],
        tuple(cue[rows] for cue in batch.cues),
        batch.given[rows],
        batch.target[rows],
        batch.scene[rows],
    )
