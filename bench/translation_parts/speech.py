# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Colors and nouns in voices, also those that the shipped model of sound was not trained on."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import NamedTuple

import numpy as np

from sage_perception.audio.mel import log_mel
from sage_perception.audio.words import WORDS
from sage_perception.core.npz_file import read_or_compute
from sage_perception.models import load_audio
from sage_perception.models.audio_model import AudioLatents, AudioModel
from sage_perception.training.data.speech.corpus import held_out_persons
from sage_perception.training.data.speech.voices import Voice, synthesize, voices
from sage_perception.training.puzzle.sentences import COLORS, NOUNS
from translation_parts.cache import cached_file

WANTED = [*COLORS, *(noun for nouns in NOUNS.values() for noun in nouns)]
TRAINING_SHARE = 3
"""Every third voice of the training is used."""


class Utterances(NamedTuple):
    """Words in voices: latents `[N, 128]`, logits `[N, W]` of the model, and the words `[N]`."""

    latents: np.ndarray
    logits: np.ndarray
    words: np.ndarray


@cache
def utterances(held_out: bool) -> Utterances:
    """Return colors and nouns in the voices of the training, or in those left out.

    They are kept in a file.
    """
    path = cached_file(f'voices_{"test" if held_out else "train"}.npz', __name__, ('audiovae',))
    return Utterances(*read_or_compute(path, Utterances._fields, lambda: pronounce(held_out)))


def pronounce(held_out: bool) -> Utterances:
    """Synthesize the words and encode them."""
    chosen = unseen_voices() if held_out else seen_voices()[::TRAINING_SHARE]
    names = [word for word in WANTED if word in WORDS]
    outputs = [utterance(voice, word) for voice in chosen for word in names]
    return Utterances(
        np.concatenate([output.mean for output in outputs]),
        np.concatenate([output.logits for output in outputs]),
        np.array(names * len(chosen)),
    )


@cache
def unseen_voices() -> tuple[Voice, ...]:
    """Return the voices of the persons that the training leaves out."""
    persons = held_out_persons(voice.person for voice in voices())
    return tuple(voice for voice in voices() if voice.person in persons)


def seen_voices() -> list[Voice]:
    """Return the voices of the training."""
    return [voice for voice in voices() if voice not in unseen_voices()]


@cache
def sound_model() -> AudioModel:
    """Return the shipped model of sound."""
    return load_audio()


@cache
def utterance(voice: Voice, word: str) -> AudioLatents:
    """Return the latent and the logits of a word, a batch of one."""
    return sound_model().encode(log_mel(synthesize(voice, word))[None, None])


def phrase(
    voice: Voice,
    words: tuple[str, ...],
    goal_words: Sequence[str] = (),
    min_confidence: float = 0.0,
) -> str:
    """Return the words that are recognized in words, one after the other; '' for none.

    `goal_words` and `min_confidence` are as the parameters of the audio node.
    """
    found = [
        sound_model().recognize(utterance(voice, word).logits, goal_words)[0] for word in words
    ]
    return ' '.join(
        word for word, confidence in found if word in WORDS and confidence >= min_confidence
    )


def random_voice(rng: np.random.Generator) -> Voice:
    """Return one of the unseen voices."""
    return unseen_voices()[rng.integers(len(unseen_voices()))]
