# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Rates and durations for diagnostics."""

from __future__ import annotations

import math
import threading
import time
from collections import deque


class Rate:
    """Counts events and measures their rate over the last `window_s` seconds. Thread-safe."""

    def __init__(self, window_s: float = 5.0):
        self.count = 0
        self._lock = threading.Lock()
        self._window_s = window_s
        self._since = time.monotonic()
        self._times: deque[float] = deque()

    def tick(self) -> None:
        """Count one event."""
        with self._lock:
            self.count += 1
            self._times.append(time.monotonic())
            self._drop_old()

    @property
    def hz(self) -> float:
        """Return the rate, Hz."""
        with self._lock:
            self._drop_old()
            events = len(self._times)
        span = min(self._window_s, time.monotonic() - self._since)
        return events / span if span > 0 else 0.0

    def _drop_old(self) -> None:
        oldest = time.monotonic() - self._window_s
        while self._times and self._times[0] < oldest:
            self._times.popleft()


class ByteRate:
    """Measures bytes per second over the last `window_s` seconds."""

    def __init__(self, window_s: float = 5.0):
        self._window_s = window_s
        self._since = time.monotonic()
        self._sizes: deque[tuple[float, int]] = deque()

    def add(self, size: int) -> None:
        """Add a message of `size` bytes."""
        self._sizes.append((time.monotonic(), size))
        self._drop_old()

    @property
    def per_s(self) -> float:
        """Return the rate, bytes per second."""
        self._drop_old()
        span = min(self._window_s, time.monotonic() - self._since)
        return sum(size for _, size in self._sizes) / span if span > 0 else 0.0

    def _drop_old(self) -> None:
        oldest = time.monotonic() - self._window_s
        while self._sizes and self._sizes[0][0] < oldest:
            self._sizes.popleft()


class Durations:
    """Keeps the last `size` durations for percentiles."""

    def __init__(self, size: int = 150):
        self._seconds: deque[float] = deque(maxlen=size)

    def add(self, seconds: float) -> None:
        """Add one duration."""
        self._seconds.append(seconds)

    def percentile_ms(self, percent: float) -> float:
        """Return a percentile in milliseconds; NaN without durations."""
        ordered = sorted(self._seconds)
        if not ordered:
            return math.nan
        return ordered[min(len(ordered) - 1, int(len(ordered) * percent / 100))] * 1e3
