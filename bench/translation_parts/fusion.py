# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Which of six rendered objects is meant, from noisy words, crops and the pose of a head.

Words are misspelled, or name the color or the shape alone; the head looks at the object with an
error of 0.08 rad. In `noised` one modality is worse still: `text` has only noisy sentences, `gaze`
an error of 0.16 rad, `crops` noise of 0.6 standard deviations. Single modalities are networks of
their own, trained on this modality alone, under the same noise. `gain` is the fusion's accuracy
minus that of the best single modality, `loss` the single modality's accuracy minus that of the
fusion when the other modality is missing; both in points.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from sage_perception.training.puzzle.examples import Batch, Condition, draw
from sage_perception.training.puzzle.fit import accuracy
from translation_parts.scenes import mean, scenes, sentences, trained

EXAMPLES = 2000
BASE = Condition(text=1.0, gaze=1.0, noisy_text=0.7, gaze_noise=(0.08, 0.08))
NOISED = {
    'none': BASE,
    'text': replace(BASE, noisy_text=1.0),
    'gaze': replace(BASE, gaze_noise=(0.16, 0.16)),
    'crops': replace(BASE, crop_noise=1.2),
}
MISSING = {'text': 0, 'gaze': 2}
"""The modality that is missing, and its place among the cues."""


def measure(seeds: Sequence[int]) -> dict:
    """Return the accuracies under each noise, the gains and the losses."""
    noised, lost = {}, {}
    for name, condition in NOISED.items():
        batch = examples(condition)
        fused = [accuracy(trained(seed), batch) for seed in seeds]
        single = {
            kind: mean([accuracy(trained(seed, kind), without(batch, other)) for seed in seeds])
            for kind, other in (('text', 'gaze'), ('gaze', 'text'))
        }
        noised[name] = {
            'value': mean(fused),
            'seeds': fused,
            'baselines': {'chance': 1 / 6, **single},
            'gain': 100 * (mean(fused) - max(single.values())),
        }
    batch = examples(BASE)
    for other, kind in (('gaze', 'text'), ('text', 'gaze')):
        part = without(batch, other)
        fused = [accuracy(trained(seed), part) for seed in seeds]
        single = mean([accuracy(trained(seed, kind), part) for seed in seeds])
        lost[other] = {
            'value': mean(fused), 'seeds': fused, 'baselines': {kind: single},
            'loss': 100 * (single - mean(fused)),
        }  # fmt: skip
    return {**noised['none'], 'noised': noised, 'missing': lost}


def examples(condition: Condition) -> Batch:
    """Return examples of the test scenes, the same in each run."""
    clean, noisy = sentences()
    return draw(scenes(True), clean, noisy, condition, EXAMPLES, np.random.default_rng(13))


def without(batch: Batch, modality: str) -> Batch:
    """Return examples without a modality."""
    given = batch.given.clone()
    given[:, MISSING[modality]] = 0
    return batch._replace(given=given)
