# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""The time between frames, from stamps that may be wrong.

Cameras deliver stamps that step back by a millisecond, repeat, or are 0 for single frames. Such a
frame must not end the scene.
"""

from __future__ import annotations

import math
import statistics
from collections import deque
from dataclasses import dataclass

MAX_GAP_S = 2.0
"""Time without frames after which a new scene starts, seconds; longer for a slow camera."""
SLOW_FACTOR = 4.0
"""Multiple of the usual interval that a slow camera may pause."""
MAX_STEP_BACK_S = 0.05
"""Step back of a stamp that counts as jitter, seconds."""
START_INTERVAL_S = 1 / 30
"""Interval of the frames until some are known, seconds."""
MIN_INTERVAL_S = 1e-3
"""Shortest interval that counts as the usual one, seconds."""


@dataclass(frozen=True)
class Step:
    """The result for one frame.

    Attributes:
        dt: time since the last frame, seconds.
        skip: whether the stamp does not fit and the frame should be left out.
        new: whether a new scene starts: the stamps continue elsewhere.
    """

    dt: float
    skip: bool = False
    new: bool = False


class FrameTimes:
    """Turns stamps into intervals.

    Attributes:
        odd: number of frames whose stamp did not follow the one before.
    """

    def __init__(self) -> None:
        self.odd = 0
        self._last_s: float | None = None
        self._odd_s: float | None = None
        self._intervals: deque[float] = deque([START_INTERVAL_S], maxlen=9)

    def advance(self, stamp_s: float) -> Step:
        """Return the step to a frame of `stamp_s`, finite seconds.

        A stamp that repeats or steps back by at most `MAX_STEP_BACK_S` counts as the usual
        interval. The first frame of a jump is skipped. The second one starts a new scene if its
        stamp continues from the jump, else the old scene goes on.
        """
        last, odd = self._last_s, self._odd_s
        if last is None:
            self._last_s = stamp_s
            return Step(0.0, new=True)
        dt = stamp_s - last
        if self._follows(dt):
            self._odd_s = None
            if dt > 0:
                self._last_s = stamp_s
            else:
                self.odd += dt < 0
            self._intervals.append(max(dt, MIN_INTERVAL_S) if dt > 0 else self._usual_s)
            return Step(dt if dt > 0 else self._usual_s)
        self.odd += 1
        if odd is not None and stamp_s - odd >= 0:
            step = stamp_s - odd
            self._last_s, self._odd_s = stamp_s, None
            self._intervals.append(max(step, MIN_INTERVAL_S))
            return Step(step if self._follows(step) else 0.0, new=True)
        self._odd_s = stamp_s
        return Step(0.0, skip=True)

    @property
    def _usual_s(self) -> float:
        return statistics.median(self._intervals)

    def _follows(self, dt: float) -> bool:
        longest = max(MAX_GAP_S, SLOW_FACTOR * self._usual_s)
        return math.isfinite(dt) and -MAX_STEP_BACK_S <= dt <= longest
