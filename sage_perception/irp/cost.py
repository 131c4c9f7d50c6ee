# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""An estimate of the time that a refinement step takes."""

from __future__ import annotations

NEW_WEIGHT = 0.3  # of the newest step in the moving average
DECAY = 0.95  # of an estimate that was too high to try a step


class StepCost:
    """A moving average of the duration of a step, for each batch size."""

    def __init__(self) -> None:
        self._seconds: dict[int, float] = {}

    def per_item(self, count: int) -> float:
        """Return the expected time per item of a step of `count` items, seconds.

        The estimate is that of the nearest known batch size; 0 before the first step.
        """
        if not self._seconds:
            return 0.0
        nearest = min(self._seconds, key=lambda known: abs(known - count))
        return self._seconds[nearest] / nearest

    def update(self, count: int, seconds: float) -> None:
        """Add the duration of a step of `count` items, seconds."""
        known = self._seconds.get(count, seconds)
        self._seconds[count] = known + NEW_WEIGHT * (seconds - known)

    def decay(self) -> None:
        """Reduce all estimates, so that one that is too high does not prevent steps forever."""
        self._seconds = {count: DECAY * known for count, known in self._seconds.items()}
