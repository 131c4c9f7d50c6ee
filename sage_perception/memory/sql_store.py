# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""The interface of a memory store, and the code common to SQLite and PostgreSQL.

>>> space = Space.of('tinyvae')
>>> with open_store('memory.db', space) as store:  # or postgresql://user@host/fleet
...     store.add(records)
...     store.commit()
...     hits = store.find(Query(like=z, since_ns=yesterday_ns, entity='robot1/cam0'))
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from types import MappingProxyType, TracebackType
from typing import Any, TypeVar

import numpy as np

from sage_perception.core.text import one_line
from sage_perception.memory import code_table
from sage_perception.memory.extensions import StoreExtensions
from sage_perception.memory.query import Basis, Hit, Query, conditions
from sage_perception.memory.record import MemoryRecord
from sage_perception.memory.row import COLUMNS, check_record, decode_row, encode_row
from sage_perception.memory.space import Space
from sage_perception.memory.validation import DamagedRow
from sage_perception.trust.security.validation import find_latent_fault

TABLE = 'sage_memory'
VERSION = 1  # of the table; a new key in `detail` does not need a new version
MAX_VALUES = 500  # in one statement: SQLite limits them
PRUNED_SHARE = 0.01
"""Share of the capacity that is displaced before codes and things are pruned, which takes long."""

Self = TypeVar('Self', bound='MemoryStore')


class StoreError(OSError):
    """A store cannot be opened, read or written; the text has one line and no password."""


@dataclass(frozen=True)
class Contents:
    """A summary of a store.

    The stamps are None for an empty store. `models` maps the fingerprints of models in hexadecimal
    to their number of records, and `model_names` to the name of the model in the newest record.
    `entities` maps entity IDs to their number of records.
    """

    records: int
    size_bytes: int
    oldest_ns: int | None
    newest_ns: int | None
    models: dict[str, int]
    model_names: dict[str, str]
    entities: dict[str, int]


@dataclass(frozen=True)
class CommitResult:
    """The size of a store after a commit, and the number of records that the commit deleted."""

    records: int
    size_bytes: int
    forgotten: int


class MemoryStore(StoreExtensions):
    """At most `capacity` memory records, searchable by similarity within one latent space.

    Added records are found immediately, and are durable after `commit`. Searches
    other than by similarity require no space and cover the records of all models.

    A row that is not a valid record, because it is damaged or of a later version, is skipped and
    listed in `unreadable`. Every method raises `StoreError` if the database fails; records added
    since the last commit are then lost.
    """

    ERRORS: tuple[type[Exception], ...]  # of the database driver

    def __init__(self, space: Space | None, capacity: int, half_life_s: float) -> None:
        if capacity < 1 or not half_life_s > 0:
            raise ValueError(
                f'capacity is {capacity} and half_life_s is {half_life_s}: both must be positive'
            )
        self.capacity = capacity
        self.half_life_s = half_life_s
        self._space = space
        self._unreadable: dict[int, str] = {}
        self._displaced = 0  # records since the last pruning

    def __enter__(self: Self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    @property
    def space(self) -> Space:
        """Return the latent space. Raises `ValueError` if the store was opened without one."""
        if self._space is None:
            raise ValueError(f'{self} was opened without a model: search by similarity needs one')
        return self._space

    @property
    def unreadable(self) -> Mapping[int, str]:
        """Return the rows skipped so far: their IDs, and the reasons."""
        return MappingProxyType(self._unreadable)

    def add(self, records: Sequence[MemoryRecord]) -> int:
        """Add records; return how many are new. A record of a known LCT ID is not added again.

        Raises `ValueError` for a latent of another space, for values that are not finite, and for
        an LCT that no message can hold.
        """
        for record in records:
            self._check(record)
        if not records:
            return 0
        latents = np.stack([record.lct.latent.mean for record in records])
        with self._guarded():
            rows = [encode_row(record, self.half_life_s) for record in records]
            added = self._insert(rows, self.space.directions(latents))
            for record in records:
                code_table.insert(self._rows, record.lct.id, record.codes)
            return added

    def commit(self) -> CommitResult:
        """Make added records durable, and delete the lowest retention ranks above the capacity.

        Both happen in one transaction: a crash leaves all of it or nothing.
        """
        with self._guarded():
            records, forgotten = self._count(), 0
            if records > self.capacity:
                forgotten = self._delete(
                    f'id IN (SELECT id FROM {TABLE} ORDER BY retention, id LIMIT ?)',
                    (records - self.capacity,),
                )
                self._displaced += forgotten
                if self._displaced >= PRUNED_SHARE * self.capacity:
                    self._prune()
                    self._displaced = 0
            self._commit()
            return CommitResult(records - forgotten, self._size(), forgotten)

    def find(self, query: Query) -> list[Hit]:
        """Return the records that match a query, in the order that `Query` describes.

        Raises `ValueError` for a latent of another dimension or with values that are not finite.
        """
        self._check_things(query)
        if query.like is not None:
            return self.nearest(np.asarray(query.like)[None], query)[0]
        where, values = conditions(query)
        with self._guarded():
            rows = self._rows(
                f'SELECT id, {", ".join(COLUMNS)} FROM {TABLE} WHERE {where} '
                'ORDER BY stamp DESC, id DESC LIMIT ?',
                (*values, query.count),
            )
        return [Hit(record, math.nan) for record in self._decode(rows).values()]

    def nearest(self, latents: np.ndarray, query: Query) -> list[list[Hit]]:
        """Return the hits of `find` for each latent `[B, D]` in place of `query.like`."""
        with self._guarded():
            directions = self._directions(latents)
            nearest = self._nearest if query.thing is None else self._nearest_of_thing
            found = nearest(directions, query)
            records = self._read(list({row_id for hits in found for row_id, _ in hits}))
        return [
            [
                Hit(records[row_id], cosine, Basis.LATENT)
                for row_id, cosine in hits
                if row_id in records
            ]
            for hits in found
        ]

    def _read(self, ids: Sequence[int]) -> dict[int, MemoryRecord]:
        """Return the valid records with the given IDs."""
        records: dict[int, MemoryRecord] = {}
        for start in range(0, len(ids), MAX_VALUES):
            chunk = ids[start : start + MAX_VALUES]
            rows = self._rows(
                f'SELECT id, {", ".join(COLUMNS)} FROM {TABLE} '
                f'WHERE id IN ({", ".join("?" * len(chunk))})',
                chunk,
            )
            records |= self._decode(rows)
        return records

    def novelty(self, latents: np.ndarray) -> np.ndarray:
        """Return 1 − the centered cosine of each latent to its nearest record, in [0, 1].

        `latents` is `[B, D]`, the result float64 `[B]`. In an empty store the novelty is 1.
        """
        with self._guarded():
            closest = self._closest(self._directions(latents))
        return (1 - np.asarray(closest, np.float64)).clip(0, 1)

    def forget(self, query: Query) -> int:
        """Delete all records that match the filters of a query; return how many.

        `query.like` and `query.count` are ignored. The deletion is durable when this returns.
        """
        where, values = conditions(replace(query, like=None))
        with self._guarded():
            forgotten = self._delete(where, values)
            self._prune()
            self._commit()
            return forgotten

    def count(self, query: Query) -> int:
        """Return the number of records that match the filters of a query, whatever its count."""
        where, values = conditions(query)
        with self._guarded():
            return self._rows(f'SELECT COUNT(*) FROM {TABLE} WHERE {where}', values)[0][0]

    def contents(self) -> Contents:
        """Return a summary of the store."""
        with self._guarded():
            [(count, oldest, newest)] = self._rows(
                f'SELECT COUNT(*), MIN(stamp), MAX(stamp) FROM {TABLE}', ()
            )
            models = self._rows(f'SELECT fingerprint, COUNT(*) FROM {TABLE} GROUP BY 1', ())
            entities = self._rows(
                f'SELECT entity, COUNT(*) FROM {TABLE} GROUP BY 1 ORDER BY 1', ()
            )
            # The columns of a damaged SQLite file may hold other types.
            models = [(key, number) for key, number in models if isinstance(key, bytes)]
            return Contents(
                count,
                self._size(),
                oldest if isinstance(oldest, int) else None,
                newest if isinstance(newest, int) else None,
                {fingerprint.hex(): number for fingerprint, number in models},
                {fingerprint.hex(): self._model_name(fingerprint) for fingerprint, _ in models},
                {key: number for key, number in entities if isinstance(key, str)},
            )

    def _model_name(self, fingerprint: bytes) -> str:
        """Return the model in the newest record of a fingerprint; several models may share one."""
        rows = self._rows(
            f'SELECT id, {", ".join(COLUMNS)} FROM {TABLE} WHERE fingerprint = ? '
            'ORDER BY stamp DESC, id DESC LIMIT 1',
            (fingerprint,),
        )
        for record in self._decode(rows).values():
            model = record.lct.latent.model
            return f'{model.name}@{model.version}'
        return 'an unknown model'

    def _decode(self, rows: Sequence[tuple[Any, ...]]) -> dict[int, MemoryRecord]:
        """Return the valid records of rows of an ID and `COLUMNS`, by ID."""
        records = {}
        for row_id, *values in rows:
            try:
                record = decode_row(values)
                self._check_dimension(record)
            except DamagedRow as error:
                self._unreadable.setdefault(row_id, str(error))
            else:
                records[row_id] = record
        return records

    def _check_dimension(self, record: MemoryRecord) -> None:
        latent, space = record.lct.latent, self._space
        if space is None or latent.model.fingerprint != space.model.fingerprint:
            return
        if latent.dim != space.dim:
            raise DamagedRow(f'latent has {latent.dim} dimensions, expected {space.dim}')

    def _check(self, record: MemoryRecord) -> None:
        latent, space = record.lct.latent, self.space
        if latent.model.fingerprint != space.model.fingerprint:
            raise ValueError(f'a latent of {latent.model}: this memory is of {space.model}')
        fault = find_latent_fault(latent, space.dim)
        if fault is not None:
            raise ValueError(f'cannot store a latent of {record.entity!r}: {fault.value}')
        check_record(record)

    def _directions(self, latents: np.ndarray) -> np.ndarray:
        space = self.space
        if latents.ndim != 2 or latents.shape[1] != space.dim:
            raise ValueError(
                f'latents of {space.model} have shape [N, {space.dim}], not {list(latents.shape)}'
            )
        if not np.isfinite(latents).all():
            raise ValueError('cannot search for a latent with values that are not finite')
        return space.directions(latents)

    @contextmanager
    def _guarded(self) -> Iterator[None]:
        """Roll back and raise `StoreError` for an error of the database."""
        try:
            yield
        except self.ERRORS as error:
            with suppress(*self.ERRORS):  # a broken connection may fail here, too
                self._roll_back()
            raise StoreError(f'{self}: {one_line(error)}') from error

    @abstractmethod
    def __str__(self) -> str:
        """Return the file or URL for messages, without a password."""

    @abstractmethod
    def close(self) -> None:
        """Close the database; records that were not committed are lost."""

    @abstractmethod
    def _insert(self, rows: list[tuple[Any, ...]], directions: np.ndarray) -> int:
        """Insert rows whose LCT is not in the table yet; return how many."""

    @abstractmethod
    def _delete(self, where: str, values: Sequence[Any]) -> int:
        """Delete the rows that match a condition; return how many."""

    @abstractmethod
    def _nearest(self, directions: np.ndarray, query: Query) -> list[list[tuple[int, float]]]:
        """Return row IDs and cosines for each direction `[B, D]`, largest first, then by ID."""

    @abstractmethod
    def _closest(self, directions: np.ndarray) -> np.ndarray:
        """Return the largest cosine of each direction `[B, D]`, `[B]`; -1 in an empty store."""

    @abstractmethod
    def _count(self) -> int:
        """Return the number of rows."""

    @abstractmethod
    def _size(self) -> int:
        """Return the size of table and indexes in bytes."""

    @abstractmethod
    def _commit(self) -> None:
        """Commit the transaction."""

    @abstractmethod
    def _roll_back(self) -> None:
        """Roll back the transaction."""
