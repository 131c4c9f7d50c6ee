# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Exact search among latents in RAM: all cosines at once, which 100,000 latents take 2 ms for."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

SAMPLE = 16  # one value of so many bounds what has to be sorted


class Index:
    """Directions of latents, `[N, D]`, with what a search narrows them by; rows in any order."""

    def __init__(self, dim: int):
        self._count = 0
        self._places: dict[int, int] = {}
        self._names: dict[str, int] = {}
        self._columns = {
            'direction': np.empty((0, dim), np.float32),
            'id': np.empty(0, np.int64),
            'stamp': np.empty(0, np.int64),
            'track': np.empty(0, np.int64),
            'entity': np.empty(0, np.int32),
        }

    def __len__(self) -> int:
        return self._count

    def add(
        self,
        ids: Sequence[int],
        directions: np.ndarray,
        stamps: Sequence[int],
        tracks: Sequence[int],
        entities: Sequence[str],
    ) -> None:
        """Add latents, `directions` being float32 `[N, D]` of length 1; ids must be new."""
        first, end = self._count, self._count + len(ids)
        self._reserve(end)
        codes = [self._names.setdefault(name, len(self._names)) for name in entities]
        for name, values in (
            ('direction', directions),
            ('id', ids),
            ('stamp', stamps),
            ('track', tracks),
            ('entity', codes),
        ):
            self._columns[name][first:end] = values
        self._places.update(zip(ids, range(first, end), strict=True))
        self._count = end

    def remove(self, ids: Sequence[int]) -> None:
        """Forget latents; ids that are not here are passed over."""
        for gone in ids:
            place = self._places.pop(gone, None)
            if place is None:
                continue
            self._count -= 1
            if place != self._count:  # The last one moves to the gap.
                for column in self._columns.values():
                    column[place] = column[self._count]
                self._places[int(self._columns['id'][place])] = place

    def closest(self, directions: np.ndarray) -> np.ndarray:
        """Return the largest cosine of each direction `[B, D]` to any here, `[B]`; -1 to none."""
        if not self._count:
            return np.full(len(directions), -1.0, np.float32)
        return (directions @ self._columns['direction'][: self._count].T).max(axis=1)

    def nearest(
        self,
        directions: np.ndarray,
        count: int,
        since_ns: int,
        until_ns: int,
        entity: str | None = None,
        track: int | None = None,
    ) -> list[list[tuple[int, float]]]:
        """Return for each direction `[B, D]` the ids with the largest cosines, and these."""
        rows = {name: column[: self._count] for name, column in self._columns.items()}
        wanted = (rows['stamp'] >= since_ns) & (rows['stamp'] <= until_ns)
        if entity is not None:
            wanted &= rows['entity'] == self._names.get(entity, -1)
        if track is not None:
            wanted &= rows['track'] == track
        cosines, ids = directions @ rows['direction'].T, rows['id']
        if not wanted.all():
            places = np.flatnonzero(wanted)
            cosines, ids = cosines[:, places], ids[places]
        found = []
        for own in cosines:
            best = _best(own, count)
            # Equals in the order of their ids, as every other store has them.
            best = best[np.lexsort((ids[best], -own[best]))][:count]
            found.append([(int(ids[i]), float(own[i])) for i in best])
        return found

    def _reserve(self, size: int) -> None:
        held = len(self._columns['id'])
        if size <= held:
            return
        for name, column in self._columns.items():
            grown = np.empty((max(size, 2 * held, 1024), *column.shape[1:]), column.dtype)
            grown[: self._count] = column[: self._count]
            self._columns[name] = grown


def _best(values: np.ndarray, count: int) -> np.ndarray:
    """Return the places of the largest `count` values and of some more.

    The count-th largest of a sample is no more than that of all: what is below it need not be
    sorted.
    """
    sample = values[::SAMPLE]
    if len(sample) < count:
        return np.arange(len(values))
    return np.flatnonzero(values >= np.partition(sample, -count)[-count])
