# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Synchronization of the frames of several cameras by their stamps."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeAlias, TypeVar

T = TypeVar('T')
U = TypeVar('U')


@dataclass(frozen=True)
class StampPair(Generic[T, U]):
    """A primary item and its partner, or None; `delta_ns` is the partner's stamp minus its own."""

    item: T
    partner: U | None
    delta_ns: int


class StampPairing(Generic[T, U]):
    """Pairs each item of a primary stream with the item of another stream nearest in time.

    A pair is returned as soon as no nearer partner can be expected, judged by the last period of
    the other stream. An item without a partner within `slop_ns` is returned alone after
    `timeout_ns` of stream time. Each primary item is returned exactly once, in the order of
    arrival. A stamp that jumps back by more than `timeout_ns`, as when a bag restarts, resets both
    streams. All times are nanoseconds on one clock.
    """

    def __init__(self, slop_ns: int, timeout_ns: int):
        self.slop_ns = slop_ns
        self.timeout_ns = timeout_ns
        self._reset()

    def _reset(self) -> None:
        self._primary: deque[tuple[int, T]] = deque()
        self._other: deque[tuple[int, U]] = deque()
        self._newest_primary_ns = self._newest_other_ns = 0
        self._period_ns = 0  # between the last two stamps of the other stream

    def add_primary(self, stamp_ns: int, item: T) -> list[StampPair[T, U]]:
        """Add an item of the primary stream; return the pairs that are now decided."""
        dropped = self._reset_after_jump(stamp_ns, self._newest_primary_ns)
        self._newest_primary_ns = max(self._newest_primary_ns, stamp_ns)
        self._primary.append((stamp_ns, item))
        return dropped + self._decide()

    def add_other(self, stamp_ns: int, item: U) -> list[StampPair[T, U]]:
        """Add an item of the other stream; return the pairs that are now decided."""
        dropped = self._reset_after_jump(stamp_ns, self._newest_other_ns)
        if self._newest_other_ns:
            self._period_ns = max(stamp_ns - self._newest_other_ns, 0)
        self._newest_other_ns = max(self._newest_other_ns, stamp_ns)
        self._other.append((stamp_ns, item))
        return dropped + self._decide()

    def expire(self, now_ns: int) -> list[StampPair[T, U]]:
        """Return the primary items whose timeout has passed at `now_ns`."""
        return self._decide(now_ns)

    def _reset_after_jump(self, stamp_ns: int, newest_ns: int) -> list[StampPair[T, U]]:
        """Reset if the stamp jumped back; return the items that were waiting, unpaired."""
        if stamp_ns >= newest_ns - self.timeout_ns:
            return []
        waiting: list[StampPair[T, U]] = [StampPair(item, None, 0) for _, item in self._primary]
        self._reset()
        return waiting

    def _decide(self, now_ns: int = 0) -> list[StampPair[T, U]]:
        decided: list[StampPair[T, U]] = []
        now_ns = max(now_ns, self._newest_primary_ns, self._newest_other_ns)
        while self._primary:
            stamp, item = self._primary[0]
            self._drop_before(stamp - self.slop_ns)
            best = min(self._other, key=lambda other: abs(other[0] - stamp), default=None)
            if best is not None and abs(best[0] - stamp) > self.slop_ns:
                best = None
            # A stamp beyond this one cannot be nearer than the best partner so far.
            furthest = stamp + (self.slop_ns if best is None else abs(best[0] - stamp))
            expected = self._newest_other_ns + (self._period_ns if best is not None else 0)
            if expected < furthest and now_ns - stamp < self.timeout_ns:
                break
            self._primary.popleft()
            if best is None:
                decided.append(StampPair(item, None, 0))
            else:
                self._other.remove(best)
                decided.append(StampPair(item, best[1], best[0] - stamp))
        self._drop_before(now_ns - self.timeout_ns - self.slop_ns)
        return decided

    def _drop_before(self, stamp_ns: int) -> None:
        while self._other and self._other[0][0] < stamp_ns:
            self._other.popleft()


@dataclass(frozen=True)
class Partner(Generic[T]):
    """A frame of another camera, captured `delta_ns` after the primary frame."""

    item: T
    delta_ns: int


Synchronized: TypeAlias = tuple[T, dict[str, Partner[T]]]
"""A primary frame, and the frames of the other cameras at the same time by camera."""


@dataclass(eq=False)
class _Waiting(Generic[T]):
    item: T
    undecided: int
    partners: dict[str, Partner[T]] = field(default_factory=dict)


class FrameSynchronizer(Generic[T]):
    """Groups the frames of several cameras by time; the first camera is the primary one.

    Each frame of the primary camera is returned exactly once, in the order of arrival, with the
    frames of the other cameras that are paired with it. See `StampPairing` for the rules.
    """

    def __init__(self, cameras: Sequence[str], slop_ns: int, timeout_ns: int):
        self._primary = cameras[0]
        self._pairings: Mapping[str, StampPairing[_Waiting[T], T]] = {
            other: StampPairing(slop_ns, timeout_ns) for other in cameras[1:]
        }

    def add(self, camera: str, stamp_ns: int, item: T) -> list[Synchronized[T]]:
        """Add a frame of a camera; return the primary frames that are now complete."""
        if camera != self._primary:
            return self._complete(camera, self._pairings[camera].add_other(stamp_ns, item))
        if not self._pairings:
            return [(item, {})]
        waiting = _Waiting(item, len(self._pairings))
        complete: list[Synchronized[T]] = []
        for other, pairing in self._pairings.items():
            complete += self._complete(other, pairing.add_primary(stamp_ns, waiting))
        return complete

    def expire(self, now_ns: int) -> list[Synchronized[T]]:
        """Return the primary frames whose timeout has passed at `now_ns`."""
        complete: list[Synchronized[T]] = []
        for other, pairing in self._pairings.items():
            complete += self._complete(other, pairing.expire(now_ns))
        return complete

    def _complete(
        self, other: str, decided: Iterable[StampPair[_Waiting[T], T]]
    ) -> list[Synchronized[T]]:
        complete: list[Synchronized[T]] = []
        for pair in decided:
            waiting = pair.item
            if pair.partner is not None:
                waiting.partners[other] = Partner(pair.partner, pair.delta_ns)
            waiting.undecided -= 1
            if not waiting.undecided:
                complete.append((waiting.item, waiting.partners))
        return complete
