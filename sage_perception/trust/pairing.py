# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Puts together what two cameras saw at the same moment."""

from __future__ import annotations

from collections import deque
from typing import Generic, TypeVar

T = TypeVar('T')


class StampPairs(Generic[T]):
    """Pairs the items of a primary stream with those of another whose stamps are nearest.

    A primary item is given back with its partner as soon as none nearer can come; without one once
    `patience_ns` of stream time have passed. Stamps that jump backwards (a bag that starts over)
    begin both streams anew. All times in nanoseconds on one clock.
    """

    def __init__(self, slop_ns: int, patience_ns: int):
        self.slop_ns = slop_ns
        self.patience_ns = patience_ns
        self._primary: deque[tuple[int, T]] = deque()
        self._other: deque[tuple[int, T]] = deque()
        self._newest = {True: 0, False: 0}

    def add(self, stamp_ns: int, item: T, primary: bool) -> list[tuple[T, T | None, int]]:
        """Add an item; return the pairs it decides: primary, partner or None, stamp difference."""
        if stamp_ns < self._newest[primary] - self.patience_ns:
            self._primary.clear()
            self._other.clear()
            self._newest = {True: 0, False: 0}
        self._newest[primary] = max(self._newest[primary], stamp_ns)
        (self._primary if primary else self._other).append((stamp_ns, item))
        return self._decide()

    def expire(self, now_ns: int) -> list[tuple[T, T | None, int]]:
        """Return the primary items that have waited too long by `now_ns`."""
        return self._decide(now_ns)

    def _decide(self, now_ns: int = 0) -> list[tuple[T, T | None, int]]:
        decided = []
        now_ns = max(now_ns, *self._newest.values())
        while self._primary:
            stamp, item = self._primary[0]
            while self._other and self._other[0][0] < stamp - self.slop_ns:
                self._other.popleft()
            best = min(self._other, key=lambda other: abs(other[0] - stamp), default=None)
            if best is not None and abs(best[0] - stamp) > self.slop_ns:
                best = None
            # The streams are in order: once the other one is past this stamp, none nearer comes.
            settled = self._newest[False] >= stamp + (self.slop_ns if best is None else 0)
            if not settled and now_ns - stamp < self.patience_ns:
                break
            self._primary.popleft()
            if best is not None:
                self._other.remove(best)
            decided.append(
                (item, best[1], best[0] - stamp) if best is not None else (item, None, 0)
            )
        return decided
