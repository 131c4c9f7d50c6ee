# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""The choice of a noun for an image: the most specific one that is likely enough.

A noun includes the classes below it in WordNet, and its chance is the sum of theirs. Where breeds
of dogs compete, "dog" is likely although no breed is; where nothing is clear, "animal" may still
be. The chance of the noun that is chosen is the probability that it is true, if the chances of the
classes are calibrated (Deng et al., Hedging Your Bets, 2012).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

MIN_CONFIDENCE = 0.7
"""Chance from which a noun is likely enough to be named."""
_TIE = 1e-3
"""Weight of the chance in a choice between nouns of equally many classes."""


@dataclass(frozen=True, eq=False)
class NounClasses:
    """The classes that nouns include, bool `[N, C]`, at least one each."""

    members: np.ndarray

    @cached_property
    def information(self) -> np.ndarray:
        """Return how specific the nouns are, bits `[N]`, at most log2(C)."""
        return np.log2(self.members.shape[1] / self.members.sum(axis=1))

    def chances(self, classes: np.ndarray) -> np.ndarray:
        """Return the chances of the nouns, `[B, N]`, of those of the classes, `[B, C]`."""
        flat, starts = self._flat
        return np.add.reduceat(classes[:, flat], starts, axis=1).clip(0, 1)

    def ranking(self, chances: np.ndarray, minimum: float) -> np.ndarray:
        """Return the value of nouns with chances `[B, N]`, of that shape, the higher the better.

        Nouns with a chance of at least `minimum` precede the others, the most specific one first.
        The others are ordered by their chance times the information that they give.
        """
        bits = self.information
        others = chances * bits - np.log2(self.members.shape[1]) - 1  # at most -1
        return np.where(chances >= minimum, bits + _TIE * chances, others)

    @cached_property
    def _flat(self) -> tuple[np.ndarray, np.ndarray]:
        """Return the classes of all nouns in one row, and where those of each noun start."""
        counts = self.members.sum(axis=1)
        return np.nonzero(self.members)[1], np.cumsum(counts) - counts
