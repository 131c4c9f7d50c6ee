# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Refines the words for an image: tries more words as long as the budget lasts (LanguageIRP)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple, Protocol

import numpy as np

from sage_perception.core.latent import Telemetry
from sage_perception.irp.halting import Halting
from sage_perception.irp.plugin import IRPPlugin
from sage_perception.models import load_semantic

UNKNOWN = 'unknown'


class TextModel(Protocol):
    """A model whose codes of texts compare with those of images, such as `semantic_text`."""

    def text(self, texts: Sequence[str]) -> np.ndarray:
        """Return the codes of texts, float32 `[N, D]` of length 1."""


class Words(NamedTuple):
    """The best text so far, and the cosine of its code and that of the image."""

    text: str
    similarity: float


@dataclass(frozen=True, eq=False)
class Search:
    """Codes of images, and for each the best word, its cosine, and the words that were tried."""

    codes: np.ndarray
    best: np.ndarray
    cosines: np.ndarray
    tried: np.ndarray


class LanguageIRP(IRPPlugin[np.ndarray, Search]):
    """Compares codes of images with the codes of more and more words.

    The words are tried in their order, `chunk` of them in each step; put common ones first. The
    energy is 1 − cosine. A result whose cosine is below `min_similarity` is `UNKNOWN`. Codes of
    words are kept, so that a word is encoded once. A model may be given by its name; without
    words, its nouns are tried. Raises `ModelError` for another model.
    """

    # A search that finds nothing better for some steps has not converged.
    halting = Halting(window=300, patience=300)

    def __init__(
        self,
        model: TextModel | str = 'semantic_text',
        words: Sequence[str] = (),
        chunk: int = 8,
        min_similarity: float = 0.3,
    ):
        if isinstance(model, str):
            loaded = load_semantic(model)
            model, words = loaded, words or loaded.nouns[0]
        if not words or chunk < 1:
            raise ValueError(f'{len(words)} words in chunks of {chunk}: give at least one of each')
        self.words = tuple(words)
        self.min_similarity = min_similarity
        self.max_iterations = min(-(-len(self.words) // chunk), 256)
        self._model, self._chunk = model, -(-len(self.words) // self.max_iterations)
        self._known = np.empty((0, 0), np.float32)

    def init_state(self, x: np.ndarray) -> Search:
        """Return the state after the first chunk of words; `x` are codes `[B, D]` of length 1."""
        count = len(x)
        empty = Search(
            np.asarray(x, np.float32),
            np.zeros(count, int),
            np.full(count, -1.0),
            np.zeros(count, int),
        )
        return self.step(empty, np.ones(count, bool))

    def step(self, state: Search, active: np.ndarray) -> Search:
        """Return the state after one more chunk of words for the active items."""
        best, cosines, tried = state.best.copy(), state.cosines.copy(), state.tried.copy()
        for start in np.unique(state.tried[active]):
            rows = np.flatnonzero(active & (state.tried == start))
            stop = min(int(start) + self._chunk, len(self.words))
            if start >= stop:
                continue
            found = state.codes[rows] @ self._codes(stop)[start:stop].T
            index = found.argmax(1)
            value = found[np.arange(len(rows)), index]
            better = value > cosines[rows]
            best[rows[better]] = index[better] + start
            cosines[rows[better]] = value[better]
            tried[rows] = stop
        return Search(state.codes, best, cosines, tried)

    def energy(self, state: Search) -> np.ndarray:
        """Return 1 − cosine of the best words, `[B]`."""
        return 1 - state.cosines

    def output(self, state: Search) -> list[Words]:
        """Return the best words."""
        return [
            Words(self.words[i] if cosine >= self.min_similarity else UNKNOWN, float(cosine))
            for i, cosine in zip(state.best, state.cosines, strict=True)
        ]

    def describe(self, state: Search, item: int, output: Words, telemetry: Telemetry) -> Telemetry:
        """Return the telemetry with the trust: the cosine, 0 for an unknown image."""
        known = output.text != UNKNOWN
        return replace(telemetry, trust=float(np.clip(output.similarity, 0, 1)) if known else 0.0)

    def _codes(self, count: int) -> np.ndarray:
        """Return the codes of the first `count` words."""
        missing = self.words[len(self._known) : count]
        if missing:
            new = self._model.text(list(missing))
            self._known = np.concatenate((self._known, new)) if len(self._known) else new
        return self._known[:count]
