# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Rejects repeated LCTs by entity sequence and by LCT id, in bounded memory."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable

from sage_perception.core.lct import LCT

CLOCK_MARGIN_NS = 10_000_000_000
"""Difference of clocks up to which a sequence is not ahead of the time, nanoseconds; above the
tolerance of time stamps, so that an LCT of a clock that far ahead is rejected by its stamp."""
START_LIMIT_NS = 60_000_000_000
"""Longest time from the start of an entity, the time of its first sequence, to its first LCT."""


class ReplayGuard:
    """Remembers the last sequence of each entity and the ids of the last signed LCTs.

    One guard may serve the topics of several cameras: an LCT accepted on one topic is then
    rejected on the others. Memory is bounded: entities with a key are bounded by the trust store,
    and of entities without a key only the last `MAX_UNSIGNED` are remembered.

    Sequences start at the time in nanoseconds and count LCTs, so that they stay below the time. A
    remembered sequence ahead of it shows that the clock was set back; then an entity that starts
    again uses lower sequences. They are accepted from the lowest time since then, so that LCTs
    recorded before stay rejected, except those of an entity that started within the time that is
    repeated. `clock` returns the time of the system in nanoseconds.
    """

    MAX_IDS = 4096
    MAX_UNSIGNED = 256

    def __init__(self, clock: Callable[[], int] = time.time_ns) -> None:
        self._clock = clock
        # The latest time, and the lowest one since: the same unless the clock was set back.
        self._latest_ns = self._lowest_ns = clock()
        self._signed: dict[str, int] = {}
        self._unsigned: OrderedDict[str, int] = OrderedDict()
        self._ids: OrderedDict[bytes, None] = OrderedDict()

    def is_replay(self, lct: LCT, signed: bool) -> bool:
        """Return whether `lct`, or a later LCT of its entity, was accepted before.

        `signed` is whether the entity has a trusted key: unsigned LCTs cannot advance the
        sequence of an entity that signs.
        """
        if lct.id in self._ids:
            return True
        if not signed:
            # Anyone can write the sequence of an unsigned LCT: one ahead of the time is no bound.
            last = self._unsigned.get(lct.entity_id, -1)
            return lct.sequence <= last <= self._clock() + CLOCK_MARGIN_NS
        last = self._signed.get(lct.entity_id, -1)
        return lct.sequence == last or self.is_older(lct.sequence, last)

    def is_older(self, sequence: int, last: int) -> bool:
        """Return whether an entity that has used the sequence `last` no longer uses `sequence`."""
        now_ns = self._clock()
        if now_ns >= self._latest_ns:
            self._latest_ns = self._lowest_ns = now_ns
        self._lowest_ns = min(self._lowest_ns, now_ns)
        set_back = last > now_ns + CLOCK_MARGIN_NS
        return sequence < last and not (set_back and sequence >= self._lowest_ns - START_LIMIT_NS)

    def note(self, lct: LCT, signed: bool) -> None:
        """Remember an accepted LCT; `signed` as for `is_replay`."""
        if not signed:
            self._unsigned[lct.entity_id] = lct.sequence
            self._unsigned.move_to_end(lct.entity_id)
            if len(self._unsigned) > self.MAX_UNSIGNED:
                self._unsigned.popitem(last=False)
            return
        self._signed[lct.entity_id] = lct.sequence
        self._ids[lct.id] = None
        if len(self._ids) > self.MAX_IDS:
            self._ids.popitem(last=False)
