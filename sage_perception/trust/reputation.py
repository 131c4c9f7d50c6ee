# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""The reputation of an entity: rises slowly, falls quickly, and can always recover."""

from __future__ import annotations

import math


class Reputation:
    """A value in [MIN, 1] that follows the evidence, and a suspect flag with hysteresis.

    Good evidence raises the value by a small share of the distance, bad evidence lowers it by a
    large one: at 30 frames per second it takes 11 s from `START` to 0.9, and two bad frames undo
    that. The entity is suspect from below `SUSPECT` until it reaches `CLEARED`, so that the flag
    does not change with every frame.
    """

    START = 0.5
    MIN = 0.05
    GAIN = 0.005
    LOSS = 0.25
    SUSPECT, CLEARED = 0.3, 0.45

    def __init__(self) -> None:
        self.value = self.START
        self.suspect = False

    def update(self, evidence: float) -> None:
        """Take account of evidence in [0, 1], from bad to good; any other value counts as 0."""
        evidence = evidence if 0 <= evidence <= 1 else 0.0
        share = self.GAIN if evidence > self.value else self.LOSS
        self._move(evidence, share)

    def decay(self, target: float, seconds: float, time_s: float) -> None:
        """Lower the value towards `target` for so many `seconds`, with the time constant `time_s`.

        A value below the target stays.
        """
        if self.value > target:
            self._move(target, 1 - math.exp(-seconds / time_s))

    def _move(self, target: float, share: float) -> None:
        self.value = max(self.value + share * (target - self.value), self.MIN)
        self.suspect = self.value < (self.CLEARED if self.suspect else self.SUSPECT)


class Elapsed:
    """The time between moments, by their stamps."""

    MAX_STEP_S = 1.0

    def __init__(self) -> None:
        self._last_ns: int | None = None

    def step(self, stamp_ns: int) -> float:
        """Return the seconds since the last moment, in [0, MAX_STEP_S]; 0 for the first one."""
        last_ns = stamp_ns if self._last_ns is None else self._last_ns
        self._last_ns = stamp_ns
        return min(max(stamp_ns - last_ns, 0) * 1e-9, self.MAX_STEP_S)


class Corroboration:
    """How often a camera agrees with others, of the moments at which that can be judged.

    The rate is a moving average over `time_s` seconds of such moments, from `rate` on. An honest
    camera agrees in part of them only: it misses objects and its latents are noisy. One that
    almost never agrees reports something else than all others.
    """

    TIME_S = 8.0
    SUPPORTED, UNSUPPORTED = 0.3, 0.2

    def __init__(self, time_s: float = TIME_S, rate: float = 0.5) -> None:
        self.rate = rate
        self._time_s = time_s
        self._elapsed = Elapsed()

    def note(self, agrees: bool, stamp_ns: int) -> float:
        """Take account of a moment; return the seconds since the last one, see `Elapsed`."""
        seconds = self._elapsed.step(stamp_ns)
        self.rate += (agrees - self.rate) * (1 - math.exp(-seconds / self._time_s))
        return seconds

    @property
    def supported(self) -> bool:
        """Whether the camera agrees often enough to share the view of the others."""
        return self.rate >= self.SUPPORTED

    @property
    def unsupported(self) -> bool:
        """Whether the camera almost never agrees."""
        return self.rate < self.UNSUPPORTED
