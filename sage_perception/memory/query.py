# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Queries to a memory store and their results."""

from __future__ import annotations

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

    def __post_init__(self) -> None:
        if not 1 <= self.count <= MAX_HITS:
            raise ValueError(f'count is {self.count}: it must be 1 to {MAX_HITS}')
        if not (0 <= self.since_ns <= MAX_STAMP_NS and 0 <= self.until_ns <= MAX_STAMP_NS):
            raise ValueError('since and until must be between 1970 and 2262')
        if self.track is not None and not 0 <= self.track <= MAX_TRACK_ID:
            raise ValueError(f'track is {self.track}: it must be 0 to {MAX_TRACK_ID}')
        if self.since_ns > self.until_ns:
            raise ValueError('since must not be later than until')
        if self.entity is not None and '\0' in self.entity:
            raise ValueError('entity must not contain a NUL character')


@dataclass(frozen=True, eq=False)
class Hit:
    """A record that a query found.

    `similarity` is the centered cosine to `Query.like` in [-1, 1], or NaN without one.
    """

    record: MemoryRecord
    similarity: float


def conditions(query: Query) -> tuple[str, list[Any]]:
    """Return the filters of a query as an SQL condition with `?` placeholders, and its values."""
    terms = ['stamp BETWEEN ? AND ?']
    values: list[Any] = [query.since_ns, query.until_ns]
    for column, value in (('entity', query.entity), ('track', query.track)):
        if value is not None:
            terms.append(f'{column} = ?')
            values.append(value)
    return ' AND '.join(terms), values
