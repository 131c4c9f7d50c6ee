# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""The numbers of tracks: unique within a process, and in practice after it starts again."""

from __future__ import annotations

from collections.abc import Iterator

MAX_ID = 2**32 - 1
"""Largest id: messages have uint32."""
IDS_PER_S = 100
"""Rate of new tracks up to which a process that starts again does not reuse ids."""


def track_ids(first: int = 1) -> Iterator[int]:
    """Yield `first`, `first` + 1, … as uint32; after `MAX_ID` follows 1. 0 means no track.

    Raises `ValueError` for a first id that is not in [1, `MAX_ID`].
    """
    if not 1 <= first <= MAX_ID:
        raise ValueError(f'the first track id is {first}; it must be in [1, {MAX_ID}]')
    return _count(first)


def first_track_id(time_s: float) -> int:
    """Return the first id of a process that starts at a time, seconds since 1970.

    It is above the ids of a process that started earlier, unless that made more than `IDS_PER_S`
    tracks a second. The ids repeat after 497 days.
    """
    return int(time_s * IDS_PER_S) % MAX_ID + 1


def short_label(track_id: int) -> str:
    """Return the last four digits of an id, by which images and views show its track."""
    return str(track_id % 10_000)


def _count(first: int) -> Iterator[int]:
    yield from range(first, MAX_ID + 1)
    while True:
        yield from range(1, MAX_ID + 1)
