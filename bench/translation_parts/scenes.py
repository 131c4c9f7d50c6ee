# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Rendered scenes, sentences and trained fusion networks that several figures use."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cache

import numpy as np

from sage_perception.models import load_crop_codec, load_semantic
from sage_perception.models.networks.puzzle.attention import (
    Concatenation,
    CrossModalAttention,
    FusionConfig,
)
from sage_perception.models.registry import resolve
from sage_perception.models.semantic.semantic_text import VOCABULARY
from sage_perception.models.semantic.text_encoder import TextEncoder
from sage_perception.training.puzzle.cues import Phrases, training_phrases
from sage_perception.training.puzzle.examples import TRAINING
from sage_perception.training.puzzle.fit import FitConfig, fit_attention, fit_concatenation
from sage_perception.training.puzzle.scenes import OBJECTS, SceneTokens, read_or_render
from translation_parts.cache import cached_file, kept

TRAIN_SCENES, TEST_SCENES = 1440, 180
TRAIN_SEED, TEST_SEED = 2, 1
STEPS = 1000
MODELS = ('tinyvae', 'semantic_text')
"""The models that encode crops and sentences."""
RENDERING = 'sage_perception.training.puzzle.scenes'
CONDITIONS = {
    'fused': TRAINING,
    'text': replace(TRAINING, text=1.0, gaze=0.0),
    'gaze': replace(TRAINING, text=0.0, gaze=1.0),
}


@cache
def scenes(held_out: bool) -> SceneTokens:
    """Return the scenes of the training, or those of the test."""
    count = TEST_SCENES if held_out else TRAIN_SCENES
    seed = TEST_SEED if held_out else TRAIN_SEED
    path = cached_file(f'scenes_{seed}_{count}.npz', RENDERING, MODELS)
    return read_or_render(path, count, seed, load_crop_codec('tinyvae'), load_semantic())


@cache
def encoder() -> TextEncoder:
    """Return the sentence encoder."""
    return TextEncoder(resolve('semantic_text') / VOCABULARY)


@cache
def sentences() -> tuple[Phrases, Phrases]:
    """Return the clean and the noisy sentences of the training."""
    return training_phrases(encoder(), np.random.default_rng(5))


@cache
def trained(seed: int, kind: str = 'fused') -> CrossModalAttention:
    """Return the fusion network of a seed; `kind` is one of `CONDITIONS`."""
    return kept(
        cached_file(f'{kind}_{seed}.pt', __name__, MODELS),
        CrossModalAttention(FusionConfig()),
        lambda: fit_attention(scenes(False), *sentences(), CONDITIONS[kind], config(seed)),
    )


@cache
def trained_concatenation(seed: int) -> Concatenation:
    """Return the baseline of a seed."""
    return kept(
        cached_file(f'concatenation_{seed}.pt', __name__, MODELS),
        Concatenation(FusionConfig(), OBJECTS),
        lambda: fit_concatenation(scenes(False), *sentences(), TRAINING, config(seed)),
    )


def mean(values: Sequence[float]) -> float:
    """Return the mean of values."""
    return float(np.mean(values))


def config(seed: int) -> FitConfig:
    """Return how the networks of all figures are trained."""
    return FitConfig(steps=STEPS, seed=seed)
