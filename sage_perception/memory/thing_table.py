# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""The things of a memory: which tracks show the same object, and why.

A row of `sage_memory_tracks` is a track of an entity from its first to its last time, and the
thing that it shows. A row of `sage_memory_events` is a merge of two things or a split of one, with
its evidence. Both are kept in the store, so that robots which share it share the things.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from sage_perception.memory.code_table import RECORDS, Rows

TRACKS, EVENTS = 'sage_memory_tracks', 'sage_memory_events'
MAX_EVENTS = 10_000
MAX_REASON = 200
SCHEMA = """
CREATE TABLE IF NOT EXISTS sage_memory_tracks (
    entity TEXT NOT NULL,
    track BIGINT NOT NULL,
    since BIGINT NOT NULL,
    until BIGINT NOT NULL,
    thing BIGINT NOT NULL,
    PRIMARY KEY (entity, track, since)
);
CREATE INDEX IF NOT EXISTS sage_memory_tracks_by_thing ON sage_memory_tracks (thing);
CREATE TABLE IF NOT EXISTS sage_memory_events (
    stamp BIGINT NOT NULL,
    kind TEXT NOT NULL,
    thing BIGINT NOT NULL,
    other BIGINT NOT NULL,
    evidence DOUBLE PRECISION NOT NULL,
    reason TEXT NOT NULL
);
CREATE INDEX IF NOT EXISTS sage_memory_events_by_thing ON sage_memory_events (thing, stamp);
"""


class TrackRow(NamedTuple):
    """A track of an entity between two stamps, nanoseconds, and the thing that it shows."""

    entity: str
    track: int
    since_ns: int
    until_ns: int
    thing: int


class Event(NamedTuple):
    """A merge of `other` into `thing`, or a split of `other` from it.

    `kind` is 'merge' or 'split', `evidence` the log-likelihood ratio that decided, and `reason` is
    one line of text.
    """

    stamp_ns: int
    kind: str
    thing: int
    other: int
    evidence: float
    reason: str

    @property
    def text(self) -> str:
        """Return the event in one line."""
        return f'{self.kind} ({self.evidence:+.1f}): {self.reason}'


def save(rows: Rows, tracks: Sequence[TrackRow], events: Sequence[Event]) -> None:
    """Add or update tracks, and add events."""
    for track in tracks:
        rows(
            f'INSERT INTO {TRACKS} (entity, track, since, until, thing) VALUES (?, ?, ?, ?, ?) '
            'ON CONFLICT (entity, track, since) DO UPDATE SET until = excluded.until, '
            'thing = excluded.thing RETURNING thing',
            track,
        )
    for event in events:
        rows(
            f'INSERT INTO {EVENTS} (stamp, kind, thing, other, evidence, reason) '
            'VALUES (?, ?, ?, ?, ?, ?) RETURNING thing',
            event._replace(reason=event.reason[:MAX_REASON]),
        )


def newest(rows: Rows, count: int) -> list[TrackRow]:
    """Return the tracks that were seen last, the newest first."""
    found = rows(
        f'SELECT entity, track, since, until, thing FROM {TRACKS} ORDER BY until DESC LIMIT ?',
        (count,),
    )
    return [
        TrackRow(str(entity), int(track), int(since), int(until), int(thing))
        for entity, track, since, until, thing in found
    ]


def thing_of(rows: Rows, entity: str, track: int, stamp_ns: int) -> int:
    """Return the thing that a track shows at a time, 0 if it is not known."""
    found = rows(
        f'SELECT thing FROM {TRACKS} WHERE entity = ? AND track = ? AND since <= ? AND until >= ? '
        'ORDER BY since DESC LIMIT 1',
        (entity, track, stamp_ns, stamp_ns),
    )
    return int(found[0][0]) if found else 0


def events_of(rows: Rows, thing: int, count: int) -> list[Event]:
    """Return the newest events of a thing, the newest first."""
    found = rows(
        f'SELECT stamp, kind, thing, other, evidence, reason FROM {EVENTS} '
        'WHERE thing = ? OR other = ? ORDER BY stamp DESC LIMIT ?',
        (thing, thing, count),
    )
    return [
        Event(int(stamp), str(kind), int(own), int(other), float(evidence), str(reason))
        for stamp, kind, own, other, evidence, reason in found
    ]


def counts(rows: Rows) -> dict[str, int]:
    """Return the number of things, merges and splits."""
    [(things,)] = rows(f'SELECT COUNT(DISTINCT thing) FROM {TRACKS}', ())
    kinds: dict[str, int] = dict(rows(f'SELECT kind, COUNT(*) FROM {EVENTS} GROUP BY 1', ()))
    return {'things': things, 'merges': kinds.get('merge', 0), 'splits': kinds.get('split', 0)}


def prune(rows: Rows) -> None:
    """Delete the tracks without records and the events of things without tracks."""
    rows(
        f'DELETE FROM {TRACKS} WHERE NOT EXISTS (SELECT 1 FROM {RECORDS} r '
        f'WHERE r.entity = {TRACKS}.entity AND r.track = {TRACKS}.track '
        f'AND r.stamp BETWEEN {TRACKS}.since AND {TRACKS}.until) RETURNING thing',
        (),
    )
    rows(
        f'DELETE FROM {EVENTS} WHERE NOT EXISTS (SELECT 1 FROM {TRACKS} t '
        f'WHERE t.thing IN ({EVENTS}.thing, {EVENTS}.other)) OR stamp < COALESCE((SELECT stamp '
        f'FROM {EVENTS} ORDER BY stamp DESC LIMIT 1 OFFSET ?), 0) RETURNING thing',
        (MAX_EVENTS,),
    )
