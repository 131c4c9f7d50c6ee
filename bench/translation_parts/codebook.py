# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""One codebook for latents of crops, sentences and words in voices, and what its tokens share.

Each modality is projected to 28 dimensions: seven for the color that an item shows or names, by
ridge regression, and 21 principal components, which are its own. The codebook is trained on all
three (`training.codebook`), three levels of 64 codes. Test items are crops of other scenes,
sentences of other forms, and colors in other voices. `perplexity` is that of the first
level, over all test items and by modality; `in_common` the share of its codes in use that all
modalities use; `color` the accuracy of the color that a first token means, read from a table that
only crops of the training made, and `r2` that of the latents decoded from all tokens by linear
maps. Baselines: `own` has a codebook of the same size for each modality, `components` the shared
codebook without the dimensions of the color.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from typing import NamedTuple

import numpy as np

from sage_perception.audio.words import WORDS
from sage_perception.codecs.codebook import Codebook
from sage_perception.evaluation.codebook import counts, perplexity, usage
from sage_perception.training.codebook import train
from sage_perception.training.puzzle.cues import phrases
from sage_perception.training.puzzle.sentences import COLORS, unseen_sentences
from translation_parts.scenes import encoder, mean, scenes, sentences
from translation_parts.speech import utterances

NAMES = tuple(color for color in COLORS if color in WORDS)
"""The colors that the model of sound has words for: all but cyan."""
COMPONENTS, LEVELS, CODES = 21, 3, 64
COLOR_SCALE, RIDGE = 8.0, 10.0
"""Factor of the dimensions of the color relative to the components, whose deviation is 1."""
PER_SOURCE = 4000


class Items(NamedTuple):
    """Latents `[N, D]` of one modality and their colors `[N]`."""

    latents: np.ndarray
    colors: np.ndarray


class Projection(NamedTuple):
    """Linear maps from latents of a modality to the common space."""

    center: np.ndarray
    to_color: np.ndarray
    to_components: np.ndarray

    def __call__(self, latents: np.ndarray) -> np.ndarray:
        """Return latents in the common space, float32 `[N, 28]`."""
        x = latents - self.center
        color = COLOR_SCALE * (x @ self.to_color)
        return np.concatenate((color, x @ self.to_components), 1).astype(np.float32)


def measure(seeds: Sequence[int]) -> dict:
    """Return the figures of the shared codebook and of the baselines."""
    rows = [figures(seed) for seed in seeds]
    names = list(items(False))
    return {
        'value': mean([row['perplexity'] for row in rows]),
        'seeds': [row['perplexity'] for row in rows],
        'codes': CODES,
        'by_modality': {n: mean([row['by_modality'][n] for row in rows]) for n in names},
        'in_common': mean([row['in_common'] for row in rows]),
        'color': {n: mean([row['color'][n] for row in rows]) for n in names},
        'r2': {n: mean([row['r2'][n] for row in rows]) for n in names},
        'baselines': {
            'chance': 1 / len(NAMES),
            'own_r2': {n: mean([row['own_r2'][n] for row in rows]) for n in names},
            'components_color': {
                n: mean([row['components_color'][n] for row in rows]) for n in names
            },
            'components_in_common': mean([row['components_in_common'] for row in rows]),
        },
    }


def figures(seed: int) -> dict:
    """Return the figures of one training."""
    learned, test = items(False), items(True)
    projections = {name: project(part) for name, part in learned.items()}
    x = {name: projections[name](part.latents) for name, part in learned.items()}
    y = {name: projections[name](part.latents) for name, part in test.items()}
    shared = trained(x, seed)
    alone = {name: trained({name: each}, seed) for name, each in x.items()}
    plain = trained({name: each[:, len(NAMES) :] for name, each in x.items()}, seed)
    plain_x = {name: each[:, len(NAMES) :] for name, each in x.items()}
    plain_y = {name: each[:, len(NAMES) :] for name, each in y.items()}
    found = usage(shared, y)
    first = np.concatenate([shared.encode(each)[:, :1] for each in y.values()])
    return {
        'perplexity': float(perplexity(counts(first, CODES))[0]),
        'by_modality': {name: values[0] for name, values in found['perplexity'].items()},
        'in_common': found['in_common'],
        'color': colors_of(shared, x, y),
        'r2': {name: r2(shared, x[name], y[name], learned[name], test[name]) for name in x},
        'own_r2': {
            name: r2(alone[name], x[name], y[name], learned[name], test[name]) for name in x
        },
        'components_color': colors_of(plain, plain_x, plain_y),
        'components_in_common': usage(plain, plain_y)['in_common'],
    }  # fmt: skip


def trained(sources: Mapping[str, np.ndarray], seed: int) -> Codebook:
    """Return a codebook for sources of one space."""
    return train(sources, bytes(32), LEVELS, CODES, steps=60, seed=seed)


def colors_of(
    codebook: Codebook, learned: Mapping[str, np.ndarray], test: Mapping[str, np.ndarray]
) -> dict[str, float]:
    """Return the accuracy of the color of first tokens, by a table that crops made."""
    tokens = codebook.encode(learned['vision'])[:, 0]
    table = np.zeros((codebook.codes, len(NAMES)))
    np.add.at(table, (tokens, items(False)['vision'].colors), 1)
    # A code that no crop uses has the color of the nearest code that one does.
    known = np.flatnonzero(table.sum(1))
    gaps = ((codebook.levels[0][:, None] - codebook.levels[0][None, known]) ** 2).sum(2)
    color = table[known].argmax(1)[gaps.argmin(1)]
    return {
        name: float((color[codebook.encode(each)[:, 0]] == items(True)[name].colors).mean())
        for name, each in test.items()
    }


def r2(codebook: Codebook, x: np.ndarray, y: np.ndarray, learned: Items, test: Items) -> float:
    """Return the coefficient of determination of test latents decoded from their tokens."""
    center = learned.latents.mean(0)
    coded = codebook.decode(codebook.encode(x))
    offset = coded.mean(0)
    solution, *_ = np.linalg.lstsq(coded - offset, learned.latents - center, rcond=None)
    decoded = (codebook.decode(codebook.encode(y)) - offset) @ solution + center
    error = ((decoded - test.latents) ** 2).sum()
    return float(1 - error / ((test.latents - test.latents.mean(0)) ** 2).sum())


def project(part: Items) -> Projection:
    """Return the maps of a modality, fitted to its training items."""
    center = part.latents.mean(0)
    x = part.latents - center
    wanted = np.eye(len(NAMES))[part.colors] - 1 / len(NAMES)
    gram = x.T @ x + RIDGE * np.trace(x.T @ x) / len(x) / x.shape[1] * np.eye(x.shape[1])
    _, deviations, axes = np.linalg.svd(x, full_matrices=False)
    scale = deviations[:COMPONENTS] / np.sqrt(len(x))
    return Projection(center, np.linalg.solve(gram, x.T @ wanted), axes[:COMPONENTS].T / scale)


@cache
def items(held_out: bool) -> dict[str, Items]:
    """Return the items of each modality, those of the training or those of the test."""
    there = scenes(held_out)
    size = there.appearance.shape[2]
    seen = Items(there.appearance.reshape(-1, size), there.color.ravel())
    text = phrases(*unseen_sentences(), encoder()) if held_out else sentences()[0]
    voiced = utterances(held_out)
    labels = np.array([_color(word) for word in voiced.words])
    return {
        'vision': _named(seen),
        'text': _named(Items(text.embedded, text.labels[:, 0])),
        'audio': _named(Items(voiced.latents, labels)),
    }


def _color(word: str) -> int:
    return COLORS.index(word) if word in COLORS else -1


def _named(part: Items) -> Items:
    """Return the items that have one of `NAMES`, with its index."""
    number = {COLORS.index(name): i for i, name in enumerate(NAMES)}
    chosen = [i for i, color in enumerate(part.colors) if int(color) in number][:PER_SOURCE]
    colors = np.array([number[int(part.colors[i])] for i in chosen])
    return Items(part.latents[chosen].astype(np.float64), colors)
