# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Nouns for semantic codes, with calibrated confidence, and the likeness of words.

A vocabulary belongs to one space of semantic codes and is part of the folder of its model,
`vocabulary.safetensors`: the nouns with the classes that they include, a linear map from codes to
the logits of the classes, the codes of the nouns, and the mean similarity of each noun to codes of
unrelated crops. It needs neither the network nor the sentence encoder, so a receiver of codes can
label them. `tools/make_vocabulary.py` writes it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from safetensors.numpy import save_file

from sage_perception.core.files import replacing
from sage_perception.models.artifact import ModelError, declared_fingerprint
from sage_perception.models.registry import available
from sage_perception.models.semantic.nouns import MIN_CONFIDENCE, NounClasses
from sage_perception.models.softmax import softmax
from sage_perception.models.tensor_file import opened

FILE = 'vocabulary.safetensors'
TENSORS = ('codes', 'bias', 'class_map', 'class_offset')
MAX_BYTES = 16 << 20
MAX_NOUNS = 10_000
MAX_CLASSES = 2000
UNKNOWN = 'unknown'
FIX = 'install the model again, or run tools/make_vocabulary.py'


class Label(NamedTuple):
    """A noun, and the calibrated probability that it is true."""

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
    which is subtracted: some nouns are near to everything (Radovanovic et al., 2010). `members`,
    bool `[N, C]`, are the classes that the nouns include, and `class_map` `[D, C]` and
    `class_offset` `[C]` map codes to the logits of the classes.
    """

    space: bytes
    nouns: list[str]
    codes: np.ndarray
    bias: np.ndarray
    members: np.ndarray
    class_map: np.ndarray
    class_offset: np.ndarray

    def nearest(self, codes: np.ndarray) -> list[Label]:
        """Return the most specific noun that is likely enough, of each code `[B, D]`.

        If none has a chance of `MIN_CONFIDENCE`, it is the best one of `NounClasses.ranking`.
        """
        return [
            Label(self.nouns[noun], float(chance))
            for noun, chance in zip(*self._best(codes), strict=True)
        ]

    def confidence(self, codes: np.ndarray) -> np.ndarray:
        """Return the probability that the noun of `nearest` is true, `[B]` in [0, 1]."""
        return self._best(codes)[1]

    def chances(self, codes: np.ndarray) -> np.ndarray:
        """Return the probabilities of the nouns, float32 `[B, N]`, of codes `[B, D]`."""
        logits = np.asarray(codes, np.float32) @ self.class_map + self.class_offset
        return self._classes.chances(softmax(logits))

    @cached_property
    def _classes(self) -> NounClasses:
        return NounClasses(self.members)

    def _best(self, codes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the index of the best noun of each code, and its chance, `[B]` each."""
        chances = self.chances(codes)
        best = self._classes.ranking(chances, MIN_CONFIDENCE).argmax(axis=1)
        return best, chances[np.arange(len(best)), best]

    def likeness(self, codes: np.ndarray, text: np.ndarray) -> np.ndarray:
        """Return the share of the nouns that fit each code worse than a text, `[B]` in [0, 1].

        `text` `[D]` is the code of the text. 0.5: the text fits as well as any word.
        """
        codes, text = np.asarray(codes, np.float32), np.asarray(text, np.float32)
        # The text has no bias of its own: that of the nouns most similar to it.
        weights = np.exp(20.0 * (self.codes @ text))
        own = codes @ text - float((weights * self.bias).sum() / weights.sum())
        return (codes @ self.codes.T - self.bias < own[:, None]).mean(1)


def write(folder: Path, vocabulary: Vocabulary) -> Path:
    """Write `vocabulary.safetensors` to the folder of a model; return the file."""
    metadata = {
        'space': vocabulary.space.hex(),
        'nouns': json.dumps(vocabulary.nouns),
        'members': json.dumps([np.flatnonzero(row).tolist() for row in vocabulary.members]),
    }
    tensors: dict[str, np.ndarray] = {
        'codes': vocabulary.codes.astype(np.float16),
        'bias': vocabulary.bias.astype(np.float32),
        'class_map': vocabulary.class_map.astype(np.float16),
        'class_offset': vocabulary.class_offset.astype(np.float32),
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
        tensors = {name: file.tensor(name) for name in TENSORS}
        return _checked(file.metadata, tensors)


def _checked(metadata: Mapping[str, str], tensors: Mapping[str, np.ndarray]) -> Vocabulary:
    """Return a vocabulary; raise `ValueError` unless its parts fit together."""
    nouns, rows = json.loads(metadata['nouns']), json.loads(metadata['members'])
    named = isinstance(nouns, list) and all(isinstance(noun, str) and noun for noun in nouns)
    if not named or not 0 < len(nouns) <= MAX_NOUNS:
        raise ValueError(f'the nouns are not a list of 1 to {MAX_NOUNS} words')
    codes, bias = tensors['codes'], tensors['bias']
    class_map, class_offset = tensors['class_map'], tensors['class_offset']
    if codes.ndim != 2 or codes.shape[0] != len(nouns) or bias.shape != (len(nouns),):
        raise ValueError(f'codes and bias do not fit {len(nouns)} nouns')
    classes = class_offset.size
    if class_offset.shape != (classes,) or class_map.shape != (codes.shape[1], classes):
        raise ValueError(f'class_map does not fit codes of {codes.shape[1]} dimensions')
    if not 0 < classes <= MAX_CLASSES:
        raise ValueError(f'there are {classes} classes, not 1 to {MAX_CLASSES}')
    if not all(np.isfinite(values).all() for values in tensors.values()):
        raise ValueError('a tensor is not finite')
    members = _members(rows, len(nouns), classes)
    space = bytes.fromhex(metadata['space'])
    return Vocabulary(space, nouns, codes, bias, members, class_map, class_offset)


def _members(rows: Any, nouns: int, classes: int) -> np.ndarray:
    """Return the classes of nouns, bool `[N, C]`, from lists; raise `ValueError`."""
    valid = isinstance(rows, list) and len(rows) == nouns
    if not valid or not all(isinstance(row, list) and 0 < len(row) <= classes for row in rows):
        raise ValueError(f'the members are not {nouns} lists of classes')
    members = np.zeros((nouns, classes), bool)
    for found, row in zip(members, rows, strict=True):
        if not all(type(number) is int and 0 <= number < classes for number in row):
            raise ValueError(f'a member is not a class from 0 to {classes - 1}')
        found[row] = True
    return members


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
