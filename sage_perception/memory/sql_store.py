# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Where memories are kept: one interface, on a file of one robot or on a fleet's PostgreSQL.

>>> space = Space.of('tinyvae')
>>> with open_store('memory.db', space) as store:  # or postgresql://user@host/fleet
...     store.add(entries)
...     store.commit()
...     hits = store.find(Query(like=z, since_ns=yesterday_ns, entity='robot1/cam0'))
"""

from __future__ import annotations

import math
import os
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from sage_perception.core.latent import ModelId
from sage_perception.memory.record import COLUMNS, MemoryRecord, from_row, to_row
from sage_perception.models import artifact as artifact
from sage_perception.models.registry import resolve
from sage_perception.trust.security.canonical import canonical_form
from sage_perception.trust.security.rejection import find_number_fault

CAPACITY = 100_000
HALF_LIFE_S = 86_400.0
MAX_HITS = 1000
LATEST_NS = 2**63 - 1
LAST_TRACK = 2**32 - 1
ENVIRONMENT = 'SAGE_MEMORY'
DEFAULT_FOLDER = '~/.local/share/sage'
SCHEMES = ('postgresql://', 'postgres://')
TABLE = 'sage_memory'
VERSION = 1
"""Of the table. What a row's `detail` holds beyond what is known here needs no new one."""


class StoreFault(OSError):
    """A store that cannot be opened, read or written: which, why, and the way out, in one line."""


@dataclass(frozen=True, eq=False)
class Space:
    """The latent space that is searched: the model, and the mean of its latents, float32 `[D]`."""

    model: ModelId
    mean: np.ndarray

    @classmethod
    def of(cls, name_or_path: str | Path) -> Space:
        """Return the space of a model, by its name in the package or its folder; `ModelError`."""
        model = artifact.read(resolve(name_or_path))
        return cls(model.id, model.tensors[artifact.LATENT_MEAN].ravel())

    def directions(self, latents: np.ndarray) -> np.ndarray:
        """Return centered latents `[N, D]` at length 1, float32: their products are cosines."""
        centered = np.asarray(latents, np.float64) - self.mean
        length = np.linalg.norm(centered, axis=1, keepdims=True)
        return (centered / np.maximum(length, np.finfo(np.float32).tiny)).astype(np.float32)


@dataclass(frozen=True, eq=False)
class Query:
    """Which memories: from `since_ns` to `until_ns`, of an entity, of one of its tracks.

    The nearest to the latent `like`, float32 `[D]`, come first; without it the newest. `count` at
    most, 1 to `MAX_HITS`. Whatever can be turned into a latent of the space can be asked by.
    """

    like: np.ndarray | None = None
    since_ns: int = 0
    until_ns: int = LATEST_NS
    entity: str | None = None
    track: int | None = None
    count: int = 10

    def __post_init__(self):
        if not 1 <= self.count <= MAX_HITS:
            raise ValueError(f'count is {self.count}: it must be 1 to {MAX_HITS}')
        if not (0 <= self.since_ns <= LATEST_NS and 0 <= self.until_ns <= LATEST_NS):
            raise ValueError('a time asked for is not between 1970 and 2262')
        if self.track is not None and not 0 <= self.track <= LAST_TRACK:
            raise ValueError(f'track is {self.track}: it must be 0 to {LAST_TRACK}')
        if self.since_ns > self.until_ns:
            raise ValueError('the time asked for ends before it begins')


@dataclass(frozen=True, eq=False)
class Hit:
    """A memory that was found; `similarity` is the centered cosine in [-1, 1], NaN without one."""

    entry: MemoryRecord
    similarity: float


@dataclass(frozen=True)
class Contents:
    """What a store holds. Stamps are None when it is empty; `models` and `entities` count."""

    entries: int
    size_bytes: int
    oldest_ns: int | None
    newest_ns: int | None
    models: dict[str, int]
    entities: dict[str, int]


@dataclass(frozen=True)
class Committed:
    """How much a store holds after a commit, and how many entries that forgot."""

    entries: int
    size_bytes: int
    forgotten: int


class Store(ABC):
    """Memories, at most `capacity` of them, searched by likeness within one latent space.

    What is added is found at once, and durable after `commit`. Searching by anything but likeness
    needs no `space` and finds the memories of all models; rows that cannot be read are passed
    over. Every method raises `StoreFault` when the store fails; what was added since the last
    commit is lost then.
    """

    ERRORS: tuple[type[Exception], ...]  # those of the database

    def __init__(self, space: Space | None, capacity: int, half_life_s: float):
        if capacity < 1 or not half_life_s > 0:
            raise ValueError(
                f'capacity is {capacity} and half-life {half_life_s} s: both must be positive'
            )
        self.space = space
        self.capacity = capacity
        self.half_life_s = half_life_s
        self._unreadable: set[int] = set()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    @property
    def unreadable(self) -> int:
        """Return how many rows were met that cannot be read: damaged, or of another version."""
        return len(self._unreadable)

    def add(self, entries: Sequence[MemoryRecord]) -> int:
        """Remember entries; return how many are new, an LCT being held once.

        Raises `ValueError` for a latent of another space, numbers that are not finite, or what
        no message can hold.
        """
        for entry in entries:
            self._require(entry)
        if not entries:
            return 0
        latents = np.stack([entry.lct.latent.mean for entry in entries])
        with self._guarded():
            rows = [to_row(entry, self.half_life_s) for entry in entries]
            return self._insert(rows, self.space.directions(latents))

    def commit(self) -> Committed:
        """Make durable what was added, and forget what is worth least beyond the capacity.

        One transaction: a crash leaves all of it or nothing.
        """
        with self._guarded():
            entries, forgotten = self._count(), 0
            if entries > self.capacity:
                forgotten = self._delete(
                    f'id IN (SELECT id FROM {TABLE} ORDER BY retention, id LIMIT ?)',
                    (entries - self.capacity,),
                )
            self._commit()
            return Committed(entries - forgotten, self._size(), forgotten)

    def find(self, query: Query) -> list[Hit]:
        """Return the memories asked for, the most similar or else the newest first."""
        if query.like is not None:
            return self.nearest(np.asarray(query.like)[None], query)[0]
        where, values = conditions(query)
        with self._guarded():
            rows = self._rows(
                f'SELECT id, {", ".join(COLUMNS)} FROM {TABLE} WHERE {where} '
                'ORDER BY stamp DESC, id DESC LIMIT ?',
                (*values, query.count),
            )
        return [Hit(entry, math.nan) for entry in self._read(rows).values()]

    def nearest(self, latents: np.ndarray, query: Query) -> list[list[Hit]]:
        """Return what `find` does for each latent `[B, D]` in the place of the query's."""
        with self._guarded():
            found = self._nearest(self._directions(latents), query)
            ids = list({number for own in found for number, _ in own})
            entries = {}
            for start in range(0, len(ids), 500):  # SQLite takes some hundred values at a time.
                some = ids[start : start + 500]
                rows = self._rows(
                    f'SELECT id, {", ".join(COLUMNS)} FROM {TABLE} '
                    f'WHERE id IN ({", ".join("?" * len(some))})',
                    some,
                )
                entries |= self._read(rows)
        return [
            [Hit(entries[number], cosine) for number, cosine in own if number in entries]
            for own in found
        ]

    def novelty(self, latents: np.ndarray) -> np.ndarray:
        """Return 1 − the cosine of latents `[B, D]` to their nearest memories, in [0, 1]: `[B]`.

        1 is what has nothing to do with anything in memory, or comes to an empty one.
        """
        with self._guarded():
            closest = self._closest(self._directions(latents))
        return (1 - np.asarray(closest, np.float64)).clip(0, 1)

    def forget(self, query: Query) -> int:
        """Forget all that the query is about, however many; return how many. Durable at once."""
        where, values = conditions(replace(query, like=None))
        with self._guarded():
            forgotten = self._delete(where, values)
            self._commit()
            return forgotten

    def contents(self) -> Contents:
        """Return how much is held, from when, of which models and entities."""
        with self._guarded():
            [(count, oldest, newest)] = self._rows(
                f'SELECT COUNT(*), MIN(stamp), MAX(stamp) FROM {TABLE}', ()
            )
            models = self._rows(f'SELECT fingerprint, COUNT(*) FROM {TABLE} GROUP BY 1', ())
            entities = self._rows(
                f'SELECT entity, COUNT(*) FROM {TABLE} GROUP BY 1 ORDER BY 1', ()
            )
            return Contents(
                count,
                self._size(),
                oldest,
                newest,
                {bytes(fingerprint).hex(): number for fingerprint, number in models},
                dict(entities),
            )

    def _read(self, rows: Sequence[tuple]) -> dict[int, MemoryRecord]:
        """Return the entries of rows of an id and `COLUMNS`, by id, but for the unreadable."""
        entries = {}
        for number, *values in rows:
            try:
                entries[number] = from_row(values)
            except ValueError:
                self._unreadable.add(number)
        return entries

    def _require(self, entry: MemoryRecord) -> None:
        latent = entry.lct.latent
        space = self._space()
        if latent.model.fingerprint != space.model.fingerprint:
            raise ValueError(f'a latent of {latent.model}: this memory is of {space.model}')
        fault = find_number_fault(latent, space.mean.size)
        if fault:
            raise ValueError(f'a latent of {entry.entity!r} cannot be remembered: {fault.value}')
        canonical_form(entry.lct)

    def _directions(self, latents: np.ndarray) -> np.ndarray:
        space = self._space()
        if latents.ndim != 2 or latents.shape[1] != space.mean.size:
            raise ValueError(
                f'latents of {space.model} are [N, {space.mean.size}], not {list(latents.shape)}'
            )
        if not np.isfinite(latents).all():
            raise ValueError('a latent to search for has numbers that are not finite')
        return space.directions(latents)

    def _space(self) -> Space:
        if self.space is None:
            raise ValueError('this memory was opened without a model: likeness needs one')
        return self.space

    @contextmanager
    def _guarded(self) -> Iterator[None]:
        """Turn the errors of the database into `StoreFault`, with the transaction given up."""
        try:
            yield
        except self.ERRORS as error:
            with suppress(*self.ERRORS):  # What is broken may not answer to this either.
                self._roll_back()
            raise StoreFault(f'{self}: {" ".join(str(error).split())}') from error

    @abstractmethod
    def close(self) -> None:
        """Let go of the store; what was not committed is lost."""

    @abstractmethod
    def _insert(self, rows: list[tuple], directions: np.ndarray) -> int:
        """Insert rows whose LCT is not there yet; return how many."""

    @abstractmethod
    def _delete(self, where: str, values: Sequence) -> int:
        """Delete the rows of a condition; return how many."""

    @abstractmethod
    def _rows(self, sql: str, values: Sequence) -> list[tuple]:
        """Return what a SELECT with `?` for values gives."""

    @abstractmethod
    def _nearest(self, directions: np.ndarray, query: Query) -> list[list[tuple[int, float]]]:
        """Return row ids and cosines for each direction `[B, D]`, largest first, then by id."""

    @abstractmethod
    def _closest(self, directions: np.ndarray) -> np.ndarray:
        """Return the largest cosine of each direction `[B, D]`, `[B]`; -1 in an empty space."""

    @abstractmethod
    def _count(self) -> int:
        """Return the number of rows."""

    @abstractmethod
    def _size(self) -> int:
        """Return the bytes that all of it takes."""

    @abstractmethod
    def _commit(self) -> None:
        """End the transaction and keep it."""

    @abstractmethod
    def _roll_back(self) -> None:
        """End the transaction and undo it."""


def conditions(query: Query) -> tuple[str, list]:
    """Return what a query narrows by as SQL, with the values for it."""
    terms, values = ['stamp BETWEEN ? AND ?'], [query.since_ns, query.until_ns]
    for column, value in (('entity', query.entity), ('track', query.track)):
        if value is not None:
            terms.append(f'{column} = ?')
            values.append(value)
    return ' AND '.join(terms), values


def default_place(entity: str = 'memory') -> Path:
    """Return the file in which a robot keeps its memory, in $SAGE_MEMORY or its default folder."""
    return Path(os.environ.get(ENVIRONMENT) or DEFAULT_FOLDER).expanduser() / f'{entity}.db'


def open_store(
    place: str | Path,
    space: Space | None = None,
    *,
    capacity: int = CAPACITY,
    half_life_s: float = HALF_LIFE_S,
    create: bool = True,
) -> Store:
    """Open the memory in a file, or in the PostgreSQL that a URL names.

    With `create` off it must be there. Raises `StoreFault`.
    """
    if str(place).startswith(SCHEMES):
        from sage_perception.memory.postgres import PostgresStore as Chosen
    else:
        from sage_perception.memory.sqlite import SqliteStore as Chosen

        place = Path(place).expanduser()
    return Chosen(place, space, capacity, half_life_s, create)
