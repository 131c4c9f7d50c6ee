# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""The corpus of generated words as spectrograms, kept in a cache."""

from __future__ import annotations

import hashlib
import inspect
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from sage_perception.audio import mel
from sage_perception.audio.words import LABELS, WORDS
from sage_perception.core.npz_file import read_or_compute
from sage_perception.core.progress import track
from sage_perception.training.data.speech import voices as voice_list
from sage_perception.training.data.speech.voices import Voice, synthesize, voices

CACHE = Path('out/data/speech')
MAX_BYTES = 16 << 20
OTHER_WORDS = (
    'about', 'after', 'again', 'always', 'and', 'animal', 'away', 'before', 'better', 'book',
    'city', 'could', 'day', 'door', 'earth', 'every', 'father', 'find', 'follow', 'garden', 'give',
    'good', 'hand', 'have', 'hello', 'is', 'it', 'kitchen', 'learn', 'left', 'light',
    'listen', 'little', 'look', 'machine', 'maybe', 'morning', 'mother', 'music', 'never', 'night',
    'no', 'number', 'often', 'open', 'paper', 'people', 'please', 'question', 'radio', 'right',
    'robot', 'school', 'show', 'stop', 'table', 'take', 'that', 'the', 'thing', 'this', 'today',
    'under', 'walk', 'water', 'where', 'window', 'world', 'yes', 'yesterday', 'you',
)  # fmt: skip
"""Words of the class unknown, unless a configuration has them as labels."""
OTHER_SHARE = 3
"""Every third voice has each of the other words."""
HELD_OUT_SHARE = 6
"""Every sixth person is held out, and one voice of flite."""
FLITE_WEIGHT = 4.0
"""How often voices of flite are drawn relative to those of espeak-ng: they sound natural."""
HELD_OUT_FLITE = 'flite:rms'


@dataclass(frozen=True, eq=False)
class Corpus:
    """Words as spectrograms.

    Attributes:
        mel: float32 `[N, BANDS, FRAMES]` in [0, 1], of `mel.log_mel`.
        label: int64 `[N]`, index into the labels.
        person: `[N]`, name of the person of each voice.
        weight: float64 `[N]`, how often each item is drawn relative to others of its label.
    """

    mel: np.ndarray
    label: np.ndarray
    person: np.ndarray
    weight: np.ndarray

    def only(self, chosen: np.ndarray) -> Corpus:
        """Return the rows of a boolean mask."""
        return Corpus(*(each[chosen] for each in (self.mel, self.label, self.person, self.weight)))

    @property
    def held_out(self) -> np.ndarray:
        """Return which rows are of held-out persons, boolean `[N]`."""
        return np.isin(self.person, sorted(held_out_persons(self.person)))


def held_out_persons(persons: Iterable[str]) -> set[str]:
    """Return the persons that training leaves out; `persons` are those of all voices."""
    generated = sorted(set(persons) - {HELD_OUT_FLITE})
    return {HELD_OUT_FLITE, *(p for p in generated[::HELD_OUT_SHARE] if 'flite' not in p)}


def corpus(labels: Sequence[str] = LABELS) -> Corpus:
    """Return the corpus; the words of each voice are generated once and kept in `CACHE`.

    A change of the voices, the words or the spectrogram generates them again. Words that are not
    among the labels have the last one.

    Raises:
        SpeechUnavailable: a synthesizer is missing.
        ValueError: a label but the last is not a word that is generated.
    """
    missing = sorted({*labels[:-1]} - {*WORDS, *OTHER_WORDS})
    if missing:
        raise ValueError(
            f'model.labels has {missing[0]!r}, which is not generated: use the words of '
            'audio/words.py and training/data/speech/corpus.py'
        )
    last = len(labels) - 1
    known = {word: number for number, word in enumerate(labels[:-1])}
    images, label, person = [], [], []
    for number, voice in enumerate(track(voices(), 'speech')):
        words = words_of(number)
        images.append(_spectrograms(voice, words))
        label += [known.get(word, last) for word in words]
        person += [voice.person] * len(words)
    spectrograms = np.concatenate(images).astype(np.float32) / 255
    names = np.array(person)
    flite = np.char.startswith(names, 'flite')
    return Corpus(spectrograms, np.array(label), names, np.where(flite, FLITE_WEIGHT, 1.0))


def words_of(number: int) -> tuple[str, ...]:
    """Return the words of a voice by its number."""
    return (*WORDS, *(OTHER_WORDS if number % OTHER_SHARE == 0 else ()))


def _spectrograms(voice: Voice, words: Sequence[str]) -> np.ndarray:
    """Return the words of a voice, uint8 `[N, BANDS, FRAMES]`, generated or from the cache."""

    def synthesized() -> list[np.ndarray]:
        spectrograms = [mel.log_mel(synthesize(voice, word)) for word in words]
        return [np.stack([np.round(255 * each).astype(np.uint8) for each in spectrograms])]

    path = CACHE / f'{_version(voice, words)}.npz'
    (images,) = read_or_compute(path, ('mel',), synthesized, max_bytes=MAX_BYTES)
    return images


def _version(voice: Voice, words: Sequence[str]) -> str:
    """Return a short hash of everything that determines the words of a voice."""
    probe = np.sin(np.arange(mel.WINDOW) ** 2 / mel.WINDOW)
    image = np.round(255 * mel.log_mel(probe)).astype(np.uint8)
    source = inspect.getsource(voice_list)
    return hashlib.sha256(f'{source}{voice}{words}'.encode() + image.tobytes()).hexdigest()[:16]
