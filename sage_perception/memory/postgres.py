# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""The memory of a fleet: a table in PostgreSQL with pgvector, shared by all robots."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import numpy as np

from sage_perception.core.text import one_line
from sage_perception.memory import extensions
from sage_perception.memory.query import Query, conditions
from sage_perception.memory.row import COLUMNS
from sage_perception.memory.space import Space
from sage_perception.memory.sql_store import TABLE, VERSION, MemoryStore, StoreError

try:
    import psycopg
    from psycopg.conninfo import conninfo_to_dict
except ImportError as error:
    raise StoreError(
        'a memory in PostgreSQL requires psycopg: pip install "psycopg[binary]"'
    ) from error

TIMEOUT_S = 5  # until a server that does not respond counts as lost
VERSION_COMMENT = f'a memory of version {VERSION}'  # the comment on the table

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
COMMENT ON TABLE {TABLE} IS '{VERSION_COMMENT}';
CREATE INDEX IF NOT EXISTS {TABLE}_by_stamp ON {TABLE} (stamp);
CREATE INDEX IF NOT EXISTS {TABLE}_by_entity ON {TABLE} (entity, track, stamp);
CREATE INDEX IF NOT EXISTS {TABLE}_by_retention ON {TABLE} (retention);
"""


class PostgresStore(MemoryStore):
    """A memory store in a database; see `MemoryStore`. `url` is a libpq connection URL.

    libpq takes the password from `~/.pgpass`, `PGPASSFILE`, a service file or `PGPASSWORD`. The
    search is exact, as in `SqliteStore`.
    """

    ERRORS = (psycopg.Error,)

    def __init__(
        self, url: str, space: Space | None, capacity: int, half_life_s: float, create: bool
    ) -> None:
        super().__init__(space, capacity, half_life_s)
        self._name = name_of(url)
        try:
            self._db = psycopg.connect(
                url, connect_timeout=TIMEOUT_S, tcp_user_timeout=TIMEOUT_S * 1000
            )
            try:
                self._prepare(create)
            except BaseException:
                self._db.close()
                raise
        except psycopg.Error as error:
            raise StoreError(f'{self} cannot be opened as a memory: {one_line(error)}') from error

    def __str__(self) -> str:
        return self._name

    def _prepare(self, create: bool) -> None:
        self._rows("SELECT set_config('statement_timeout', ?, false)", (f'{TIMEOUT_S}s',))
        [(table, comment)] = self._rows(
            "SELECT to_regclass(?), obj_description(to_regclass(?), 'pg_class')", (TABLE, TABLE)
        )
        if comment not in (None, VERSION_COMMENT):  # a copied table may lack its comment
            raise StoreError(f'{self}: {TABLE} is {comment}, expected {VERSION_COMMENT}')
        if not table:
            if not create:
                raise StoreError(f'{self}: there is no memory; memory_node creates one')
            # If several robots start together, one creates the table and the others wait.
            self._rows('SELECT pg_advisory_xact_lock(hashtext(?))', (TABLE,))
            self._db.execute(SCHEMA.encode())
        extra = extensions.TABLES
        self._extended = all(
            self._rows('SELECT to_regclass(?) IS NOT NULL', (name,))[0][0] for name in extra
        )
        if create and not self._extended:
            self._rows('SELECT pg_advisory_xact_lock(hashtext(?))', (TABLE,))
            self._db.execute(extensions.SCHEMA.format(blob='BYTEA').encode())
            self._extended = True
        self._db.commit()

    def close(self) -> None:
        """Close the connection."""
        self._db.close()

    def _insert(self, rows: list[tuple[Any, ...]], directions: np.ndarray) -> int:
        placeholders = ', '.join(['%s'] * len(COLUMNS))
        sql = (
            f'INSERT INTO {TABLE} ({", ".join(COLUMNS)}, direction) '
            f'VALUES ({placeholders}, %s::vector) ON CONFLICT (lct) DO NOTHING'
        )
        with self._db.cursor() as cursor:
            cursor.executemany(
                sql.encode(),
                [
                    (*row, _vector(direction))
                    for row, direction in zip(rows, directions, strict=True)
                ],
            )
            return cursor.rowcount

    def _delete(self, where: str, values: Sequence[Any]) -> int:
        return len(self._rows(f'DELETE FROM {TABLE} WHERE {where} RETURNING id', values))

    def _rows(self, sql: str, values: Sequence[Any]) -> list[tuple[Any, ...]]:
        return self._db.execute(sql.replace('?', '%s').encode(), tuple(values)).fetchall()

    def _nearest(self, directions: np.ndarray, query: Query) -> list[list[tuple[int, float]]]:
        where, values = conditions(query)
        sql = (
            f'SELECT id, -(direction <#> ?::vector) FROM {TABLE} WHERE fingerprint = ? AND {where}'
            ' ORDER BY 2 DESC, id LIMIT ?'
        )
        fingerprint = self.space.model.fingerprint
        hits = []
        for direction in directions:
            rows = self._rows(sql, (_vector(direction), fingerprint, *values, query.count))
            hits.append([(row_id, cosine) for row_id, cosine in rows])
        return hits

    def _closest(self, directions: np.ndarray) -> np.ndarray:
        sql = f'SELECT MAX(-(direction <#> ?::vector)) FROM {TABLE} WHERE fingerprint = ?'
        fingerprint = self.space.model.fingerprint
        found = [self._rows(sql, (_vector(each), fingerprint))[0][0] for each in directions]
        return np.array([-1.0 if cosine is None else cosine for cosine in found])

    def _count(self) -> int:
        return self._rows(f'SELECT COUNT(*) FROM {TABLE}', ())[0][0]

    def _size(self) -> int:
        return self._rows('SELECT pg_total_relation_size(?::regclass)', (TABLE,))[0][0]

    def _begin(self) -> None:
        """Do nothing: psycopg begins a transaction with the first statement."""

    def _commit(self) -> None:
        self._db.commit()

    def _roll_back(self) -> None:
        if not self._db.closed:
            self._db.rollback()


def name_of(url: str) -> str:
    """Return a connection URL with only user, host, port and database, or its service.

    Raises `StoreError`, which does not quote the URL, if it cannot be parsed or has a password.
    """
    with suppress(psycopg.Error):  # its text quotes the URL
        parts = {key: str(value) for key, value in conninfo_to_dict(url).items()}
        if parts.keys() & {'password', 'sslpassword'}:
            raise StoreError('the URL of a memory in PostgreSQL contains a password: remove it')
        if parts.keys() == {'service'}:
            return f'postgresql:///?service={parts["service"]}'
        user, host, port, name = (parts.get(key, '') for key in ('user', 'host', 'port', 'dbname'))
        if '@' not in host + name and not port.strip('0123456789,'):
            return f'postgresql://{user and user + "@"}{host}{port and ":" + port}/{name}'
    raise StoreError(
        'the URL of a memory in PostgreSQL cannot be parsed: write '
        'postgresql://user@host/database, with @ in a name as %40, / as %2F and % as %25'
    )


def _vector(direction: np.ndarray) -> str:
    """Return a vector as pgvector text; nine digits represent every float32 exactly."""
    return '[' + ','.join(f'{value:.9g}' for value in direction) + ']'
