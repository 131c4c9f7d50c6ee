# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Goals from voices by the least confidence: words that are right, wrong, and of other speech.

Three groups of voices, none of which trained the model of sound: `chosen_by`, the generated ones
that the training leaves out, by which `min_confidence` and the temperature of the probabilities
were chosen; `others`, generated ones that chose nothing; and the `persons` of the recorded
digits, with the digits as goals. `all_words` is a choice among all words of the model;
`goal_words` one among the seven colors and "ball", or the ten digits. For each least confidence:
`right` and `wrong` are shares of the words of goals that are published, as this word or as another
one, and `false_per_hour` the words that are published in an hour of other speech: sentences
without any word of the model, or, for the persons, digits, of which those published as digits do
not count; their goal words are the seven colors and "ball" then.
`value` is `right` of the other voices with goal words and the default of `min_confidence`. There
are no seeds.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from sage_perception.audio.event_stream import EventStream
from sage_perception.audio.mel import RATE, log_mel
from sage_perception.audio.sources.base import BLOCK, SoundBlock
from sage_perception.audio.voice_model import voice_test
from sage_perception.audio.wave_file import read_wave
from sage_perception.audio.words import DIGITS, UNKNOWN, WORDS
from sage_perception.ros.node_parameters.audio import AUDIO
from sage_perception.training.data.speech.voices import ACCENTS, Voice, synthesize
from sage_perception.training.puzzle.sentences import COLORS
from translation_parts.fsdd import files, load
from translation_parts.speech import sound_model, unseen_voices, utterance

[MIN_CONFIDENCE] = [each.default for each in AUDIO if each.name == 'min_confidence']
LEAST = (0.3, 0.5, 0.6, 0.7, 0.8, 0.9)
GOAL_COLORS = tuple(sorted({*COLORS} & {*WORDS}))
GOAL_WORDS = (*GOAL_COLORS, 'ball')
OTHERS = (
    'Marco', 'Nguyen', 'gustave', 'kaukovalta', 'Storm', 'Tweaky', 'RicishayMax', 'RicishayMax2',
    'RicishayMax3', 'AnxiousAndy', 'fast',
)  # fmt: skip
"""Variants of espeak-ng that are not among the voices of the training."""
SENTENCES = (
    'The meeting starts after lunch, and we still have to move the tables.',
    'Could you please open the window in the kitchen?',
    'My brother called yesterday and told me about the new school.',
    'It will rain in the afternoon, so take the other road.',
    'I have not read that book, but my mother likes it.',
    'We should stop here and wait until the others arrive.',
    'How long does the machine need before it can start again?',
    'There was nothing good on the radio last night.',
    'He plays music every morning and never closes the door.',
    'Please write down the address before you leave.',
    'They walked along the river until the sun went down.',
    'That was a good answer to a difficult question.',
)
PAUSE_S, NOISE = 1.0, 1e-3
"""Time between two sentences, and the standard deviation of the noise; full scale is 1."""
RECORDINGS = 500


class Group(NamedTuple):
    """The sounds of a group of voices.

    Attributes:
        logits: of the words of goals, `[N, W]`.
        words: these words, `[N]`.
        goal_words: the words to choose among.
        other: logits of other speech, `[M, W]`.
        other_s: its duration, seconds.
        other_words: the words of the model that it has.
    """

    logits: np.ndarray
    words: np.ndarray
    goal_words: tuple[str, ...]
    other: np.ndarray
    other_s: float
    other_words: tuple[str, ...] = ()


def measure(seeds: Sequence[int]) -> dict[str, object]:
    """Return the figures of all groups of voices."""
    groups = {
        'chosen_by': generated(unseen_voices()),
        'others': generated(other_voices()),
        'persons': recorded(),
    }
    figures = {name: by_confidence(group) for name, group in groups.items()}
    default = figures['others']['goal_words'][str(MIN_CONFIDENCE)]
    return {
        'value': default['right'],
        'seeds': [default['right']],
        'baselines': {'chance': 1 / len(GOAL_WORDS),
                      'all_words': figures['others']['all_words'][str(MIN_CONFIDENCE)]['right']},
        'min_confidence': MIN_CONFIDENCE,
        'voices': {'chosen_by': len(unseen_voices()), 'others': len(other_voices())},
        **figures,
    }  # fmt: skip


def other_voices() -> list[Voice]:
    """Return voices that neither trained the model of sound nor chose its parameters."""
    return [
        Voice('espeak-ng', f'{accent}+{name}', 50, 160)
        for name in OTHERS
        for accent in ACCENTS[:2]
    ]


def by_confidence(group: Group) -> dict[str, dict[str, dict[str, float]]]:
    """Return the figures of a group for both choices of words and each least confidence."""
    figures: dict[str, dict[str, dict[str, float]]] = {}
    for name, words, other_goals in (
        ('all_words', (), ()),
        ('goal_words', group.goal_words, GOAL_WORDS),
    ):
        word, confidence = recognized(group.logits, words)
        false, false_confidence = recognized(group.other, other_goals)
        is_false = ~np.isin(false, (*group.other_words, UNKNOWN))
        figures[name] = {}
        for least in LEAST:
            passed = (confidence >= least) & (word != UNKNOWN)
            count = (is_false & (false_confidence >= least)).sum()
            figures[name][str(least)] = {
                'right': float((passed & (word == group.words)).mean()),
                'wrong': float((passed & (word != group.words)).mean()),
                'false_per_hour': float(3600 * count / group.other_s),
            }
    return figures


def recognized(logits: np.ndarray, words: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """Return the words of logits, and their confidences."""
    found = sound_model().recognize(logits, words)
    return np.array([word for word, _ in found]), np.array([each for _, each in found])


def generated(voices: Sequence[Voice]) -> Group:
    """Return the words of goals and the sentences in generated voices."""
    logits = [utterance(voice, word).logits for voice in voices for word in GOAL_WORDS]
    sentences = [synthesize(voice, text) for voice in voices for text in SENTENCES]
    other, duration = events_of(sentences)
    words = np.array(GOAL_WORDS * len(voices))
    return Group(np.concatenate(logits), words, GOAL_WORDS, other, duration)


def recorded() -> Group:
    """Return the digits of persons; all of them are goals, and some other speech for colors."""
    digits = load()
    chosen = np.random.default_rng(0).choice(len(digits.digit), RECORDINGS, replace=False)
    other, duration = events_of([read_wave(files()[i])[:, 0] for i in chosen])
    words = np.array([DIGITS[digit] for digit in digits.digit])
    logits = sound_model().encode(digits.mel).logits
    return Group(logits, words, DIGITS, other, duration, DIGITS)


def events_of(sounds: Sequence[np.ndarray]) -> tuple[np.ndarray, float]:
    """Return the logits `[N, W]` of the voices in a stream of sounds, and its duration, seconds.

    The sounds follow each other with pauses, in weak noise. The events are those of the audio
    node.
    """
    rng = np.random.default_rng(0)
    pause = np.zeros(round(PAUSE_S * RATE))
    stream = EventStream(voice=voice_test()[1])
    found, position = [], 0
    for sound in sounds:
        loud = np.concatenate((pause, 0.3 * sound / np.abs(sound).max()))
        loud = np.pad(loud, (0, -len(loud) % BLOCK))
        noisy = (loud + NOISE * rng.standard_normal(len(loud))).astype(np.float32)[:, None]
        for start in range(0, len(noisy), BLOCK):
            index = position // BLOCK
            block = SoundBlock(noisy[start : start + BLOCK], position * 10**9 // RATE, index)
            found += [log_mel(event.samples) for event in stream.add(block) if event.voice]
            position += BLOCK
    return sound_model().encode(np.stack(found)[:, None]).logits, position / RATE
