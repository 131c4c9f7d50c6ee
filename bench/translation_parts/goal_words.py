# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Colors in voices that the model of sound was not trained on, with and without given words.

`goal_words` of the audio node are the seven colors, in `with_ball` "ball" too, with a
`min_confidence` of 0.5, as in the part `arm`. `right` is the share of the colors that are
recognized, `published` the share that `min_confidence` lets pass, its default elsewhere, and
`right_of_published` how many of these are right. `others_published` is the share of other words of
the model (ball, box, cube) that pass as a color. The voices are generated: there are no seeds.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from sage_perception.ros.node_parameters.audio import AUDIO
from sage_perception.training.puzzle.sentences import COLORS
from translation_parts.speech import sound_model, utterances

[MIN_CONFIDENCE] = [each.default for each in AUDIO if each.name == 'min_confidence']

LOWER_CONFIDENCE = 0.5


def measure(seeds: Sequence[int]) -> dict[str, object]:
    """Return the figures of all words and of the given ones."""
    uttered = utterances(held_out=True)
    given = sorted(set(uttered.words) & set(COLORS))
    colors = np.isin(uttered.words, given)
    figures: dict[str, object] = {'colors': given, 'recordings': len(colors)}
    for name, words, least in (
        ('all_words', [], MIN_CONFIDENCE),
        ('goal_words', given, MIN_CONFIDENCE),
        ('with_ball', [*given, 'ball'], LOWER_CONFIDENCE),
    ):
        found = sound_model().recognize(uttered.logits, words)
        word, confidence = (np.array(each) for each in zip(*found, strict=True))
        passed = (confidence >= least) & np.isin(word, given)
        right = word == uttered.words
        figures[name] = {
            'right': float(right[colors].mean()),
            'published': float(passed[colors].mean()),
            'right_of_published': float(right[colors & passed].mean()),
            'others_published': float(passed[~colors].mean()),
        }
    return figures
