# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Playback of footage: which frame is due at which time."""

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
MAX_SKIPPED = 100
"""Maximum number of frames of a file that are skipped in a row."""


class SystemClock:
    """The clocks of the host; tests substitute a fake."""

    def monotonic_ns(self) -> int:
        """Return the monotonic time, ns."""
        return time.monotonic_ns()

    def time_ns(self) -> int:
        """Return the wall time, ns since 1970."""
        return time.time_ns()

    def wait(self, event: threading.Event, seconds: float) -> bool:
        """Wait for `event` for at most `seconds`; return whether it is set."""
        return event.wait(seconds)


class EndOfFootage(Exception):
    """The position is past the last image; the `length` of the footage is known from now on."""


class Footage(Protocol):
    """Images by position; access in ascending order is fastest."""

    @property
    def width(self) -> int:
        """Return the width of the images, pixels."""

    @property
    def height(self) -> int:
        """Return the height of the images, pixels."""

    @property
    def length(self) -> int | None:
        """Return the number of images; None while it is unknown or if the footage is endless."""

    def image(self, position: int) -> np.ndarray:
        """Return the image, uint8 `[H, W, 3]`; raise `EndOfFootage` or `SourceLost`."""


class Timeline:
    """The times at which the ticks of a clock of `rate` Hz are due, exact to the nanosecond.

    Tick 0 is due at the first call of `next_tick`; with `locked`, at the epoch of the wall clock.
    """

    def __init__(self, rate: Fraction, clock: SystemClock, locked: bool) -> None:
        # A tick takes `_ticks_ns / _per_ticks` ns: integers, because fractions are slow.
        self._ticks_ns, self._per_ticks = (NS / rate).as_integer_ratio()
        self._clock = clock
        self._locked = locked
        self._start_ns: int | None = 0 if locked else None

    def next_tick(self, last: int | None) -> int:
        """Return the current tick if it is later than `last`, else the tick after `last`."""
        start_ns = self._origin_ns()  # before the current time: the first tick is 0
        current = (self._now_ns() - start_ns) * self._per_ticks // self._ticks_ns
        stepped_back = (
            last is not None and (last - current) * self._ticks_ns > NS * self._per_ticks
        )
        # Follow a wall clock that is set back by more than a second; otherwise wait for it.
        return current if last is None or stepped_back else max(current, last + 1)

    def due_ns(self, tick: int) -> int:
        """Return the time at which `tick` is due, monotonic ns."""
        due = self._origin_ns() - (-tick * self._ticks_ns // self._per_ticks)
        if self._locked:
            due -= self._clock.time_ns() - self._clock.monotonic_ns()
        return due

    def _origin_ns(self) -> int:
        """Return the time of tick 0."""
        if self._start_ns is None:
            self._start_ns = self._clock.monotonic_ns()
        return self._start_ns

    def _now_ns(self) -> int:
        return self._clock.time_ns() if self._locked else self._clock.monotonic_ns()


class TimedFootage(Footage, Protocol):
    """Images by position, each with its own time."""

    @property
    def duration_s(self) -> float:
        """Return the time from the first image to the end of the last one; valid with `length`."""

    def time_s(self, position: int) -> float:
        """Return the time of an image after the first one, seconds; raises as `image` does."""


class FileTimeline:
    """The times of a file, for variable frame rates; tick 0 is due at the first `next_tick`.

    A frame is skipped if it is late by the time between it and the frame before. After
    `MAX_SKIPPED` frames in a row the times are shifted, because decoding is slower than playback.
    """

    def __init__(self, footage: TimedFootage, clock: SystemClock) -> None:
        self._footage, self._clock = footage, clock
        self._start_ns: int | None = None
        self._tick = -1
        self._due_ns = self._interval_ns = 0

    def next_tick(self, last: int | None) -> int:
        """Return the tick after `last`, or a later one if that is late."""
        if last is None and self._start_ns is None:
            self.due_ns(0)  # the clock starts with the first frame, which is not late
            return 0
        first = tick = 0 if last is None else last + 1
        self.due_ns(tick)
        while (late_ns := self._clock.monotonic_ns() - self._due_ns) >= max(self._interval_ns, 1):
            if tick - first >= MAX_SKIPPED and self._start_ns is not None:
                self._start_ns += late_ns
                self._due_ns += late_ns
                break
            tick += 1
            self.due_ns(tick)
        return tick

    def due_ns(self, tick: int) -> int:
        """Return the time at which `tick` is due, monotonic ns."""
        if self._start_ns is None:
            self._start_ns = self._due_ns = self._clock.monotonic_ns()
        if tick != self._tick:
            due_ns = self._start_ns + round(self._time_s(tick) * NS)
            self._interval_ns = due_ns - self._due_ns
            self._tick, self._due_ns = tick, due_ns
        return self._due_ns

    def _time_s(self, tick: int) -> float:
        footage = self._footage
        while True:
            lap, position = divmod(tick, footage.length) if footage.length else (0, tick)
            try:
                return lap * footage.duration_s + footage.time_s(position)
            except EndOfFootage:
                continue  # the length is known now, so that the position differs


class FastForward:
    """The timeline of `pace=fast`: every tick is due immediately."""

    def __init__(self, clock: SystemClock) -> None:
        self._clock = clock

    def next_tick(self, last: int | None) -> int:
        """Return the tick after `last`."""
        return 0 if last is None else last + 1

    def due_ns(self, tick: int) -> int:
        """Return the current time, monotonic ns."""
        return self._clock.monotonic_ns()


class PacedSource(FrameSource):
    """Plays footage like a live camera: a slow reader skips frames."""

    def __init__(
        self,
        uri: SourceUri,
        footage: Footage,
        fps: float,
        identity: str,
        clock: SystemClock,
        timeline: FileTimeline | None = None,
    ) -> None:
        """Play `footage` at `fps`, or at the times of `timeline` unless the URI sets a pace."""
        self.identity = identity
        self.uri = uri.text
        self._view = View(uri, footage.width, footage.height)
        self.width, self.height, self.fps = self._view.width, self._view.height, fps
        self._loop = uri.options.get('loop', True)
        self._clock = clock
        self._timeline: Timeline | FileTimeline | FastForward = FastForward(clock)
        if uri.options.get('pace') == 'fast':
            pass
        elif timeline is not None and 'lock' not in uri.options:
            self._timeline = timeline
        else:
            rate = Fraction(fps).limit_denominator(1001)
            self._timeline = Timeline(rate, clock, locked='lock' in uri.options)
        self._footage: Footage | None = footage
        self._closed = threading.Event()
        self._tick: int | None = None
        self._index = 0
        self._ready: tuple[int, np.ndarray] | None = None

    def read(self, timeout_s: float) -> Frame | None:
        """Wait until the next frame is due and return it, or None after `timeout_s` seconds."""
        footage = self._footage
        if footage is None:
            raise EndOfStream(f'{self.identity} is closed')
        tick = self._timeline.next_tick(self._tick)
        if self._ready is None or self._ready[0] != tick:
            # Decode before the frame is due, as a camera exposes before it delivers.
            image = self._view.apply(self._image(footage, tick), tick / self.fps)
            self._ready = (tick, image)
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
        """End the playback; a decoder in use by another thread is released when it is done."""
        self._closed.set()
        self._footage = None

    def _image(self, footage: Footage, tick: int) -> np.ndarray:
        while True:
            try:
                return footage.image(self._position(footage, tick))
            except EndOfFootage:
                continue  # the length is known now, so that the position differs

    def _position(self, footage: Footage, tick: int) -> int:
        length = footage.length
        if length is None:
            return tick
        if tick >= length and not self._loop:
            raise EndOfStream(f'{self.identity} has ended')
        return tick % length
