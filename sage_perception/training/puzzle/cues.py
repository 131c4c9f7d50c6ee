# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Cues that refer to an object of a scene: sentences, and the pose of a head that looks at it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from sage_perception.puzzle.joints import Joint
from sage_perception.puzzle.proprioception import BodyState, ProprioceptionSpace
from sage_perception.puzzle.tokens import turn_towards
from sage_perception.training.data.objects.rendered import FOCAL
from sage_perception.training.puzzle.sentences import (
    COLORS,
    SHAPES,
    misspelled,
    partial_sentences,
    training_sentences,
)

Rng = np.random.Generator
Embed = Callable[[Sequence[str]], np.ndarray]
FIELD_OF_VIEW = (2 * float(np.arctan(1 / FOCAL)),) * 2
"""Of the camera of the rendered scenes, radians."""
HEAD = ProprioceptionSpace((Joint('head_pan', -1.5, 1.5, 2.0), Joint('head_tilt', -0.7, 0.7, 2.0)))
"""The body of the training: a head with the default joints of the proprioception node."""
MISSPELLED = 3


@dataclass(frozen=True, eq=False)
class Phrases:
    """Embedded sentences, float32 `[N, 384]`, and their color and shape, int `[N, 2]` (−1: any).

    `rows` has the indices of the sentences for each color and shape.
    """

    embedded: np.ndarray
    labels: np.ndarray

    def __post_init__(self) -> None:
        rows = {
            (color, shape): np.flatnonzero(
                np.isin(self.labels[:, 0], (color, -1)) & np.isin(self.labels[:, 1], (shape, -1))
            )
            for color in range(len(COLORS))
            for shape in range(len(SHAPES))
        }
        object.__setattr__(self, 'rows', rows)

    def has(self, color: int, shape: int) -> bool:
        """Return whether there is a sentence about a color and a shape."""
        return bool(len(self.rows[color, shape]))  # type: ignore[attr-defined]

    def draw(self, color: int, shape: int, rng: Rng) -> np.ndarray:
        """Return a random embedded sentence about a color and a shape, `[384]`."""
        return self.embedded[rng.choice(self.rows[color, shape])]  # type: ignore[attr-defined]


def phrases(texts: Sequence[str], labels: np.ndarray, embed: Embed) -> Phrases:
    """Return sentences with their embeddings."""
    return Phrases(embed(texts), labels)


def training_phrases(embed: Embed, rng: Rng) -> tuple[Phrases, Phrases]:
    """Return clean sentences, and noisy ones: misspelled, or with the color or the noun alone."""
    texts, labels = training_sentences()
    chosen = rng.choice(len(texts), len(texts) // 2, replace=False)
    wrong = [misspelled(texts[i], rng, int(rng.integers(1, MISSPELLED + 1))) for i in chosen]
    part, part_labels = partial_sentences()
    noisy = phrases([*wrong, *part], np.concatenate((labels[chosen], part_labels)), embed)
    return phrases(texts, labels, embed), noisy


def gaze(position: np.ndarray, noise_rad: float, rng: Rng) -> np.ndarray:
    """Return the latent of a head that looks at a position of the image, float32 `[32]`.

    The head stands where the camera is; each angle has an error of `noise_rad`.
    """
    angles = np.array(turn_towards(position, FIELD_OF_VIEW)) + rng.normal(0, noise_rad, 2)
    zeros = np.zeros(2)
    return HEAD.encode(BodyState(angles, zeros, zeros)).mean
