# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Puts together what several cameras saw at the same moment."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Generic, NamedTuple, TypeVar

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


class Partner(NamedTuple, Generic[T]):
    """What another camera saw at a moment of the primary one, `delta_ns` later."""

    item: T
    delta_ns: int


@dataclass
class _Waiting(Generic[T]):
    item: T
    undecided: int
    partners: dict[str, Partner[T]] = field(default_factory=dict)


class FrameSynchronizer(Generic[T]):
    """Gathers what all cameras saw at each moment of the first one.

    Each item of the first camera is given back exactly once, in the order they were added, with
    those of the others that saw the same moment; `StampPairs` tells when that is.
    """

    def __init__(self, cameras: Sequence[str], slop_ns: int, patience_ns: int):
        self._primary = cameras[0]
        self._pairs: Mapping[str, StampPairs] = {
            other: StampPairs(slop_ns, patience_ns) for other in cameras[1:]
        }

    def add(self, camera: str, stamp_ns: int, item: T) -> list[tuple[T, dict[str, Partner[T]]]]:
        """Add what a camera saw; return the moments that are now complete."""
        if camera != self._primary:
            return self._settle(camera, self._pairs[camera].add(stamp_ns, item, False))
        if not self._pairs:
            return [(item, {})]
        waiting = _Waiting(item, len(self._pairs))
        complete = []
        for other, pairs in self._pairs.items():
            complete += self._settle(other, pairs.add(stamp_ns, waiting, True))
        return complete

    def expire(self, now_ns: int) -> list[tuple[T, dict[str, Partner[T]]]]:
        """Return the moments that have waited too long for somebody by `now_ns`."""
        complete = []
        for other, pairs in self._pairs.items():
            complete += self._settle(other, pairs.expire(now_ns))
        return complete

    def _settle(self, other: str, decided: list) -> list[tuple[T, dict[str, Partner[T]]]]:
        complete = []
        for waiting, partner, delta_ns in decided:
            if partner is not None:
                waiting.partners[other] = Partner(partner, delta_ns)
            waiting.undecided -= 1
            if not waiting.undecided:
                complete.append((waiting.item, waiting.partners))
        return complete
