# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""The graph of tracks whose connected components are things."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Iterable

Key = tuple[str, int, int]
"""A track: its entity, its number and the time of its first observation, nanoseconds."""


class ThingGraph:
    """Connections between tracks, and the numbers of the things that they form.

    A track without connections is a thing of its own. The number of a thing is that of its oldest
    track, and stays when that track is removed.
    """

    def __init__(self) -> None:
        self._near: dict[Key, set[Key]] = {}
        self._numbers: dict[Key, int] = {}

    def thing(self, key: Key) -> int:
        """Return the number of the thing of a track."""
        oldest = _oldest(self.component(key))
        return self._numbers.get(oldest) or _number(oldest)

    def set_thing(self, key: Key, number: int) -> None:
        """Set the number of the things whose oldest track is `key`."""
        self._numbers[key] = number

    def are_connected(self, a: Key, b: Key) -> bool:
        """Return whether there is a connection between two tracks, without others in between."""
        return b in self._near.get(a, ())

    def connect(self, a: Key, b: Key) -> None:
        """Connect two tracks."""
        self._near.setdefault(a, set()).add(b)
        self._near.setdefault(b, set()).add(a)

    def disconnect(self, a: Key, b: Key) -> None:
        """Remove the connection of two tracks."""
        self._near[a].discard(b)
        self._near[b].discard(a)

    def component(self, key: Key) -> set[Key]:
        """Return the tracks of the thing of a track."""
        found, waiting = {key}, [key]
        while waiting:
            for other in self._near.get(waiting.pop(), ()):
                if other not in found:
                    found.add(other)
                    waiting.append(other)
        return found

    def path(self, start: Key, end: Key) -> list[frozenset[Key]]:
        """Return the connections of a shortest path between two tracks of one thing."""
        before: dict[Key, Key] = {start: start}
        waiting = [start]
        while end not in before:
            key = waiting.pop(0)
            for other in self._near.get(key, ()):
                if other not in before:
                    before[other] = key
                    waiting.append(other)
        path, key = [], end
        while key != start:
            path.append(frozenset((key, before[key])))
            key = before[key]
        return path

    def remove(self, key: Key) -> list[frozenset[Key]]:
        """Remove a track, and connect its neighbors to each other; return these connections."""
        number = self.thing(key)
        near = sorted(self._near.pop(key, ()))
        for other in near:
            self._near[other].discard(key)
        pairs = list(itertools.pairwise(near))
        for first, second in pairs:
            self.connect(first, second)
        self._numbers.pop(key, None)
        if near:
            self._numbers[_oldest(self.component(near[0]))] = number
        return [frozenset(pair) for pair in pairs]


def _oldest(keys: Iterable[Key]) -> Key:
    return min(keys, key=lambda key: (key[2], key))


def _number(key: Key) -> int:
    """Return the number of the thing whose oldest track has a key, 1 to 2⁶³ − 1.

    It is a hash, so robots that share a memory give different things different numbers.
    """
    text = f'{key[0]}\0{key[1]}\0{key[2]}'.encode()
    return int.from_bytes(hashlib.sha256(text).digest()[:8], 'little') >> 1 or 1
