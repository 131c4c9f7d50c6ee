# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""When the frames of recorded footage are due, and which one that is."""

from __future__ import annotations

import threading
import time
from fractions import Fraction
from typing import Protocol

import numpy as np

from sage_perception.core.frame import Frame
from sage_perception.vision.sources.base import EndOfStream, FrameSource
from sage_perception.vision.sources.uri import SourceUri
from sage_perception.vision.sources.view import View

NS = 1_000_000_000


class SystemClock:
    """The host's clocks; tests put another one in its place."""

    def monotonic_ns(self) -> int:
        """Return the clock that never jumps, ns."""
        return time.monotonic_ns()

    def time_ns(self) -> int:
        """Return the wall clock, ns since 1970."""
        return time.time_ns()

    def wait(self, event: threading.Event, seconds: float) -> bool:
        """Wait for `event`, `seconds` at most; return whether it is set."""
        return event.wait(seconds)


class EndOfFootage(Exception):
    """The position lies behind the last image; the footage's `length` is known from now on."""


class Footage(Protocol):
    """Images by position, best asked for in rising order.

    `length` is the number of images, None while it is unknown or if there is no end.
    """

    width: int
    height: int
    length: int | None

    def picture(self, position: int) -> np.ndarray:
        """Return uint8 [H, W, 3]; raise EndOfFootage or SourceLost."""


class Timeline:
    """The instants at which ticks of `rate` a second are due, exact to the nanosecond.

    Tick 0 is the first call of `next_tick`, or 1970 for one locked to the wall clock.
    """

    def __init__(self, rate: Fraction, clock: SystemClock, locked: bool):
        self._tick_ns = NS / rate
        self._clock = clock
        self._locked = locked
        self._start_ns = None if not locked else 0

    def next_tick(self, last: int | None) -> int:
        """Return the current tick if it is new, else the one after `last`."""
        if self._start_ns is None:
            self._start_ns = self._clock.monotonic_ns()
        current = int((self._now_ns() - self._start_ns) // self._tick_ns)
        stepped_back = last is not None and (last - current) * self._tick_ns > NS
        # A wall clock set back by a second or more is followed; within it, we wait for it.
        return current if last is None or stepped_back else max(current, last + 1)

    def due_ns(self, tick: int) -> int:
        """Return when `tick` is due, on the monotonic clock."""
        due = self._start_ns - int(-tick * self._tick_ns // 1)
        if self._locked:
            due -= self._clock.time_ns() - self._clock.monotonic_ns()
        return due

    def _now_ns(self) -> int:
        return self._clock.time_ns() if self._locked else self._clock.monotonic_ns()


class FastForward:
    """The timeline of `pace=fast`: every tick is due at once."""

    def __init__(self, clock: SystemClock):
        self._clock = clock

    def next_tick(self, last: int | None) -> int:
        """Return the tick after `last`."""
        return 0 if last is None else last + 1

    def due_ns(self, tick: int) -> int:
        """Return now."""
        return self._clock.monotonic_ns()


class PacedSource(FrameSource):
    """Plays footage as a camera would deliver it: who reads late misses frames."""

    def __init__(
        self, uri: SourceUri, footage: Footage, fps: float, identity: str, clock: SystemClock
    ):
        self.identity = identity
        self.uri = uri.text
        self._view = View(uri, footage.width, footage.height)
        self.width, self.height, self.fps = self._view.width, self._view.height, fps
        self._loop = uri.options.get('loop', True)
        self._clock = clock
        self._timeline: Timeline | FastForward = FastForward(clock)
        if uri.options.get('pace') != 'fast':
            rate = Fraction(fps).limit_denominator(1001)
            self._timeline = Timeline(rate, clock, locked='lock' in uri.options)
        self._footage: Footage | None = footage
        self._closed = threading.Event()
        self._tick: int | None = None
        self._index = 0
        self._ready: tuple[int, np.ndarray] | None = None

    def read(self, timeout_s: float) -> Frame | None:
        """Return the frame that is due next."""
        footage = self._footage
        if footage is None:
            raise EndOfStream(f'{self.identity} is closed')
        tick = self._timeline.next_tick(self._tick)
        if self._ready is None or self._ready[0] != tick:
            # Decoded while waiting, as a camera exposes and transfers before it has a frame.
            self._ready = (tick, self._view.apply(self._image(footage, tick)))
        due_ns = self._timeline.due_ns(tick)
        wait_s = (due_ns - self._clock.monotonic_ns()) / NS
        if self._clock.wait(self._closed, min(max(wait_s, 0), timeout_s)):
            raise EndOfStream(f'{self.identity} is closed')
        if wait_s > timeout_s:
            return None
        if self._tick is not None:
            self._index += max(tick - self._tick, 1)
        self._tick = tick
        return Frame(self._ready[1], due_ns, self._index)

    def close(self) -> None:
        """End the playback; a decoder that is busy in another thread is let go when it is done."""
        self._closed.set()
        self._footage = None

    def _image(self, footage: Footage, tick: int) -> np.ndarray:
        while True:
            try:
                return footage.picture(self._position(footage, tick))
            except EndOfFootage:
                continue  # the length is known now and gives another position

    def _position(self, footage: Footage, tick: int) -> int:
        length = footage.length
        if length is None:
            return tick
        if tick >= length and not self._loop:
            raise EndOfStream(f'{self.identity} is over')
        return tick % length
