# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Puts together what two cameras saw at the same moment."""

from __future__ import annotations

from collections import deque
from typing import Generic, TypeVar

T = TypeVar('T')


class StampPairs(Generic[T]):
    """Pairs the items of a primary stream with those of another whose stamps are nearest.

    A primary item is given back with its partner as soon as no nearer one is to be expected, going
    by the rhythm of the other stream; without one once `patience_ns` of stream time have passed.
    Each is given back exactly once, in the order they were added.
    Stamps that jump backwards (a bag that starts over) begin both streams anew. All times are in
    nanoseconds on one clock.
    """

    def __init__(self, slop_ns: int, patience_ns: int):
        self.slop_ns = slop_ns
        self.patience_ns = patience_ns
        self._clear()

    def _clear(self) -> None:
        self._primary: deque[tuple[int, T]] = deque()
        self._other: deque[tuple[int, T]] = deque()
        self._newest = {True: 0, False: 0}
        self._period_ns = 0  # between the last two of the other stream

    def add(self, stamp_ns: int, item: T, primary: bool) -> list[tuple[T, T | None, int]]:
        """Add an item; return the pairs it decides: primary, partner or None, stamp difference."""
        given_up = []
        if stamp_ns < self._newest[primary] - self.patience_ns:
            given_up = [(waiting, None, 0) for _, waiting in self._primary]
            self._clear()
        if not primary and self._newest[False]:
            self._period_ns = max(stamp_ns - self._newest[False], 0)
        self._newest[primary] = max(self._newest[primary], stamp_ns)
        (self._primary if primary else self._other).append((stamp_ns, item))
        return given_up + self._decide()

    def expire(self, now_ns: int) -> list[tuple[T, T | None, int]]:
        """Return the primary items that have waited too long by `now_ns`."""
        return self._decide(now_ns)

    def _decide(self, now_ns: int = 0) -> list[tuple[T, T | None, int]]:
        decided = []
        now_ns = max(now_ns, *self._newest.values())
        while self._primary:
            stamp, item = self._primary[0]
            self._drop_before(stamp - self.slop_ns)
            best = min(self._other, key=lambda other: abs(other[0] - stamp), default=None)
            if best is not None and abs(best[0] - stamp) > self.slop_ns:
                best = None
            furthest = stamp + (self.slop_ns if best is None else abs(best[0] - stamp))
            expected = self._newest[False] + (self._period_ns if best is not None else 0)
            if expected < furthest and now_ns - stamp < self.patience_ns:
                break
            self._primary.popleft()
            if best is None:
                decided.append((item, None, 0))
            else:
                self._other.remove(best)
                decided.append((item, best[1], best[0] - stamp))
        self._drop_before(now_ns - self.patience_ns - self.slop_ns)
        return decided

    def _drop_before(self, stamp_ns: int) -> None:
        while self._other and self._other[0][0] < stamp_ns:
            self._other.popleft()
