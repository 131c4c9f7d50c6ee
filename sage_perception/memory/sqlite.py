# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""The memory of one robot: an SQLite file, with an exact similarity search in RAM.

SQLite's write-ahead log keeps the file consistent through crashes and power failures. For the
comparison with vector extensions and libraries, see docs/memory.md.
"""

from __future__ import annotations

import logging
import os
import sqlite3
import stat
from collections.abc import Sequence
from itertools import compress
from pathlib import Path
from typing import Any

import numpy as np

from sage_perception.core.reading import require_regular
from sage_perception.memory import extensions
from sage_perception.memory.index import Index
from sage_perception.memory.query import Query
from sage_perception.memory.row import COLUMNS
from sage_perception.memory.space import Space
from sage_perception.memory.sql_store import TABLE, VERSION, MemoryStore, StoreError

APPLICATION_ID = int.from_bytes(b'sage', 'big')
LOCK_TIMEOUT_S = 5.0  # while another process writes
NO_DATA_VERSION = -1
PRIVATE = 0o600
IN_MEMORY = ':memory:'
"""The path of a database without a file."""
SIDE_FILES = ('-wal', '-shm', '-journal')
LOG = logging.getLogger(__name__)

SCHEMA = f"""
BEGIN IMMEDIATE;
PRAGMA application_id = {APPLICATION_ID};
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
EXTRA = f'BEGIN IMMEDIATE; {extensions.SCHEMA.format(blob="BLOB")} COMMIT;'


class SqliteStore(MemoryStore):
    """A memory store in a file; see `MemoryStore`."""

    ERRORS = (sqlite3.Error, OSError)

    def __init__(
        self, path: Path, space: Space | None, capacity: int, half_life_s: float, create: bool
    ) -> None:
        super().__init__(space, capacity, half_life_s)
        self._path = path
        if not create and not (path.is_file() and path.stat().st_size):
            raise StoreError(f'{path}: there is no memory; memory_node creates one')
        try:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            if create and str(path) != IN_MEMORY:
                _make_private(path)
        except OSError as error:
            raise StoreError(f'{path}: {error.strerror}') from error
        self._index: Index | None = None
        self._index_version = NO_DATA_VERSION
        try:
            # An executor may run callbacks in several threads, but one at a time.
            self._db = sqlite3.connect(
                path, timeout=LOCK_TIMEOUT_S, isolation_level=None, check_same_thread=False
            )
            # A damaged row must not fail the whole query: row validation rejects bytes.
            self._db.text_factory = _decode_text
            try:
                self._prepare(create)
            except BaseException:
                self._db.close()
                raise
        except sqlite3.Error as error:
            raise StoreError(f'{path} cannot be opened as a memory: {error}') from error

    def __str__(self) -> str:
        return str(self._path)

    def _prepare(self, create: bool) -> None:
        owner, version = (self._pragma(name) for name in ('application_id', 'user_version'))
        if not owner and not version and not self._pragma('schema_version'):  # an empty file
            # In WAL mode readers and the writer do not block each other.
            self._db.execute('PRAGMA journal_mode = WAL')
            self._db.executescript(SCHEMA)
        elif owner != APPLICATION_ID:
            raise StoreError(f'{self} is a database of another application: name another file')
        elif version != VERSION:
            raise StoreError(
                f'{self} is a memory of version {version}, expected version {VERSION}'
            )
        extra = extensions.TABLES
        marks = ', '.join('?' * len(extra))
        [(found,)] = self._rows(
            f"SELECT COUNT(*) FROM sqlite_master WHERE type = 'table' AND name IN ({marks})", extra
        )
        self._extended = found == len(extra)
        if create and not self._extended:
            self._db.executescript(EXTRA)
            self._extended = True
        # A commit returns when its data is on the disk.
        self._db.execute('PRAGMA synchronous = FULL')

    def close(self) -> None:
        """Close the file."""
        self._db.close()

    def _insert(self, rows: list[tuple[Any, ...]], directions: np.ndarray) -> int:
        index = self._current_index()
        self._begin()
        sql = (
            f'INSERT INTO {TABLE} ({", ".join(COLUMNS)}) VALUES ({", ".join("?" * len(COLUMNS))}) '
            'ON CONFLICT (lct) DO NOTHING RETURNING id'
        )
        added = 0
        for row, direction in zip(rows, directions, strict=True):
            inserted = self._db.execute(sql, row).fetchone()
            if inserted is not None:
                _, _, entity, track, stamp, *_ = row
                index.add(inserted, direction[None], [stamp], [track], [entity])
                added += 1
        return added

    def _delete(self, where: str, values: Sequence[Any]) -> int:
        sql = f'DELETE FROM {TABLE} WHERE {where} RETURNING id'
        deleted = [row[0] for row in self._rows(sql, values)]
        if self._index is not None:
            self._index.remove(deleted)
        return len(deleted)

    def _rows(self, sql: str, values: Sequence[Any]) -> list[tuple[Any, ...]]:
        return self._db.execute(sql, tuple(values)).fetchall()

    def _nearest(self, directions: np.ndarray, query: Query) -> list[list[tuple[int, float]]]:
        return self._current_index().nearest(
            directions, query.count, query.since_ns, query.until_ns, query.entity, query.track
        )

    def _closest(self, directions: np.ndarray) -> np.ndarray:
        return self._current_index().closest(directions)

    def _count(self) -> int:
        return self._rows(f'SELECT COUNT(*) FROM {TABLE}', ())[0][0]

    def _size(self) -> int:
        files = (self._path, self._path.with_name(self._path.name + '-wal'))
        return sum(file.stat().st_size for file in files if file.exists())

    def _begin(self) -> None:
        if not self._db.in_transaction:
            self._db.execute('BEGIN IMMEDIATE')

    def _commit(self) -> None:
        if self._db.in_transaction:
            self._db.execute('COMMIT')

    def _roll_back(self) -> None:
        self._index = None
        if self._db.in_transaction:
            self._db.rollback()

    def _pragma(self, name: str) -> int:
        return self._db.execute(f'PRAGMA {name}').fetchone()[0]

    def _current_index(self) -> Index:
        """Return the index; rebuild it after another process has written to the file."""
        version = self._pragma('data_version')
        if self._index is None or version != self._index_version:
            self._index, self._index_version = self._build_index(), version
        return self._index

    def _build_index(self) -> Index:
        space = self.space
        index = Index(space.dim)
        rows = self._rows(
            f'SELECT id, latent, stamp, track, entity FROM {TABLE} WHERE fingerprint = ?',
            (space.model.fingerprint,),
        )
        typed = [row for row in rows if self._has_column_types(*row)]
        if not typed:
            return index
        latents = np.frombuffer(b''.join(row[1] for row in typed), '<f4').reshape(-1, space.dim)
        # A single NaN in the index would make the novelty of every latent NaN.
        finite = np.isfinite(latents).all(axis=1)
        for row_id, *_ in compress(typed, ~finite):
            self._unreadable.setdefault(row_id, 'latent has values that are not finite')
        valid = list(compress(typed, finite))
        if valid:
            ids, _, stamps, tracks, entities = zip(*valid, strict=True)
            index.add(ids, space.directions(latents[finite]), stamps, tracks, entities)
        return index

    def _has_column_types(
        self, row_id: int, latent: Any, stamp: Any, track: Any, entity: Any
    ) -> bool:
        reason = ''
        if not isinstance(latent, bytes) or len(latent) != 4 * self.space.dim:
            reason = f'latent is not {4 * self.space.dim} bytes'
        elif not (isinstance(stamp, int) and isinstance(track, int) and isinstance(entity, str)):
            reason = 'stamp, track or entity has another type than its column'
        if reason:
            self._unreadable.setdefault(row_id, reason)
        return not reason


def _make_private(path: Path) -> None:
    """Create the file readable by its owner only, or take the permissions of others from it.

    A latent decodes to an image. SQLite gives the permissions of the file to its write-ahead log.
    Raises `OSError`, also for anything but a regular file, which SQLite would wait for.
    """
    try:
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, PRIVATE))
        return
    except FileExistsError:
        require_regular(path)
    for file in (path, *(path.with_name(path.name + suffix) for suffix in SIDE_FILES)):
        try:
            found = file.stat()
            if stat.S_IMODE(found.st_mode) & 0o077:
                file.chmod(PRIVATE)
                LOG.warning('%s was accessible to other users: its mode is now 0600', file)
        except FileNotFoundError:
            continue
        except OSError as error:  # of another user, or on a read-only disk
            LOG.warning('%s is accessible to other users: %s', file, error.strerror)


def _decode_text(data: bytes) -> str | bytes:
    try:
        return data.decode()
    except UnicodeDecodeError:
        return data
