# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Successive words as one phrase, such as "red" and "ball"."""

from __future__ import annotations

NS = 1_000_000_000
MAX_WORDS = 6


class Phrase:
    """Joins words that follow each other within `gap_s` seconds."""

    def __init__(self, gap_s: float) -> None:
        self.gap_s = gap_s
        self._words: list[str] = []
        self._last_ns = 0

    def add(self, word: str, stamp_ns: int) -> str:
        """Return the phrase with a word that was recognized at a time, nanoseconds."""
        if not 0 <= stamp_ns - self._last_ns <= self.gap_s * NS:
            self._words.clear()
        self._words = [*self._words, word][-MAX_WORDS:]
        self._last_ns = stamp_ns
        return ' '.join(self._words)
