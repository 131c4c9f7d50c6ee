# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""The memory of one robot: a SQLite file, searched by likeness in RAM.

SQLite's journal keeps it whole through crashes and power cuts. Why no vector extension does the
search is in docs/memory.md.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from sage_perception.memory.index import Index
from sage_perception.memory.record import COLUMNS
from sage_perception.memory.sql_store import TABLE, VERSION, Query, Space, Store, StoreFault

APPLICATION = int.from_bytes(b'sage', 'big')
WAIT_S = 5.0  # for another process that writes

SCHEMA = f"""
BEGIN IMMEDIATE;
PRAGMA application_id = {APPLICATION};
PRAGMA user_version = {VERSION};
CREATE TABLE IF NOT EXISTS {TABLE} (
    id INTEGER PRIMARY KEY,
    lct BLOB NOT NULL UNIQUE,
    fingerprint BLOB NOT NULL,
    entity TEXT NOT NULL,
    track INTEGER NOT NULL,
    stamp INTEGER NOT NULL,
    retention REAL NOT NULL,
    latent BLOB NOT NULL,
    detail TEXT NOT NULL
);
CREATE INDEX IF NOT EXISTS {TABLE}_by_stamp ON {TABLE} (stamp);
CREATE INDEX IF NOT EXISTS {TABLE}_by_entity ON {TABLE} (entity, track, stamp);
CREATE INDEX IF NOT EXISTS {TABLE}_by_retention ON {TABLE} (retention);
COMMIT;
"""


class SqliteStore(Store):
    """A memory in a file; see `Store`."""

    ERRORS = (sqlite3.Error, OSError)

    def __init__(
        self, path: Path, space: Space | None, capacity: int, half_life_s: float, create: bool
    ):
        super().__init__(space, capacity, half_life_s)
        self._path = path
        if not create and not path.is_file():
            raise StoreFault(f'{path}: there is no memory; memory_node makes one')
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StoreFault(f'{path}: {error}') from error
        self._index: Index | None = None
        self._seen = -1  # data_version that the index is of
        try:
            # One caller at a time, but an executor may have made another thread of it.
            self._db = sqlite3.connect(
                path, timeout=WAIT_S, isolation_level=None, check_same_thread=False
            )
            try:
                self._prepare()
            except BaseException:
                self._db.close()
                raise
        except sqlite3.Error as error:
            raise StoreFault(f'{path} cannot be opened as a memory: {error}') from error

    def __str__(self):
        return str(self._path)

    def _prepare(self) -> None:
        owner, version = (self._pragma(name) for name in ('application_id', 'user_version'))
        if not owner and not version and not self._pragma('schema_version'):  # empty
            # A commit is on the disk when it returns, readers and the writer do not wait.
            self._db.execute('PRAGMA journal_mode = WAL')
            self._db.executescript(SCHEMA)
        elif owner != APPLICATION:
            raise StoreFault(f'{self} is a database of something else: name another file')
        elif version != VERSION:
            raise StoreFault(f'{self} is a memory of version {version}, this is {VERSION}')
        self._db.execute('PRAGMA synchronous = FULL')

    def close(self) -> None:
        """Let go of the file."""
        self._db.close()

    def _insert(self, rows: list[tuple], directions: np.ndarray) -> int:
        index = self._fresh_index()
        if not self._db.in_transaction:
            self._db.execute('BEGIN IMMEDIATE')
        sql = (
            f'INSERT INTO {TABLE} ({", ".join(COLUMNS)}) VALUES ({", ".join("?" * len(COLUMNS))}) '
            'ON CONFLICT (lct) DO NOTHING RETURNING id'
        )
        added = 0
        for row, direction in zip(rows, directions, strict=True):
            new = self._db.execute(sql, row).fetchone()
            if new is not None:
                _, _, entity, track, stamp, *_ = row
                index.add(new, direction[None], [stamp], [track], [entity])
                added += 1
        return added

    def _delete(self, where: str, values: Sequence) -> int:
        gone = [
            row[0] for row in self._rows(f'DELETE FROM {TABLE} WHERE {where} RETURNING id', values)
        ]
        if self._index is not None:
            self._index.remove(gone)
        return len(gone)

    def _rows(self, sql: str, values: Sequence) -> list[tuple]:
        return self._db.execute(sql, tuple(values)).fetchall()

    def _nearest(self, directions: np.ndarray, query: Query) -> list[list[tuple[int, float]]]:
        return self._fresh_index().nearest(
            directions, query.count, query.since_ns, query.until_ns, query.entity, query.track
        )

    def _closest(self, directions: np.ndarray) -> np.ndarray:
        return self._fresh_index().closest(directions)

    def _count(self) -> int:
        return self._rows(f'SELECT COUNT(*) FROM {TABLE}', ())[0][0]

    def _size(self) -> int:
        files = (self._path, self._path.with_name(self._path.name + '-wal'))
        return sum(file.stat().st_size for file in files if file.exists())

    def _commit(self) -> None:
        if self._db.in_transaction:
            self._db.execute('COMMIT')

    def _roll_back(self) -> None:
        self._index = None
        if self._db.in_transaction:
            self._db.rollback()

    def _pragma(self, name: str) -> int:
        return self._db.execute(f'PRAGMA {name}').fetchone()[0]

    def _fresh_index(self) -> Index:
        """Return the index; read anew when another process has written to the file."""
        seen = self._pragma('data_version')
        if self._index is None or seen != self._seen:
            self._index, self._seen = self._read_index(), seen
        return self._index

    def _read_index(self) -> Index:
        dim = self.space.mean.size
        index = Index(dim)
        rows = self._rows(
            f'SELECT id, latent, stamp, track, entity FROM {TABLE} WHERE fingerprint = ?',
            (self.space.model.fingerprint,),
        )
        sound = [row for row in rows if len(row[1]) == 4 * dim]
        self._unreadable |= {row[0] for row in rows} - {row[0] for row in sound}
        if sound:
            ids, latents, stamps, tracks, entities = zip(*sound, strict=True)
            numbers = np.frombuffer(b''.join(latents), '<f4').reshape(-1, dim)
            index.add(ids, self.space.directions(numbers), stamps, tracks, entities)
        return index
