# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Goals in voices that the shipped model of sound was not trained on."""

from __future__ import annotations

from functools import cache

import numpy as np

from sage_perception.audio.mel import log_mel
from sage_perception.audio.words import WORDS
from sage_perception.models import load_audio
from sage_perception.models.audio_model import AudioLatents, AudioModel
from sage_perception.training.data.speech.corpus import held_out_persons
from sage_perception.training.data.speech.voices import Voice, synthesize, voices


@cache
def unseen_voices() -> tuple[Voice, ...]:
    """Return the voices of the persons that the training leaves out."""
    every = voices()
    persons = held_out_persons(voice.person for voice in every)
    return tuple(voice for voice in every if voice.person in persons)


@cache
def sound_model() -> AudioModel:
    """Return the shipped model of sound."""
    return load_audio()


@cache
def utterance(voice: Voice, word: str) -> AudioLatents:
    """Return the latent and the logits of a word, a batch of one."""
    return sound_model().encode(log_mel(synthesize(voice, word))[None, None])


def phrase(voice: Voice, words: tuple[str, ...]) -> str:
    """Return the words that are recognized in words, one after the other; '' for none."""
    found = [sound_model().recognize(utterance(voice, word).logits)[0][0] for word in words]
    return ' '.join(word for word in found if word in WORDS)


def random_voice(rng: np.random.Generator) -> Voice:
    """Return one of the unseen voices."""
    return unseen_voices()[rng.integers(len(unseen_voices()))]
