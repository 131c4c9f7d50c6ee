# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Keep evenly spaced items of a stream whose length is not known."""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar('T')


class Thinned(Generic[T]):
    """Keeps every item up to a limit, then every second one, every fourth one, and so on.

    `limit` is the maximum number of kept items, at least 2.
    """

    def __init__(self, limit: int) -> None:
        self._limit, self._stride, self._count = limit, 1, 0
        self._kept: dict[int, T] = {}

    def __len__(self) -> int:
        """Return the number of all items, also of those that were not kept."""
        return self._count

    def add(self, make: Callable[[], T]) -> None:
        """Add an item, which is made only if it is kept."""
        if self._count % self._stride == 0:
            self._kept[self._count] = make()
        self._count += 1
        if len(self._kept) > self._limit:
            self._stride *= 2
            self._kept = {i: each for i, each in self._kept.items() if i % self._stride == 0}

    def chosen(self, count: int) -> list[tuple[int, T]]:
        """Return up to `count` evenly spaced kept items with their positions in the stream."""
        kept = list(self._kept.items())
        last, most = len(kept) - 1, min(count, len(kept))
        return [kept[round(i * last / max(most - 1, 1))] for i in range(most)]
