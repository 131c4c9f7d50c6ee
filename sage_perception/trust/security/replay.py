# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Rejects repeated LCTs by entity sequence and by LCT id, in bounded memory."""

from __future__ import annotations

from collections import OrderedDict

from sage_perception.core.lct import LCT


class ReplayGuard:
    """Remembers the last sequence of each entity and the ids of the last signed LCTs.

    One guard may serve the topics of several cameras: an LCT accepted on one topic is then
    rejected on the others. Memory is bounded: entities with a key are bounded by the trust store,
    and of entities without a key only the last `MAX_UNSIGNED` are remembered.
    """

    MAX_IDS = 4096
    MAX_UNSIGNED = 256

    def __init__(self) -> None:
        self._signed: dict[str, int] = {}
        self._unsigned: OrderedDict[str, int] = OrderedDict()
        self._ids: OrderedDict[bytes, None] = OrderedDict()

    def is_replay(self, lct: LCT, signed: bool) -> bool:
        """Return whether `lct`, or a later LCT of its entity, was accepted before.

        `signed` is whether the entity has a trusted key: unsigned LCTs cannot advance the
        sequence of an entity that signs.
        """
        last = (self._signed if signed else self._unsigned).get(lct.entity_id, -1)
        return lct.sequence <= last or lct.id in self._ids

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
