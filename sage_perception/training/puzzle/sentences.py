# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Sentences about objects of rendered scenes, with those that training leaves out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

Rng = np.random.Generator

COLORS = ('gray', 'red', 'blue', 'green', 'brown', 'purple', 'cyan', 'yellow')
SHAPES = ('sphere', 'cylinder', 'cube')
NOUNS = {
    'sphere': ('sphere', 'ball'),
    'cylinder': ('cylinder', 'can'),
    'cube': ('cube', 'box'),
}
UNSEEN_NOUNS = {'sphere': ('orb', 'globe'), 'cylinder': ('drum',), 'cube': ('block', 'dice')}
UNSEEN_COLORS = {
    'red': ('crimson', 'scarlet'), 'blue': ('navy', 'azure'), 'purple': ('violet',),
    'cyan': ('turquoise', 'aqua'), 'yellow': ('golden',), 'gray': ('silver', 'grey'),
}  # fmt: skip
TEMPLATES = (
    'the {}', 'a {}', 'look at the {}', 'find the {}', 'where is the {}?', 'show me the {}',
    'pick up the {}', 'go to the {}', 'this is a {}', 'please watch the {}', 'I want the {}',
    'the {} on the floor', 'can you see the {}?', 'focus on the {}', '{}', 'touch the {}',
)  # fmt: skip
UNSEEN_TEMPLATES = (
    'could you turn your head towards the {}', 'bring me that {} over there',
    'what I mean is the {}', 'keep an eye on the {}', 'reach for the {} now',
    'point your camera at the {}', 'do not lose sight of the {}', 'hand over the {}, please',
)  # fmt: skip
UNSEEN_PAIRS = (('red', 'cube'), ('blue', 'sphere'), ('green', 'cylinder'), ('yellow', 'cube'))
"""Colors and shapes that no sentence of the training combines."""


def training_sentences() -> tuple[list[str], np.ndarray]:
    """Return all sentences of the training, and int `[N, 2]`: color and shape of each."""
    return _combined(TEMPLATES, {}, NOUNS, [p for p in _pairs() if p not in UNSEEN_PAIRS])


def unseen_sentences() -> tuple[list[str], np.ndarray]:
    """Return sentences in forms that are not in the training, about all pairs, as above."""
    return _combined(UNSEEN_TEMPLATES, {}, NOUNS, _pairs())


def unseen_words() -> tuple[list[str], np.ndarray]:
    """Return sentences whose form, color word and noun are not in the training, as above."""
    pairs = [pair for pair in _pairs() if pair[0] in UNSEEN_COLORS]
    return _combined(UNSEEN_TEMPLATES, UNSEEN_COLORS, UNSEEN_NOUNS, pairs)


def partial_sentences() -> tuple[list[str], np.ndarray]:
    """Return sentences with the color or the noun alone; the missing one is −1."""
    texts, labels = [], []
    for template in TEMPLATES:
        for i, color in enumerate(COLORS):
            texts.append(template.format(f'{color} thing'))
            labels.append((i, -1))
        for i, shape in enumerate(SHAPES):
            for noun in NOUNS[shape]:
                texts.append(template.format(noun))
                labels.append((-1, i))
    return texts, np.array(labels)


def misspelled(text: str, rng: Rng, edits: int = 2) -> str:
    """Return a text with random letters dropped, doubled, exchanged or replaced."""
    letters = list(text)
    for _ in range(edits):
        if len(letters) < 3:
            break
        i = int(rng.integers(len(letters) - 1))
        kind = rng.integers(4)
        if kind == 0:
            del letters[i]
        elif kind == 1:
            letters.insert(i, letters[i])
        elif kind == 2:
            letters[i], letters[i + 1] = letters[i + 1], letters[i]
        else:
            letters[i] = chr(ord('a') + int(rng.integers(26)))
    return ''.join(letters)


def _pairs() -> list[tuple[str, str]]:
    return [(color, shape) for color in COLORS for shape in SHAPES]


def _combined(
    templates: Sequence[str],
    color_words: Mapping[str, Sequence[str]],
    nouns: Mapping[str, Sequence[str]],
    pairs: Sequence[tuple[str, str]],
) -> tuple[list[str], np.ndarray]:
    texts, labels = [], []
    for template in templates:
        for color, shape in pairs:
            for word in color_words.get(color, (color,)):
                for noun in nouns[shape]:
                    texts.append(template.format(f'{word} {noun}'))
                    labels.append((COLORS.index(color), SHAPES.index(shape)))
    return texts, np.array(labels)
