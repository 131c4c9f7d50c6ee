# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""What a memory store keeps beside its records: the codes of records, and the things of tracks."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from typing import Any

import numpy as np

from sage_perception.core.latent import Code
from sage_perception.core.track_codes import CARRIED
from sage_perception.memory import code_table, thing_table
from sage_perception.memory.query import Basis, Hit, Query, conditions
from sage_perception.memory.record import MemoryRecord
from sage_perception.memory.row import COLUMNS
from sage_perception.memory.space import Space

TABLE = code_table.RECORDS
TABLES = (code_table.TABLE, thing_table.TRACKS, thing_table.EVENTS)
SCHEMA = code_table.SCHEMA + thing_table.SCHEMA
MAX_EVIDENCE = 3  # events in the evidence of a hit


class StoreExtensions(ABC):
    """The codes and things of a `MemoryStore`.

    `_extended` is false for a memory of an earlier release, which has no such tables until a node
    opens it.
    """

    _extended = True

    @property
    @abstractmethod
    def space(self) -> Space:
        """Return the latent space of the store."""

    def attach_codes(
        self,
        entity: str,
        track: int,
        codes: Sequence[Code],
        stamp_ns: int,
        began_ns: int | None = None,
    ) -> int:
        """Add codes to the recent records of a track that have none of the kind; return how many.

        `entity` observed the track, and the codes are of a frame with the stamp `stamp_ns`.
        Records before `began_ns`, if it is known, are of another track with the same number.
        """
        with self._guarded():
            self._begin()
            return sum(
                code_table.attach(self._rows, entity, track, code, stamp_ns, began_ns)
                for code in codes
            )

    def nearest_codes(
        self, query: Query, code: np.ndarray, space: bytes, kind: int
    ) -> tuple[list[Hit], int]:
        """Return the records whose codes are most similar to a code `[C]`, the best first.

        Also returns how many records were compared. `space` is the fingerprint of the space of
        the code, and `kind` its `LatentKind`. The filters and the count are those of `query`; its
        `like` is ignored. Empty if the store has no such codes.
        """
        if not self._extended:
            return [], 0
        with self._guarded():
            found = code_table.nearest(self._rows, query, code, space, kind)
            records = self._read(found.ids)
        hits = [
            Hit(records[row_id], cosine, Basis.CODE)
            for row_id, cosine in zip(found.ids, found.cosines, strict=True)
            if row_id in records
        ]
        return hits, found.compared

    def save_things(
        self, tracks: Sequence[thing_table.TrackRow], events: Sequence[thing_table.Event]
    ) -> None:
        """Add or update the things of tracks, and add events; durable after `commit`."""
        with self._guarded():
            self._begin()
            thing_table.save(self._rows, tracks, events)

    def _check_things(self, query: Query) -> None:
        """Raise `ValueError` for a query of a thing, if the store has no things."""
        if query.thing is not None and not self._extended:
            raise ValueError(f'{self} is of an earlier release: it has no things')

    def known_tracks(
        self, count: int, skip: Callable[[thing_table.TrackRow], bool] = lambda _: False
    ) -> list[tuple[thing_table.TrackRow, MemoryRecord]]:
        """Return the tracks that were seen last, each with its newest record in the space.

        The records of those to `skip` are not read.
        """
        if not self._extended:
            return []
        found = []
        with self._guarded():
            for track in thing_table.newest(self._rows, count):
                if skip(track):
                    continue
                rows = self._rows(
                    f'SELECT id, {", ".join(COLUMNS)} FROM {TABLE} WHERE entity = ? AND track = ? '
                    'AND stamp BETWEEN ? AND ? AND fingerprint = ? ORDER BY stamp DESC LIMIT 1',
                    (*track[:4], self.space.model.fingerprint),
                )
                found += [(track, record) for record in self._decode(rows).values()]
        return found

    def with_things(self, hits: Sequence[Hit]) -> list[Hit]:
        """Return hits with the things that they show and the newest evidence for that."""
        if not self._extended:
            return list(hits)
        found = []
        with self._guarded():
            for hit in hits:
                lct = hit.record.lct
                thing = thing_table.thing_of(
                    self._rows, hit.record.entity, lct.latent.track_id, lct.stamp_ns
                )
                events = thing_table.events_of(self._rows, thing, MAX_EVIDENCE) if thing else []
                evidence = '; '.join(event.text for event in events)
                found.append(replace(hit, thing=thing, evidence=evidence))
        return found

    def extra_counts(self) -> tuple[dict[str, int], dict[str, int]]:
        """Return the number of codes by kind, and the number of things, merges and splits."""
        if not self._extended:
            return {}, {'things': 0, 'merges': 0, 'splits': 0}
        with self._guarded():
            codes, things = code_table.counts(self._rows), thing_table.counts(self._rows)
        return {kind.name.lower(): codes[kind] for kind in CARRIED if kind in codes}, things

    def _prune(self) -> None:
        """Delete what belongs to deleted records only."""
        if self._extended:
            code_table.prune(self._rows)
            thing_table.prune(self._rows)

    def _nearest_of_thing(
        self, directions: np.ndarray, query: Query
    ) -> list[list[tuple[int, float]]]:
        """Return what `_nearest` does for the records of one thing, which are few."""
        where, values = conditions(query)
        rows = self._rows(
            f'SELECT id, {", ".join(COLUMNS)} FROM {TABLE} WHERE fingerprint = ? AND {where}',
            (self.space.model.fingerprint, *values),
        )
        records = self._decode(rows)
        if not records:
            return [[] for _ in directions]
        own = self.space.directions(
            np.stack([record.lct.latent.mean for record in records.values()])
        )
        pairs = [
            sorted(zip(records, map(float, own @ direction), strict=True), key=lambda p: -p[1])
            for direction in directions
        ]
        return [found[: query.count] for found in pairs]

    @abstractmethod
    def _guarded(self) -> AbstractContextManager[None]:
        """Roll back and raise `StoreError` for an error of the database."""

    @abstractmethod
    def _begin(self) -> None:
        """Begin a transaction, unless there is one."""

    @abstractmethod
    def _rows(self, sql: str, values: Sequence[Any]) -> list[tuple[Any, ...]]:
        """Return the result of a statement with `?` placeholders."""

    @abstractmethod
    def _read(self, ids: Sequence[int]) -> dict[int, MemoryRecord]:
        """Return the valid records with the given IDs."""

    @abstractmethod
    def _decode(self, rows: Sequence[tuple[Any, ...]]) -> dict[int, MemoryRecord]:
        """Return the valid records of rows of an ID and `COLUMNS`, by ID."""
