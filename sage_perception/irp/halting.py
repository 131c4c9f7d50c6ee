# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""When a refinement should stop, by nothing but the energies it has been through."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from sage_perception.core.latent import HaltReason


@dataclass(frozen=True)
class Halting:
    """Judges a sequence of energies; the unit of the energies does not matter.

    Differences are taken relative to the size of the energy, so multiplying all of them by a
    positive constant changes no verdict (an absolute threshold, as in section 6.3 of the
    specification, halts a small energy at once and a large one never).

    - NOT_FINITE: the last energy is.
    - DIVERGED: it rose `rises` times running to above where it began, or once to beyond
      `explosion` times its size.
    - CONVERGED: over the last `window` energies it changed by less than `tolerance`.
    - OSCILLATION: it goes round in a circle of at most `longest_period` steps, or has gone up and
      down for `patience` steps, without getting lower.
    """

    tolerance: float = 1e-3
    window: int = 3
    rises: int = 4
    explosion: float = 10.0
    longest_period: int = 8
    likeness: float = 0.1  # how much one turn of a circle may differ, of its height
    patience: int = 24

    def __call__(self, energies: Sequence[float]) -> HaltReason | None:
        """Return why to stop after these energies, oldest first; None: go on."""
        last = energies[-1]
        if not math.isfinite(last):
            return HaltReason.NOT_FINITE
        known = [energy for energy in energies if math.isfinite(energy)]
        least = self.tolerance * max(abs(known[0]), abs(last))
        if self._diverges(known, least):
            return HaltReason.DIVERGED
        recent = known[-self.window :]
        if len(recent) == self.window and max(recent) - min(recent) <= least:
            return HaltReason.CONVERGED
        if self._circles(known, least) or self._wanders(known, least):
            return HaltReason.OSCILLATION
        return None

    def _diverges(self, energies: Sequence[float], least: float) -> bool:
        first, last = energies[0], energies[-1]
        if last - min(energies) > self.explosion * max(abs(first), abs(min(energies))):
            return True
        recent = energies[-self.rises - 1 :]
        rising = len(recent) > self.rises and all(a < b for a, b in pairwise(recent))
        return rising and last - first > least

    def _circles(self, energies: Sequence[float], least: float) -> bool:
        for period in range(2, self.longest_period + 1):
            span = max(2 * period, 6)  # of the shortest circles three turns
            recent = energies[-span:]
            if len(recent) < span:
                return False
            turn, before = recent[-period:], recent[:-period]
            height = max(turn) - min(turn)
            alike = all(
                abs(a - b) <= self.likeness * height
                for a, b in zip(before, recent[period:], strict=True)
            )
            if height > least and alike and min(turn) >= min(before) - least:
                return True
        return False

    def _wanders(self, energies: Sequence[float], least: float) -> bool:
        recent, before = energies[-self.patience :], energies[: -self.patience]
        return bool(before) and min(recent) >= min(before) - least
