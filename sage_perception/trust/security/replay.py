# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Rejects repeated LCTs by the sequences of each key and by LCT id, in bounded memory."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable, Collection

from sage_perception.core.lct import LCT

CLOCK_MARGIN_NS = 15_000_000_000
"""Difference of clocks up to which a sequence is not ahead of the time, nanoseconds: above the
tolerance of time stamps, so that an LCT of a clock that far ahead is rejected by its stamp, and
above `sequence.RESERVED_NS`, so that a restarted entity is not ahead."""
START_LIMIT_NS = 60_000_000_000
"""Longest time from the start of an entity, the time of its first sequence, to its first LCT."""
MAX_STEP = 1024
"""Largest step of a sequence that is ahead of the time, as after the clock was set back."""

LCTS = 'lcts'
"""The stream of an entity's LCTs; announcements of each kind have one of their own."""

_NONE = (-1, -1)


class ReplayGuard:
    """Remembers the last sequence of each key and the ids of the last signed LCTs.

    One guard may serve the topics of several cameras: an LCT accepted on one topic is then
    rejected on the others. Memory is bounded: keys are bounded by the trust store, and of entities
    without a key only the last `MAX_UNSIGNED` are remembered.

    Each key has its own sequences, so that a new key starts without those of a stolen one. A
    sequence far ahead of the time raises the remembered one only to `CLOCK_MARGIN_NS` ahead of
    it: sequences follow the time (`SequenceCounter`), so those of an honest holder of the same key
    are accepted again after that margin. LCTs with a sequence ahead of it are accepted; the ids
    and the tolerance of the time stamps prevent their replay.

    A remembered sequence that is further ahead of the time shows that the clock was set back; an
    entity that starts again without a sequence file then uses lower sequences. They are accepted
    from the lowest time since then, so that LCTs recorded before stay rejected, except those of an
    entity that started within the time that is repeated. `clock` returns the time of the system in
    nanoseconds.
    """

    MAX_IDS = 4096
    MAX_UNSIGNED = 256

    def __init__(self, clock: Callable[[], int] = time.time_ns) -> None:
        self._clock = clock
        # The latest time, and the lowest one since: the same unless the clock was set back.
        self._latest_ns = self._lowest_ns = clock()
        self._last: dict[tuple[str, str, bytes], int] = {}
        # The last index of each key for LCTs: those of an array share a sequence.
        self._index: dict[tuple[str, bytes], int] = {}
        self._unsigned: OrderedDict[str, tuple[int, int]] = OrderedDict()
        self._ids: OrderedDict[bytes, None] = OrderedDict()

    def is_replay(self, lct: LCT, keys: Collection[bytes]) -> bool:
        """Return whether `lct`, or a later LCT of its entity, was accepted before.

        `keys` are the public keys that may have signed it: all valid ones before its signature is
        checked, and then the one that verifies it. They are empty for an entity without a trusted
        key: unsigned LCTs cannot advance the sequence of an entity that signs.
        """
        if lct.id in self._ids:
            return True
        if not keys:
            # Anyone can write the sequence of an unsigned LCT: one ahead of the time is no bound.
            last = self._unsigned.get(lct.entity_id, _NONE)
            return _position(lct) <= last and last[0] <= self._clock() + CLOCK_MARGIN_NS
        return all(
            self._is_repeated(lct, key) or self.is_older(lct.sequence, LCTS, lct.entity_id, key)
            for key in keys
        )

    def _is_repeated(self, lct: LCT, key: bytes) -> bool:
        """Return whether this LCT of an array, or one behind it, was accepted before."""
        last = self._last.get((LCTS, lct.entity_id, key))
        return lct.sequence == last and lct.index <= self._index.get((lct.entity_id, key), -1)

    def is_older(self, sequence: int, stream: str, entity_id: str, key: bytes) -> bool:
        """Return whether the holder of a key no longer uses `sequence` in a stream."""
        now_ns = self._clock()
        if now_ns >= self._latest_ns:
            self._latest_ns = self._lowest_ns = now_ns
        self._lowest_ns = min(self._lowest_ns, now_ns)
        last = self._last.get((stream, entity_id, key), -1)
        set_back = last > now_ns + CLOCK_MARGIN_NS
        return sequence < last and not (set_back and sequence >= self._lowest_ns - START_LIMIT_NS)

    def note(self, lct: LCT, key: bytes) -> None:
        """Remember an accepted LCT; `key` is the public key that verified it, empty if none."""
        if not key:
            self._unsigned[lct.entity_id] = _position(lct)
            self._unsigned.move_to_end(lct.entity_id)
            if len(self._unsigned) > self.MAX_UNSIGNED:
                self._unsigned.popitem(last=False)
            return
        self.note_sequence(lct.sequence, LCTS, lct.entity_id, key)
        self._index[lct.entity_id, key] = lct.index
        self._ids[lct.id] = None
        if len(self._ids) > self.MAX_IDS:
            self._ids.popitem(last=False)

    def note_sequence(self, sequence: int, stream: str, entity_id: str, key: bytes) -> None:
        """Remember an accepted sequence of a key."""
        place = (stream, entity_id, key)
        last = self._last.get(place, -1)
        bound = self._clock() + CLOCK_MARGIN_NS
        if sequence > bound and not 0 <= sequence - last <= MAX_STEP:
            sequence = max(last, bound)
        self._last[place] = sequence


def _position(lct: LCT) -> tuple[int, int]:
    """Return the sequence of an LCT, and its index in its array."""
    return lct.sequence, lct.index
