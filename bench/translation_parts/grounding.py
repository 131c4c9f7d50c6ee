# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""The right one of two or six crops for an unseen sentence.

Scenes are rendered (spheres, cylinders and cubes of eight colors); none of the test is in the
training. Forms of sentences are not in the training either; `unseen_pairs` are the combinations of
color and shape that no sentence of the training has, `unseen_words` have other color words and
nouns too; `without_codes` has no semantic codes of the crops. `concatenation` is a network of the
same examples with all tokens in one vector; `nearest` chooses the crop whose semantic code is the
nearest to that of the sentence, without training.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch

from sage_perception.models import load_semantic
from sage_perception.training.puzzle.cues import Phrases, phrases
from sage_perception.training.puzzle.examples import Batch, Condition, draw
from sage_perception.training.puzzle.fit import accuracy
from sage_perception.training.puzzle.sentences import (
    COLORS,
    SHAPES,
    UNSEEN_PAIRS,
    unseen_sentences,
    unseen_words,
)
from translation_parts.scenes import encoder, mean, scenes, trained, trained_concatenation

EXAMPLES = 2000


def measure(seeds: Sequence[int]) -> dict:
    """Return the figures `of2` and `of6`, each with its baselines."""
    texts, labels = unseen_sentences()
    unseen = phrases(texts, labels, encoder())
    pairs = {(COLORS.index(color), SHAPES.index(shape)) for color, shape in UNSEEN_PAIRS}
    new = np.array([tuple(label) in pairs for label in labels])
    words = phrases(*unseen_words(), encoder())
    figures = {}
    for count in (2, 6):
        condition = Condition(objects=(count, count))
        batch = examples(unseen, condition)
        ours = [accuracy(trained(seed), batch) for seed in seeds]
        figures[f'of{count}'] = {
            'value': mean(ours),
            'seeds': ours,
            'baselines': {
                'chance': 1 / count,
                'concatenation': mean([accuracy(trained_concatenation(s), batch) for s in seeds]),
                'nearest': nearest(texts, labels, condition),
            },
            'unseen_pairs': over_seeds(seeds, examples(part(unseen, new), condition)),
            'without_codes': over_seeds(seeds, examples(unseen, replace(condition, no_codes=1.0))),
            'unseen_words': over_seeds(seeds, examples(words, condition)),
        }
    return figures


def examples(sentences: Phrases, condition: Condition) -> Batch:
    """Return examples of the test scenes, the same in each run."""
    return draw(scenes(True), sentences, None, condition, EXAMPLES, np.random.default_rng(11))


def part(sentences: Phrases, mask: np.ndarray) -> Phrases:
    """Return some of the sentences."""
    return Phrases(sentences.embedded[mask], sentences.labels[mask])


def over_seeds(seeds: Sequence[int], batch: Batch) -> float:
    """Return the mean accuracy of the networks of all seeds."""
    return mean([accuracy(trained(seed), batch) for seed in seeds])


def nearest(texts: Sequence[str], labels: np.ndarray, condition: Condition) -> float:
    """Return the accuracy of the nearest semantic code."""
    codes = load_semantic().text(list(texts))
    padded = np.zeros((len(codes), 384), np.float32)
    padded[:, : codes.shape[1]] = codes
    batch = examples(Phrases(padded, labels), condition)
    scores = torch.einsum('bnd,bd->bn', batch.objects[..., 64:128], batch.cues[0][:, :64])
    found = scores.masked_fill(batch.present < 0.5, -1e4).argmax(1)
    return float((found == batch.target).float().mean())
