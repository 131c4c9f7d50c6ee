# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Exact similarity search in RAM: one matrix product, 2 ms for 100,000 64-D latents."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

SAMPLE_STEP = 16  # every 16th value bounds the number of values to sort
MIN_ROWS = 1024  # allocated for the first latent


class Index:
    """The directions of latents, `[N, D]`, and the columns that a search filters by."""

    def __init__(self, dim: int) -> None:
        self._count = 0
        self._positions: dict[int, int] = {}
        self._entity_codes: dict[str, int] = {}
        self._columns: dict[str, np.ndarray] = {
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
        """Add latents. `directions` is float32 `[N, D]` of length 1; `ids` must be new."""
        first, end = self._count, self._count + len(ids)
        self._reserve(end)
        codes = [self._entity_codes.setdefault(name, len(self._entity_codes)) for name in entities]
        for name, values in (
            ('direction', directions),
            ('id', ids),
            ('stamp', stamps),
            ('track', tracks),
            ('entity', codes),
        ):
            self._columns[name][first:end] = values
        self._positions.update(zip(ids, range(first, end), strict=True))
        self._count = end

    def remove(self, ids: Sequence[int]) -> None:
        """Remove latents; unknown IDs are ignored."""
        for row_id in ids:
            position = self._positions.pop(row_id, None)
            if position is None:
                continue
            self._count -= 1
            if position != self._count:  # the last row fills the gap
                for column in self._columns.values():
                    column[position] = column[self._count]
                self._positions[int(self._columns['id'][position])] = position

    def closest(self, directions: np.ndarray) -> np.ndarray:
        """Return the largest cosine of each direction `[B, D]`, `[B]`; -1 in an empty index."""
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
        """Return the IDs and cosines of the `count` nearest latents for each direction `[B, D]`.

        The filters are those of `Query`. The largest cosine comes first, equal ones by ID.
        """
        rows = {name: column[: self._count] for name, column in self._columns.items()}
        selected = (rows['stamp'] >= since_ns) & (rows['stamp'] <= until_ns)
        if entity is not None:
            selected &= rows['entity'] == self._entity_codes.get(entity, -1)
        if track is not None:
            selected &= rows['track'] == track
        cosines, ids = directions @ rows['direction'].T, rows['id']
        if not selected.all():
            positions = np.flatnonzero(selected)
            cosines, ids = cosines[:, positions], ids[positions]
        found = []
        for row in cosines:
            best = _candidates(row, count)
            best = best[np.lexsort((ids[best], -row[best]))][:count]
            found.append([(int(ids[i]), float(row[i])) for i in best])
        return found

    def _reserve(self, size: int) -> None:
        capacity = len(self._columns['id'])
        if size <= capacity:
            return
        for name, column in self._columns.items():
            rows = max(size, 2 * capacity, MIN_ROWS)
            grown = np.empty((rows, *column.shape[1:]), column.dtype)
            grown[: self._count] = column[: self._count]
            self._columns[name] = grown


def _candidates(values: np.ndarray, count: int) -> np.ndarray:
    """Return the positions of a superset of the largest `count` values.

    The count-th largest value of a sample is a lower bound of the count-th largest of all, so
    smaller values need not be sorted.
    """
    sample = values[::SAMPLE_STEP]
    if len(sample) < count:
        return np.arange(len(values))
    return np.flatnonzero(values >= np.partition(sample, -count)[-count])
