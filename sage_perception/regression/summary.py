# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""The summary of a replay: for each stream, second and track a few numbers.

| stream | values of a second | values of a track |
| --- | --- | --- |
| `CAMERA/crops` | frames, rejected_frames, fault.NAME | frames, x, y, width, height, score |
| `CAMERA/lcts` | frames, lcts, bytes, rejected.REASON | frames, trust, error, norm, latent |
| `CAMERA/trust` | reputation, compression_trust | |
| `CAMERA/memory` | observed, stored | observed, stored, salience |
| `A+B/agreement` | frames, matches, agreements, similarity | the same of two tracks `1+2` |
| `fused` | frames, lcts, trust | frames, trust |
| `code` | frames, items, retained, code | |

Counts are sums over the second, all other values are means. A latent or code is represented by
`PROJECTIONS` projections on fixed random directions of length 1.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any, TypeAlias

import numpy as np

from sage_perception.regression.seconds import Seconds

PROJECTIONS = 8
DIGITS = 5
"""Significant digits of the numbers in a summary."""
OPEN_SECONDS = 3
"""Number of seconds of a stream that are still accumulated; events are a little out of order."""

Value: TypeAlias = float | list[float]
Cell: TypeAlias = dict[str, Value]
COUNTS = frozenset(
    ('frames', 'rejected_frames', 'lcts', 'matches', 'agreements', 'observed', 'stored')
)
VECTORS = frozenset(('latent', 'code'))
"""Values that are lists of projections; all others are numbers."""


def is_count(what: str) -> bool:
    """Return whether a value is a sum over the second; all others are means."""
    return what in COUNTS or what.startswith(('fault.', 'rejected.'))


@dataclass
class Summary:
    """The summary of a bag.

    Attributes
    ----------
    hashes : dict
        SHA-256 of `bag` and `parameters`, and the fingerprint of the arbiter's `model`,
        hexadecimal.
    settings : dict
        The values that `hashes['parameters']` covers, by node.

    """

    hashes: dict[str, str] = field(default_factory=dict)
    settings: dict[str, dict[str, Any]] = field(default_factory=dict)
    # Serialized, because an hour of Python objects would need thirty times the memory.
    _seconds: dict[str, Seconds] = field(default_factory=dict)

    @property
    def streams(self) -> list[str]:
        """Return the names of the streams, sorted."""
        return sorted(self._seconds)

    def set_second(self, stream: str, second: int, cells: Mapping[str, Cell]) -> None:
        """Set the values of one second: by track, and those of all tracks together by ''."""
        text = json.dumps(cells, separators=(',', ':'), allow_nan=False)
        self._seconds.setdefault(stream, Seconds())[second] = text

    def second(self, stream: str, second: int) -> dict[str, Cell]:
        """Return the values of one second by track; empty if the stream has none."""
        text = self._seconds[stream].get(second) if stream in self._seconds else None
        return json.loads(text) if text else {}

    def seconds(self, stream: str) -> Iterator[tuple[int, dict[str, Cell]]]:
        """Yield the seconds of a stream in order, with their values by track."""
        for second, text in self.lines(stream):
            yield second, json.loads(text)

    def series(self, stream: str, what: str) -> tuple[list[int], list[float]]:
        """Return the seconds in which a stream has the scalar `what`, and its values."""
        found: list[tuple[int, float]] = []
        for second, cells in self.seconds(stream):
            value = cells.get('', {}).get(what)
            if isinstance(value, (int, float)):
                found.append((second, value))
        return [second for second, _ in found], [value for _, value in found]

    def tracks(self, stream: str) -> list[str]:
        """Return the tracks of a stream, sorted; '' is not included."""
        return sorted({track for _, cells in self.seconds(stream) for track in cells} - {''})

    def total(self, stream: str, what: str) -> float:
        """Return the sum of a count of a stream over all seconds."""
        return sum(self.series(stream, what)[1])

    def lines(self, stream: str) -> list[tuple[int, str]]:
        """Return the seconds of a stream in order, serialized as JSON."""
        return [*self._seconds[stream].items()] if stream in self._seconds else []


class _Mean:
    """The values of one track in one second: sums of counts, means of all others."""

    def __init__(self) -> None:
        self._counts: dict[str, float] = {}
        self._sums: dict[str, float | np.ndarray] = {}
        self._numbers: dict[str, int] = {}

    def count(self, what: str, number: float = 1) -> None:
        self._counts[what] = self._counts.get(what, 0) + number

    def add(self, what: str, value: float | np.ndarray) -> None:
        if isinstance(value, np.ndarray):
            value = np.asarray(value, np.float64)
            finite = bool(np.isfinite(value).all())
        else:  # most values: as a number, without an array
            value = float(value)
            finite = math.isfinite(value)
        if not finite:
            return
        known = self._sums.get(what)
        if known is None:
            self._sums[what], self._numbers[what] = value, 1
        elif getattr(known, 'shape', ()) == getattr(value, 'shape', ()):
            self._sums[what] = known + value
            self._numbers[what] += 1

    def cell(self) -> Cell:
        cell: Cell = {what: int(number) for what, number in self._counts.items()}
        for what, total in self._sums.items():
            mean = total / self._numbers[what]
            if isinstance(mean, np.ndarray):
                cell[what] = [_rounded(v) for v in mean]
            else:
                cell[what] = _rounded(mean)
        return cell


class Accumulator:
    """Accumulates the values of the streams into a `Summary`, second by second."""

    def __init__(self, summary: Summary) -> None:
        self.summary = summary
        self._open: dict[str, dict[int, dict[str, _Mean]]] = {}

    def at(self, stream: str, time_s: float, track: str | int = '') -> _Mean:
        """Return the accumulated values of a stream and track in the second of `time_s`."""
        second = int(np.floor(time_s))
        seconds = self._open.setdefault(stream, {})
        if second not in seconds:
            seconds[second] = {}
            for old in [each for each in seconds if each <= second - OPEN_SECONDS]:
                self._close(stream, old, seconds.pop(old))
        return seconds[second].setdefault(str(track), _Mean())

    def finish(self) -> Summary:
        """Complete all seconds and return the summary."""
        for stream, seconds in self._open.items():
            for second, tracks in seconds.items():
                self._close(stream, second, tracks)
        self._open.clear()
        return self.summary

    def _close(self, stream: str, second: int, tracks: dict[str, _Mean]) -> None:
        cells = {track: tracks[track].cell() for track in sorted(tracks, key=_natural)}
        self.summary.set_second(stream, second, cells)


def projected(latent: np.ndarray) -> np.ndarray:
    """Return the projections `[PROJECTIONS]` of a latent `[D]` on fixed random directions."""
    return _directions(latent.size) @ np.asarray(latent, np.float64)


@cache
def _directions(dim: int) -> np.ndarray:
    directions = np.random.default_rng(dim).standard_normal((PROJECTIONS, dim))
    return directions / np.linalg.norm(directions, axis=1, keepdims=True)


def _rounded(value: float | np.ndarray) -> float:
    return float(f'{float(value):.{DIGITS}g}')


def _natural(track: str) -> tuple[int, ...]:
    return tuple(int(part) if part.isdecimal() else -1 for part in track.split('+'))
