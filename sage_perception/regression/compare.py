# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""The comparison of a summary with its baseline."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from sage_perception.regression.summary import Cell, Summary, Value, is_count
from sage_perception.regression.tolerances import Tolerances

_FIELDS = {
    'items': 'count',
    **dict.fromkeys(('x', 'y', 'width', 'height'), 'pixels'),
    **dict.fromkeys(('score', 'salience', 'retained'), 'score'),
    **dict.fromkeys(('trust', 'reputation', 'compression_trust'), 'trust'),
    **dict.fromkeys(('similarity',), 'similarity'),
    **dict.fromkeys(('error', 'norm', 'bytes'), 'relative'),
    'latent': 'latent',
    'code': 'code',
}
MISSING_SEVERITY = 100.0
"""Severity of a stream that is missing, in multiples of its tolerance and seconds."""


@dataclass(frozen=True)
class Difference:
    """A value of one second that differs from the baseline by more than its tolerance.

    `track` is '' for a value of the whole stream, and `what` is 'stream' or 'track' if that is
    missing or new. `value` and `baseline` are None where there is none. `severity` is the
    difference in multiples of the tolerance.
    """

    stream: str
    track: str
    second: int
    what: str
    value: Value | None
    baseline: Value | None
    severity: float = math.inf

    def as_dict(self) -> dict[str, Any]:
        """Return the difference for JSON."""
        return {
            'stream': self.stream,
            'track': self.track,
            'second': self.second,
            'what': self.what,
            'value': self.value,
            'baseline': self.baseline,
        }

    def __str__(self) -> str:
        track = f', track {self.track}' if self.track else ''
        return (
            f'{self.stream}{track}, second {self.second}: {self.what} is {_shown(self.value)}, '
            f'the baseline has {_shown(self.baseline)}'
        )


def compare(
    summary: Summary, baseline: Summary, tolerances: Tolerances | None = None
) -> list[Difference]:
    """Return all differences beyond the tolerances, the worst first."""
    limits = tolerances or Tolerances()
    found: list[Difference] = []
    for stream in sorted({*summary.streams, *baseline.streams}):
        ours, theirs = (dict(each.lines(stream)) for each in (summary, baseline))
        if not ours or not theirs:
            second = min(ours or theirs)
            value = float(len(ours)) if ours else None
            expected = float(len(theirs)) if theirs else None
            severity = MISSING_SEVERITY * len(ours or theirs)
            found.append(Difference(stream, '', second, 'stream', value, expected, severity))
            continue
        for second in sorted({*ours, *theirs}):
            if ours.get(second) != theirs.get(second):
                cells = summary.second(stream, second), baseline.second(stream, second)
                found += _compare_second(stream, second, *cells, limits)
    return sorted(found, key=lambda each: (-each.severity, each.second, each.stream, each.track))


def worst(differences: list[Difference], count: int = 5) -> list[Difference]:
    """Return the worst differences, each value of a track once; `differences` are sorted."""
    first: dict[tuple[str, str, str], Difference] = {}
    for each in differences:
        first.setdefault((each.stream, each.track, each.what), each)
    return list(first.values())[:count]


def _compare_second(
    stream: str,
    second: int,
    ours: dict[str, Cell],
    theirs: dict[str, Cell],
    limits: Tolerances,
) -> Iterator[Difference]:
    for track in sorted({*ours, *theirs}):
        mine, other = ours.get(track), theirs.get(track)
        if track and (mine is None or other is None):
            frames = _frames(mine or other or {})
            if frames > limits.brief_frames:
                value = None if mine is None else frames
                expected = None if other is None else frames
                severity = frames / _unit(limits)
                yield Difference(stream, track, second, 'track', value, expected, severity)
            continue
        mine, other = mine or {}, other or {}
        brief = max(_frames(mine), _frames(other)) <= limits.brief_frames
        for what in sorted({*mine, *other}):
            if track and brief and not is_count(what):
                continue  # the mean of so few frames depends on each of them
            severity = _severity(what, mine.get(what), other.get(what), limits)
            if severity > 1:
                yield Difference(
                    stream, track, second, what, mine.get(what), other.get(what), severity
                )


def _frames(cell: Cell) -> float:
    """Return the number of frames, matches or observations of a cell."""
    numbers = [cell.get(what, 0) for what in ('frames', 'matches', 'observed')]
    return max(number for number in numbers if not isinstance(number, list))


def _unit(limits: Tolerances) -> float:
    return max(limits.count, 1.0)


def _severity(what: str, value: Value | None, baseline: Value | None, limits: Tolerances) -> float:
    """Return a difference as a multiple of its tolerance; a missing count is 0."""
    if is_count(what):
        value, baseline = value or 0, baseline or 0
    if value is None or baseline is None:
        return MISSING_SEVERITY
    name = 'count' if is_count(what) else _FIELDS.get(what, 'relative')
    tolerance = getattr(limits, name)
    ours, theirs = (np.atleast_1d(np.asarray(each, float)) for each in (value, baseline))
    if ours.shape != theirs.shape:
        return MISSING_SEVERITY
    difference = math.dist(ours, theirs)
    if name in ('relative', 'latent', 'code'):
        tolerance *= math.hypot(*theirs)
    if difference <= tolerance or not difference:
        return 0.0
    return min(difference / tolerance, MISSING_SEVERITY) if tolerance else MISSING_SEVERITY


def _shown(value: Value | None) -> str:
    if value is None:
        return 'missing'
    if isinstance(value, list):
        return '[' + ', '.join(f'{each:.3g}' for each in value) + ']'
    return f'{value:g}'
