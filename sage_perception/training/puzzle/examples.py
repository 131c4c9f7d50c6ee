# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Batches of scenes with cues that refer to one of their objects, with noise and absent cues."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from sage_perception.models.networks.puzzle.attention import FusionConfig
from sage_perception.training.puzzle.cues import Phrases, Rng, gaze
from sage_perception.training.puzzle.scenes import OBJECTS, SceneTokens

TEXT, AUDIO, PROPRIOCEPTION = range(3)
TEXT_DIM, AUDIO_DIM, PROPRIOCEPTION_DIM = FusionConfig().cue_dims


class Batch(NamedTuple):
    """Inputs of the networks, the index of the object meant, and that of the scene, `[B]`."""

    objects: Tensor
    present: Tensor
    cues: tuple[Tensor, ...]
    given: Tensor
    target: Tensor
    scene: Tensor


@dataclass(frozen=True)
class Condition:
    """How examples are drawn.

    Attributes:
        text, gaze: probability that the cue is given; an example has at least one of the two.
        noisy_text: probability that a given sentence is a noisy one.
        gaze_noise: smallest and largest error of the head, radians; drawn on a logarithmic scale.
        crop_noise: largest standard deviation of the noise of latents and codes, relative to that
            of the tokens; drawn uniformly for each scene.
        no_codes: probability that the crops have no semantic codes; they are then the mean code.
        objects: smallest and largest number of objects, with the one meant.
    """

    text: float = 1.0
    gaze: float = 0.0
    noisy_text: float = 0.0
    gaze_noise: tuple[float, float] = (0.08, 0.08)
    crop_noise: float = 0.0
    no_codes: float = 0.0
    objects: tuple[int, int] = (OBJECTS, OBJECTS)


TRAINING = Condition(0.65, 0.65, 0.4, (0.03, 0.3), 0.8, 0.3, (2, OBJECTS))


def draw(
    scenes: SceneTokens,
    clean: Phrases,
    noisy: Phrases | None,
    condition: Condition,
    count: int,
    rng: Rng,
) -> Batch:
    """Return `count` examples; the object meant is one that `clean` has a sentence about."""
    tokens = scenes.tokens
    std = tokens.std((0, 1))
    mean = tokens.mean((0, 1))
    codes = slice(
        scenes.appearance.shape[2], scenes.appearance.shape[2] + scenes.semantic.shape[2]
    )
    std[codes.stop :] = 0
    objects = np.empty((count, OBJECTS, tokens.shape[2]), np.float32)
    present = np.zeros((count, OBJECTS), np.float32)
    text = np.zeros((count, TEXT_DIM), np.float32)
    head = np.zeros((count, PROPRIOCEPTION_DIM), np.float32)
    given = np.zeros((count, 3), np.float32)
    target, source = np.empty((2, count), np.int64)
    logs = np.log(condition.gaze_noise)
    for row in range(count):
        scene, meant, label = _meant(scenes, clean, rng)
        noise = rng.uniform(0, condition.crop_noise)
        objects[row] = tokens[scene] + noise * std * rng.standard_normal(tokens.shape[1:])
        if rng.random() < condition.no_codes:
            objects[row, :, codes] = mean[codes]
        others = rng.permutation(np.delete(np.arange(OBJECTS), meant))
        number = int(rng.integers(condition.objects[0], condition.objects[1] + 1))
        present[row, [meant, *others[: number - 1]]] = 1
        target[row], source[row] = meant, scene
        with_text, with_gaze = rng.random() < condition.text, rng.random() < condition.gaze
        if not with_text and not with_gaze:
            with_text, with_gaze = (
                condition.text >= condition.gaze,
                condition.gaze > condition.text,
            )
        if with_text:
            bad = noisy is not None and rng.random() < condition.noisy_text
            phrases = noisy if bad and noisy is not None and noisy.has(*label) else clean
            text[row], given[row, TEXT] = phrases.draw(*label, rng), 1
        if with_gaze:
            error = float(np.exp(rng.uniform(*logs)))
            head[row] = gaze(scenes.position[scene, meant], error, rng)
            given[row, PROPRIOCEPTION] = 1
    audio = np.zeros((count, AUDIO_DIM), np.float32)
    return Batch(
        torch.from_numpy(objects),
        torch.from_numpy(present),
        tuple(map(torch.from_numpy, (text, audio, head))),
        torch.from_numpy(given),
        torch.from_numpy(target),
        torch.from_numpy(source),
    )


def _meant(scenes: SceneTokens, clean: Phrases, rng: Rng) -> tuple[int, int, tuple[int, int]]:
    """Return a random scene, an object in it that a sentence is about, and its color and shape."""
    while True:
        scene, meant = int(rng.integers(len(scenes))), int(rng.integers(OBJECTS))
        label = int(scenes.color[scene, meant]), int(scenes.shape[scene, meant])
        if clean.has(*label):
            return scene, meant, label
