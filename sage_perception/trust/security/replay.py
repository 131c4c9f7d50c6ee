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


def is_ahead(sequence: int, now_ns: int) -> bool:
    """Return whether a clock was set back since an entity used `sequence`.

    Sequences start at the time in nanoseconds and count LCTs, so that they stay below the time. A
    sequence ahead of it does not order the LCTs that follow.
    """
    return sequence > now_ns + CLOCK_MARGIN_NS


class ReplayGuard:
    """Remembers the last sequence of each entity and the ids of the last signed LCTs.

    One guard may serve the topics of several cameras: an LCT accepted on one topic is then
    rejected on the others. Memory is bounded: entities with a key are bounded by the trust store,
    and of entities without a key only the last `MAX_UNSIGNED` are remembered.

    After the clock was set back, an entity that starts again uses lower sequences. They are
    accepted, see `is_ahead`; until the time reaches the old sequence, only the time stamps and the
    last ids exclude recorded LCTs. `clock` returns the time of the system in nanoseconds.
    """

    MAX_IDS = 4096
    MAX_UNSIGNED = 256

    def __init__(self, clock: Callable[[], int] = time.time_ns) -> None:
        self._clock = clock
        self._signed: dict[str, int] = {}
        self._unsigned: OrderedDict[str, int] = OrderedDict()
        self._ids: OrderedDict[bytes, None] = OrderedDict()

    def is_replay(self, lct: LCT, signed: bool) -> bool:
        """Return whether `lct`, or a later LCT of its entity, was accepted before.

        `signed` is whether the entity has a trusted key: unsigned LCTs cannot advance the
        sequence of an entity that signs.
        """
        last = (self._signed if signed else self._unsigned).get(lct.entity_id, -1)
        if lct.id in self._ids:
            return True
        return lct.sequence <= last and not is_ahead(last, self._clock())

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
