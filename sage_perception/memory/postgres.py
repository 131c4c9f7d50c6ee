# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""The memory of a fleet: PostgreSQL with pgvector, shared by all who know its URL."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress

import numpy as np

from sage_perception.memory.record import COLUMNS
from sage_perception.memory.sql_store import (
    TABLE,
    VERSION,
    Query,
    Space,
    Store,
    StoreFault,
    conditions,
)

try:
    import psycopg
    from psycopg.conninfo import conninfo_to_dict
except ImportError as error:
    raise StoreFault(
        'a memory in PostgreSQL needs psycopg: pip install "psycopg[binary]"'
    ) from error

WAIT_S = 5  # for a server that does not answer
MADE_BY = f'a memory of version {VERSION}'  # the comment on the table

SCHEMA = f"""
CREATE EXTENSION IF NOT EXISTS vector;
CREATE TABLE IF NOT EXISTS {TABLE} (
    id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    lct BYTEA NOT NULL UNIQUE,
    fingerprint BYTEA NOT NULL,
    entity TEXT NOT NULL,
    track BIGINT NOT NULL,
    stamp BIGINT NOT NULL,
    retention DOUBLE PRECISION NOT NULL,
    latent BYTEA NOT NULL,
    detail TEXT NOT NULL,
    direction VECTOR NOT NULL
);
COMMENT ON TABLE {TABLE} IS '{MADE_BY}';
CREATE INDEX IF NOT EXISTS {TABLE}_by_stamp ON {TABLE} (stamp);
CREATE INDEX IF NOT EXISTS {TABLE}_by_entity ON {TABLE} (entity, track, stamp);
CREATE INDEX IF NOT EXISTS {TABLE}_by_retention ON {TABLE} (retention);
"""


class PostgresStore(Store):
    """A memory in a database, by its libpq URL; see `Store`. The search is exact, as there."""

    ERRORS = (psycopg.Error,)

    def __init__(
        self, url: str, space: Space | None, capacity: int, half_life_s: float, create: bool
    ):
        super().__init__(space, capacity, half_life_s)
        self._name = shown(url)
        try:
            self._db = psycopg.connect(url, connect_timeout=WAIT_S, tcp_user_timeout=WAIT_S * 1000)
            try:
                self._prepare(create)
            except BaseException:
                self._db.close()
                raise
        except psycopg.Error as error:
            raise StoreFault(
                f'{self} cannot be opened as a memory: {" ".join(str(error).split())}'
            ) from error

    def __str__(self):
        return self._name

    def _prepare(self, create: bool) -> None:
        self._rows("SELECT set_config('statement_timeout', ?, false)", (f'{WAIT_S}s',))
        [(there, comment)] = self._rows(
            "SELECT to_regclass(?), obj_description(to_regclass(?), 'pg_class')", (TABLE, TABLE)
        )
        if comment not in (None, MADE_BY):  # a copy may have been made without comments
            raise StoreFault(f'{self}: {TABLE} is {comment}, this is {MADE_BY}')
        if not there:
            if not create:
                raise StoreFault(f'{self}: there is no memory; memory_node makes one')
            # Of several robots that come at once one makes it, the others wait.
            self._rows('SELECT pg_advisory_xact_lock(hashtext(?))', (TABLE,))
            self._db.execute(SCHEMA)
        self._db.commit()

    def close(self) -> None:
        """Let go of the connection."""
        self._db.close()

    def _insert(self, rows: list[tuple], directions: np.ndarray) -> int:
        marks = ', '.join(['%s'] * len(COLUMNS))
        with self._db.cursor() as cursor:
            cursor.executemany(
                f'INSERT INTO {TABLE} ({", ".join(COLUMNS)}, direction) '
                f'VALUES ({marks}, %s::vector) ON CONFLICT (lct) DO NOTHING',
                [(*row, _text(way)) for row, way in zip(rows, directions, strict=True)],
            )
            return cursor.rowcount

    def _delete(self, where: str, values: Sequence) -> int:
        return len(self._rows(f'DELETE FROM {TABLE} WHERE {where} RETURNING id', values))

    def _rows(self, sql: str, values: Sequence) -> list[tuple]:
        return self._db.execute(sql.replace('?', '%s'), tuple(values)).fetchall()

    def _nearest(self, directions: np.ndarray, query: Query) -> list[list[tuple[int, float]]]:
        where, values = conditions(query)
        sql = (
            f'SELECT id, -(direction <#> ?::vector) FROM {TABLE} WHERE fingerprint = ? AND {where}'
            ' ORDER BY 2 DESC, id LIMIT ?'
        )
        fingerprint = self.space.model.fingerprint
        return [
            self._rows(sql, (_text(way), fingerprint, *values, query.count)) for way in directions
        ]

    def _closest(self, directions: np.ndarray) -> np.ndarray:
        sql = f'SELECT MAX(-(direction <#> ?::vector)) FROM {TABLE} WHERE fingerprint = ?'
        fingerprint = self.space.model.fingerprint
        found = [self._rows(sql, (_text(way), fingerprint))[0][0] for way in directions]
        return np.array([-1.0 if cosine is None else cosine for cosine in found])

    def _count(self) -> int:
        return self._rows(f'SELECT COUNT(*) FROM {TABLE}', ())[0][0]

    def _size(self) -> int:
        return self._rows('SELECT pg_total_relation_size(?::regclass)', (TABLE,))[0][0]

    def _commit(self) -> None:
        self._db.commit()

    def _roll_back(self) -> None:
        if not self._db.closed:
            self._db.rollback()


def shown(url: str) -> str:
    """Return where a URL leads: server, database and user, no password wherever it stands.

    Raises `StoreFault` where that cannot be told, as of a password that is not escaped.
    """
    with suppress(psycopg.Error):  # which quotes what it cannot read
        parts = conninfo_to_dict(url)
        user, host, port, name = (parts.get(key, '') for key in ('user', 'host', 'port', 'dbname'))
        if '@' not in host + name and not port.strip('0123456789,'):
            return f'postgresql://{user and user + "@"}{host}{port and ":" + port}/{name}'
    raise StoreFault(
        'the URL of a memory in PostgreSQL cannot be read: in its password write %40 for @, '
        '%2F for / and %25 for %'
    )


def _text(direction: np.ndarray) -> str:
    """Return a vector as pgvector reads it; nine digits tell every float32."""
    return '[' + ','.join(f'{number:.9g}' for number in direction) + ']'
