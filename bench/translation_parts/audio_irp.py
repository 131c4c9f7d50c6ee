# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""What the refinement of sounds gains: the right word among all, and R², by the time of a sound.

Recordings of persons, and generated words in voices, that the shipped model was not trained on.
0 ms is the model alone. There are no seeds.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from sage_perception.audio.mel import log_mel
from sage_perception.audio.words import DIGITS, WORDS
from sage_perception.irp.audio import AudioIRP
from sage_perception.training.data.speech.voices import synthesize
from translation_parts.fsdd import load
from translation_parts.speech import unseen_voices

BUDGETS_MS = (10, 50)
RECORDINGS = 300


def measure(seeds: Sequence[int]) -> dict[str, object]:
    """Return the figures of recordings and of generated words."""
    digits = load()
    chosen = np.random.default_rng(0).choice(len(digits.digit), RECORDINGS, replace=False)
    uttered = [(voice, word) for voice in unseen_voices() for word in WORDS[::2]]
    generated = np.stack([log_mel(synthesize(voice, word)) for voice, word in uttered])[:, None]
    recorded_words = [DIGITS[digit] for digit in digits.digit[chosen]]
    return {
        'recorded': gains(digits.mel[chosen], recorded_words),
        'generated': gains(generated, [word for _, word in uttered]),
    }


def gains(mel: np.ndarray, words: Sequence[str]) -> dict[str, dict[str, float]]:
    """Return the share of right words and R² for each budget."""
    plugin = AudioIRP()
    model, figures = plugin.model, {}
    outputs = plugin.output(plugin.init_state(mel))
    plugin.refine(mel[:32])  # so that the time of a step is known
    for budget in (0, *BUDGETS_MS):
        if budget:
            found = [plugin.refine(part, budget) for part in np.array_split(mel, len(mel) // 32)]
            outputs = [output for each, _ in found for output in each]
        recognized = model.recognize(np.stack([output.logits for output in outputs]))
        hits = [word == right for (word, _), right in zip(recognized, words, strict=True)]
        figures[f'{budget}_ms'] = {
            'right': float(np.mean(hits)),
            'r2': float(np.mean([output.fit for output in outputs])),
        }
    return figures
