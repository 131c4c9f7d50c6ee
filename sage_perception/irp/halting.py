# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""The halting criterion of a refinement, based on its sequence of energies."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from sage_perception.core.latent import HaltReason

MIN_CYCLE_SPAN = 6  # energies: three turns of the shortest cycle


@dataclass(frozen=True)
class Halting:
    """Decides from a sequence of energies whether to halt; independent of their unit.

    Differences are relative to the magnitude of the energy, so a positive factor on all energies
    changes no decision. (The absolute threshold of section 6.3 of the specification halts small
    energies immediately and large ones never.)

    - NOT_FINITE: the last energy is not finite.
    - DIVERGED: it rose `rises` times in a row to above the first energy, or once by more than
      `explosion` times its magnitude.
    - CONVERGED: the last `window` energies differ by less than `tolerance`.
    - OSCILLATION: the energies repeat with a period of at most `max_period`, or have not reached a
      new minimum for `patience` steps.

    `cycle_tolerance` is the maximum difference between two turns of a cycle, relative to its
    range.
    """

    tolerance: float = 1e-3
    window: int = 3
    rises: int = 4
    explosion: float = 10.0
    max_period: int = 8
    cycle_tolerance: float = 0.1
    patience: int = 24

    def __call__(self, energies: Sequence[float]) -> HaltReason | None:
        """Return the reason to halt after these energies, oldest first, or None to continue."""
        last = energies[-1]
        if not math.isfinite(last):
            return HaltReason.NOT_FINITE
        finite = [energy for energy in energies if math.isfinite(energy)]
        min_change = self.tolerance * max(abs(finite[0]), abs(last))
        if self._diverges(finite, min_change):
            return HaltReason.DIVERGED
        recent = finite[-self.window :]
        if len(recent) == self.window and max(recent) - min(recent) <= min_change:
            return HaltReason.CONVERGED
        if self._cycles(finite, min_change) or self._stagnates(finite, min_change):
            return HaltReason.OSCILLATION
        return None

    def _diverges(self, energies: Sequence[float], min_change: float) -> bool:
        first, last = energies[0], energies[-1]
        if last - min(energies) > self.explosion * max(abs(first), abs(min(energies))):
            return True
        recent = energies[-self.rises - 1 :]
        rising = len(recent) > self.rises and all(a < b for a, b in pairwise(recent))
        return rising and last - first > min_change

    def _cycles(self, energies: Sequence[float], min_change: float) -> bool:
        for period in range(2, self.max_period + 1):
            span = max(2 * period, MIN_CYCLE_SPAN)
            recent = energies[-span:]
            if len(recent) < span:
                return False
            turn, before = recent[-period:], recent[:-period]
            height = max(turn) - min(turn)
            repeats = all(
                abs(a - b) <= self.cycle_tolerance * height
                for a, b in zip(before, recent[period:], strict=True)
            )
            if height > min_change and repeats and min(turn) >= min(before) - min_change:
                return True
        return False

    def _stagnates(self, energies: Sequence[float], min_change: float) -> bool:
        recent, before = energies[-self.patience :], energies[: -self.patience]
        return bool(before) and min(recent) >= min(before) - min_change
