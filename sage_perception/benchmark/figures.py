# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""The figures of a measurement, from the stamps and arrival times of messages."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

Arrivals = Sequence[tuple[int, int]]


@dataclass(frozen=True)
class Window:
    """The frames with stamps in [`start_ns`, `end_ns`) are measured."""

    start_ns: int
    end_ns: int

    @property
    def seconds(self) -> float:
        """Return the length of the window, seconds."""
        return (self.end_ns - self.start_ns) * 1e-9

    def select(self, arrivals: Arrivals) -> np.ndarray:
        """Return the stamps and receive times in the window, int64 `[N, 2]`, nanoseconds."""
        values = np.array(arrivals, np.int64).reshape(-1, 2)
        return values[(values[:, 0] >= self.start_ns) & (values[:, 0] < self.end_ns)]


def latencies_ms(arrivals: Arrivals, window: Window) -> np.ndarray:
    """Return the time from stamp to arrival of each message in the window, milliseconds."""
    selected = window.select(arrivals)
    return (selected[:, 1] - selected[:, 0]) * 1e-6


def percentile(values: np.ndarray, percent: float) -> float | None:
    """Return a percentile, rounded to 0.01; None without values."""
    return round(float(np.percentile(values, percent)), 2) if len(values) else None


def attended(published: Arrivals, encoded: Arrivals, window: Window) -> float:
    """Return the share of the published frames in the window that were encoded, [0, 1]."""
    frames = set(window.select(published)[:, 0].tolist())
    return len(frames & set(window.select(encoded)[:, 0].tolist())) / max(len(frames), 1)


def max_drop(published: Arrivals, encoded: Arrivals, window: Window) -> int:
    """Return the largest number of successive published frames that were not encoded."""
    done = set(window.select(encoded)[:, 0].tolist())
    longest = current = 0
    for stamp in sorted(set(window.select(published)[:, 0].tolist())):
        current = 0 if stamp in done else current + 1
        longest = max(longest, current)
    return longest


def jitter_ms(arrivals: Arrivals, window: Window) -> float | None:
    """Return the standard deviation of the intervals between arrivals, milliseconds."""
    times = np.sort(window.select(arrivals)[:, 1])
    return round(float(np.diff(times).std() * 1e-6), 2) if len(times) > 2 else None


def growth(arrivals: Arrivals, window: Window) -> float | None:
    """Return the 95th percentile of the latency in the last third over that in the first third.

    1 means that the latency does not grow. None if a third has no messages.
    """
    third = (window.end_ns - window.start_ns) // 3
    first = latencies_ms(arrivals, Window(window.start_ns, window.start_ns + third))
    last = latencies_ms(arrivals, Window(window.end_ns - third, window.end_ns))
    if not len(first) or not len(last):
        return None
    return round(float(np.percentile(last, 95) / np.percentile(first, 95)), 3)
