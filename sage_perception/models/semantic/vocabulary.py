# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""The nouns nearest to semantic codes, with calibrated confidence, and the likeness of words.

A vocabulary belongs to one space of semantic codes and is part of the folder of its model,
`vocabulary.safetensors`: the codes of the nouns, the mean similarity of each noun to codes of
unrelated crops, and the calibration. It needs neither the network nor the sentence encoder, so a
receiver of codes can label them. `tools/make_vocabulary.py` writes it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
from safetensors.numpy import save_file

from sage_perception.core.files import replacing
from sage_perception.models.artifact import ModelError, declared_fingerprint
from sage_perception.models.registry import available
from sage_perception.models.tensor_file import opened

FILE = 'vocabulary.safetensors'
MAX_BYTES = 16 << 20
MAX_NOUNS = 10_000
UNKNOWN = 'unknown'
MIN_CONFIDENCE = 0.5
"""Confidence below which a label is "unknown"."""
RUNNERS_UP = slice(1, 10)
"""Ranks of the scores that the best one is compared with in the confidence."""
FIX = 'install the model again, or run tools/make_vocabulary.py'


class Label(NamedTuple):
    """A noun, and the calibrated probability that it is right."""

    noun: str
    confidence: float

    @property
    def text(self) -> str:
        """Return the noun with its confidence, or `UNKNOWN` below `MIN_CONFIDENCE`."""
        if self.confidence < MIN_CONFIDENCE:
            return UNKNOWN
        return f'{self.noun} {self.confidence:.0%}'


@dataclass(frozen=True, eq=False)
class Vocabulary:
    """Nouns in a space of semantic codes.

    `codes` `[N, D]` are those of the nouns and `bias` `[N]` their mean cosines to unrelated crops,
    which is subtracted: some nouns are near to everything (Radovanovic et al., 2010). `logistic`
    are the weights of the best score and of its distance to the runners-up, and the constant.
    """

    space: bytes
    nouns: list[str]
    codes: np.ndarray
    bias: np.ndarray
    logistic: tuple[float, float, float]

    def scores(self, codes: np.ndarray) -> np.ndarray:
        """Return how well the nouns fit codes `[B, D]`, float32 `[B, N]`, higher is better."""
        return np.asarray(codes, np.float32) @ self.codes.T - self.bias

    def nearest(self, codes: np.ndarray) -> list[Label]:
        """Return the best noun of each code `[B, D]`."""
        scores = self.scores(codes)
        best, confidences = scores.argmax(1), self.confidence_of(scores)
        return [
            Label(self.nouns[noun], float(confidence))
            for noun, confidence in zip(best, confidences, strict=True)
        ]

    def confidence(self, codes: np.ndarray) -> np.ndarray:
        """Return the probability that the best noun of each code is right, `[B]` in [0, 1]."""
        return self.confidence_of(self.scores(codes))

    def likeness(self, codes: np.ndarray, text: np.ndarray) -> np.ndarray:
        """Return the share of the nouns that fit each code worse than a text, `[B]` in [0, 1].

        `text` `[D]` is the code of the text. 0.5: the text fits as well as any word.
        """
        cosines = np.asarray(codes, np.float32) @ np.asarray(text, np.float32)
        # The text has no bias of its own: that of the nouns most similar to it.
        weights = np.exp(20.0 * (self.codes @ np.asarray(text, np.float32)))
        own = cosines - float((weights * self.bias).sum() / weights.sum())
        return (self.scores(codes) < own[:, None]).mean(1)

    def features(self, scores: np.ndarray) -> np.ndarray:
        """Return the best of the scores `[B, N]`, and its distance to the others, `[B, 2]`."""
        ordered = -np.sort(-scores, axis=1)[:, : RUNNERS_UP.stop]
        return np.stack([ordered[:, 0], ordered[:, 0] - ordered[:, RUNNERS_UP].mean(1)], axis=1)

    def confidence_of(self, scores: np.ndarray) -> np.ndarray:
        """Return the probability that the noun with the best of the scores `[B, N]` is right."""
        first, second, constant = self.logistic
        logits = self.features(scores) @ np.array([first, second]) + constant
        return 1 / (1 + np.exp(-logits.clip(-30, 30)))


def write(folder: Path, vocabulary: Vocabulary) -> Path:
    """Write `vocabulary.safetensors` to the folder of a model; return the file."""
    metadata = {
        'space': vocabulary.space.hex(),
        'nouns': json.dumps(vocabulary.nouns),
        'logistic': json.dumps(vocabulary.logistic),
    }
    tensors: dict[str, np.ndarray] = {
        'codes': vocabulary.codes.astype(np.float16),
        'bias': vocabulary.bias.astype(np.float32),
    }
    with replacing(folder / FILE) as part:
        save_file(tensors, part, metadata)
    return folder / FILE


def read(folder: Path) -> Vocabulary | None:
    """Return the vocabulary of the model in a folder; None if it has none.

    Raises `ModelError` for a damaged file.
    """
    path = folder / FILE
    if not path.is_file():
        return None
    with opened(path, MAX_BYTES, FIX) as file:
        return _checked(file.metadata, file.tensor('codes'), file.tensor('bias'))


def _checked(metadata: Mapping[str, str], codes: np.ndarray, bias: np.ndarray) -> Vocabulary:
    """Return a vocabulary; raise `ValueError` unless its parts fit together."""
    nouns = json.loads(metadata['nouns'])
    first, second, constant = map(float, json.loads(metadata['logistic']))
    named = isinstance(nouns, list) and all(isinstance(noun, str) and noun for noun in nouns)
    if not named or not RUNNERS_UP.stop <= len(nouns) <= MAX_NOUNS:
        raise ValueError(f'the nouns are not a list of {RUNNERS_UP.stop} to {MAX_NOUNS} words')
    if codes.ndim != 2 or codes.shape[0] != len(nouns) or bias.shape != (len(nouns),):
        raise ValueError(f'codes and bias do not fit {len(nouns)} nouns')
    if not (np.isfinite(codes).all() and np.isfinite(bias).all()):
        raise ValueError('codes or bias are not finite')
    if not np.isfinite([first, second, constant]).all() or min(first, second) < 0:
        raise ValueError('the calibration is not finite, or falls with the score')
    return Vocabulary(
        bytes.fromhex(metadata['space']), nouns, codes, bias, (first, second, constant)
    )


def installed_vocabulary(space: bytes) -> Vocabulary | None:
    """Return the vocabulary of a space of semantic codes, None if no installed model has one.

    Raises `ModelError` for a damaged file.
    """
    folder = _folders().get(space)
    found = None if folder is None else _read_once(folder)
    return found if found is None or found.space == space else None


@cache
def _folders() -> dict[bytes, Path]:
    """Return the folders with a vocabulary by space; once, because spaces arrive in messages."""
    found = {}
    for folder in available().values():
        if (folder / FILE).is_file():
            with suppress(ModelError):
                found[declared_fingerprint(folder)] = folder
    return found


_read_once = cache(read)
