# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Queries to a memory store and their results."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import Any

import numpy as np

from sage_perception.memory.record import MemoryRecord

MAX_HITS = 1000
MAX_STAMP_NS = 2**63 - 1  # columns are int64
MAX_TRACK_ID = 2**32 - 1


@dataclass(frozen=True, eq=False)
class Query:
    """Filters and order of a search.

    Attributes
    ----------
    like : np.ndarray, optional
        Latent of the store's space, float32 `[D]`. The most similar records come first; without
        it, the newest.
    since_ns, until_ns : int
        Range of the LCT stamp, nanoseconds since 1970, both ends included.
    entity : str, optional
        Observing entity.
    track : int, optional
        Track ID of the latent.
    thing : int, optional
        Object that the record shows, see `things`.
    count : int
        Maximum number of hits, 1 to `MAX_HITS`.

    Raises
    ------
    ValueError
        If a value is out of range.

    """

    like: np.ndarray | None = None
    since_ns: int = 0
    until_ns: int = MAX_STAMP_NS
    entity: str | None = None
    track: int | None = None
    count: int = 10
    thing: int | None = None

    def __post_init__(self) -> None:
        if not 1 <= self.count <= MAX_HITS:
            raise ValueError(f'count is {self.count}: it must be 1 to {MAX_HITS}')
        if not (0 <= self.since_ns <= MAX_STAMP_NS and 0 <= self.until_ns <= MAX_STAMP_NS):
            raise ValueError('since and until must be between 1970 and 2262')
        if self.track is not None and not 0 <= self.track <= MAX_TRACK_ID:
            raise ValueError(f'track is {self.track}: it must be 0 to {MAX_TRACK_ID}')
        if self.thing is not None and not 0 < self.thing <= MAX_STAMP_NS:
            raise ValueError(f'thing is {self.thing}: it must be 1 to {MAX_STAMP_NS}')
        if self.since_ns > self.until_ns:
            raise ValueError('since must not be later than until')
        if self.entity is not None and '\0' in self.entity:
            raise ValueError('entity must not contain a NUL character')


class Basis(enum.IntEnum):
    """What the similarity of a hit compares; the `BASIS_*` constants of `sage_msgs/Memory`."""

    UNKNOWN = 0
    LATENT = 1
    CODE = 2
    DECODED = 3


@dataclass(frozen=True, eq=False)
class Hit:
    """A record that a query found.

    `similarity` is the centered cosine to `Query.like` in [-1, 1], or NaN without one; a search by
    words has scores of its own. `basis` tells what it compares. `thing` is the object that the
    record shows, 0 if it is not known, and `evidence` the newest reasons for that.
    """

    record: MemoryRecord
    similarity: float
    basis: Basis = Basis.UNKNOWN
    thing: int = 0
    evidence: str = ''


def conditions(query: Query) -> tuple[str, list[Any]]:
    """Return the filters of a query as an SQL condition with `?` placeholders, and its values."""
    terms = ['stamp BETWEEN ? AND ?']
    values: list[Any] = [query.since_ns, query.until_ns]
    for column, value in (('entity', query.entity), ('track', query.track)):
        if value is not None:
            terms.append(f'{column} = ?')
            values.append(value)
    if query.thing is not None:
        terms.append(
            'EXISTS (SELECT 1 FROM sage_memory_tracks t WHERE t.thing = ? AND t.entity = '
            'sage_memory.entity AND t.track = sage_memory.track AND stamp BETWEEN t.since AND '
            't.until)'
        )
        values.append(query.thing)
    return ' AND '.join(terms), values
