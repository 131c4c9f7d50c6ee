# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""The codes of the records of a memory, in a table beside that of the records.

A code arrives with only some of the LCTs of a track, so the codes of a record are those that its
track had last, or gets next. They are not part of the LCT, whose signature covers only its own.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from sage_perception.codecs.directions import MAX_DIM, unpack_directions
from sage_perception.core.latent import Code
from sage_perception.core.track_codes import CARRIED, MAX_AGE_S
from sage_perception.memory.query import Query, conditions

Rows = Callable[[str, Sequence[Any]], list[tuple[Any, ...]]]
"""Runs a statement with `?` placeholders and returns its rows."""
TABLE = 'sage_memory_codes'
RECORDS = 'sage_memory'
SCHEMA = """
CREATE TABLE IF NOT EXISTS sage_memory_codes (
    lct {blob} NOT NULL,
    kind INTEGER NOT NULL,
    fingerprint {blob} NOT NULL,
    trust INTEGER NOT NULL,
    code {blob} NOT NULL,
    PRIMARY KEY (lct, kind)
);
"""


class CodeHits(NamedTuple):
    """IDs of records, `[N]`, and the cosines of their codes, `[N]`, the largest first.

    They are the best of the `compared` codes.
    """

    ids: list[int]
    cosines: list[float]
    compared: int


def insert(rows: Rows, lct_id: bytes, codes: Sequence[Code]) -> None:
    """Add the codes of a record; a code of the same kind is replaced."""
    for code in codes:
        if code.kind in CARRIED and len(code.payload) <= MAX_DIM:
            rows(
                f'INSERT INTO {TABLE} (lct, kind, fingerprint, trust, code) '
                'VALUES (?, ?, ?, ?, ?) '
                'ON CONFLICT (lct, kind) DO UPDATE SET fingerprint = excluded.fingerprint, '
                'trust = excluded.trust, code = excluded.code RETURNING kind',
                (lct_id, int(code.kind), code.model.fingerprint, code.trust, code.payload),
            )


def attach(
    rows: Rows, entity: str, track: int, code: Code, stamp_ns: int, began_ns: int | None = None
) -> int:
    """Add a code to the recent records of its track without one of its kind; return how many.

    The track began at `began_ns`, if that is known.
    """
    if code.kind not in CARRIED or len(code.payload) > MAX_DIM or not track:
        return 0
    kind, age_ns = int(code.kind), round(MAX_AGE_S * 1e9)
    first_ns = stamp_ns - age_ns
    if began_ns is not None:
        first_ns = max(first_ns, began_ns)
    missing = rows(
        f'SELECT r.lct FROM {RECORDS} r WHERE r.entity = ? AND r.track = ? '
        f'AND r.stamp BETWEEN ? AND ? AND NOT EXISTS '
        f'(SELECT 1 FROM {TABLE} c WHERE c.lct = r.lct AND c.kind = ?)',
        (entity, track, first_ns, stamp_ns + age_ns, kind),
    )
    for (lct_id,) in missing:
        insert(rows, lct_id, [code])
    return len(missing)


def nearest(rows: Rows, query: Query, code: np.ndarray, space: bytes, kind: int) -> CodeHits:
    """Return the `query.count` records whose codes in a space are most similar to a code.

    `query.like` is ignored. A row that is damaged is left out.
    """
    where, values = conditions(query)
    found = rows(
        f'SELECT {RECORDS}.id, c.code FROM {RECORDS} JOIN {TABLE} c ON c.lct = {RECORDS}.lct '
        f'WHERE c.kind = ? AND c.fingerprint = ? AND {where}',
        (kind, space, *values),
    )
    valid = [(i, each) for i, each in found if isinstance(each, bytes) and len(each) == code.size]
    directions = unpack_directions(b''.join(each for _, each in valid), code.size)
    known = directions.any(axis=1)
    ids = [valid[i][0] for i in np.flatnonzero(known)]
    cosines = directions[known] @ np.asarray(code, np.float32)
    order = np.argsort(-cosines, kind='stable')[: query.count]
    return CodeHits([ids[i] for i in order], [float(cosines[i]) for i in order], len(ids))


def counts(rows: Rows) -> dict[int, int]:
    """Return the number of codes by kind."""
    found = rows(f'SELECT kind, COUNT(*) FROM {TABLE} GROUP BY 1', ())
    return {kind: count for kind, count in found if isinstance(kind, int)}


def prune(rows: Rows) -> None:
    """Delete the codes of records that no longer exist."""
    rows(
        f'DELETE FROM {TABLE} WHERE NOT EXISTS '
        f'(SELECT 1 FROM {RECORDS} r WHERE r.lct = {TABLE}.lct) RETURNING kind',
        (),
    )
