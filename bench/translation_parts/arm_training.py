# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Trained policies of the arm, which are kept in files."""

from __future__ import annotations

from functools import cache

import numpy as np

from sage_perception.models import load_crop_codec
from sage_perception.models.codec import Codec
from sage_perception.training.puzzle.cues import Phrases
from translation_parts.arm_policy import ArmPolicy, Examples, draw, fit_policy, render_bank
from translation_parts.arm_world import ArmWorld
from translation_parts.cache import cached_file, kept
from translation_parts.scenes import MODELS, encoder, sentences

POOL, STEPS = 6000, 600
# The training sentences leave out blue spheres, which the scenes of this figure have.
BLUE = ('the blue ball', 'a blue sphere', 'find the blue ball', 'go to the blue sphere')


@cache
def world() -> ArmWorld:
    """Return the simulation of this process."""
    return ArmWorld()


@cache
def codec() -> Codec:
    """Return the model of the crops."""
    return load_crop_codec('tinyvae')


@cache
def training() -> Examples:
    """Return the examples of the training."""
    rng = np.random.default_rng(41)
    bank = render_bank(world(), codec(), rng)
    clean, _ = sentences()
    every = Phrases(
        np.concatenate((clean.embedded, encoder()(list(BLUE)))),
        np.concatenate((clean.labels, np.tile((2, 0), (len(BLUE), 1)))),
    )
    return draw(world(), bank, every, POOL, rng)


@cache
def policy(seed: int, kind: str) -> ArmPolicy:
    """Return a trained policy; `kind` is text, crops (no words) or joints (nothing else)."""
    given = (1, 0, 1) if kind == 'text' else (0, 0, 1)
    return kept(
        cached_file(f'arm_{kind}_{seed}.pt', __name__, MODELS),
        ArmPolicy(),
        lambda: fit_policy(training(), STEPS, seed, given, kind == 'joints'),
    )
