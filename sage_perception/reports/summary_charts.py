# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Charts over time of one or more replay summaries."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from sage_perception.regression.summary import Summary
from sage_perception.reports.html.report import Chart, Series, Style

Curve = tuple[list[int], list[float]]
"""Seconds, and the value of each."""


def summary_charts(summaries: Mapping[str, Summary]) -> tuple[Chart, ...]:
    """Return the charts of summaries of the same bag, by the name of each.

    The curves of different summaries have the name of theirs as a suffix. Charts without any value
    are left out.
    """
    charts = (
        _chart('Frames per second', 'Hz', '/crops', summaries, _values('frames')),
        _chart('Crops', 'per second', '/lcts', summaries, _values('lcts')),
        _chart('Trust of the LCTs', '', '/lcts', summaries, _mean_of_tracks('trust'), (0.0, 1.0)),
        _chart(
            'Reputation of the entities', '', '/trust', summaries, _values('reputation'), (0, 1)
        ),
        _chart('Agreements', 'per second', '/agreement', summaries, _values('agreements')),
        _chart('Similarity of matches', '', '/agreement', summaries, _values('similarity')),
        _chart('Bytes of the latents', 'bytes per second', '/lcts', summaries, _bytes),
        _chart('Reconstruction error', 'MSE', '/lcts', summaries, _mean_of_tracks('error')),
        _chart('Rejected LCTs', 'per second', '/lcts', summaries, _sum_of('rejected.')),
        _chart('Camera faults', 'frames per second', '/crops', summaries, _sum_of('fault.')),
        _chart('Trust of the fused LCTs', '', 'fused', summaries, _values('trust'), (0.0, 1.0)),
        _chart('Stored in memory', 'per second', '/memory', summaries, _values('stored')),
        _chart('Energy retained by the code', '', 'code', summaries, _values('retained'), (0, 1)),
    )
    return tuple(chart for chart in charts if chart.series)


def _chart(
    title: str,
    unit: str,
    suffix: str,
    summaries: Mapping[str, Summary],
    values: Callable[[Summary, str], Curve],
    limits: tuple[float, float] | None = None,
) -> Chart:
    found = []
    streams = sorted({s for each in summaries.values() for s in each.streams})
    for stream in streams:
        if not stream.endswith(suffix):
            continue
        for name, summary in summaries.items():
            seconds, numbers = values(summary, stream)
            if seconds and np.any(numbers):
                label = stream.removesuffix(suffix) or stream
                label = f'{label}, {name}' if name else label
                found.append(Series(label, seconds, numbers, Style.STEPS))
    return Chart(title, unit, tuple(found), limits)


def _values(what: str) -> Callable[[Summary, str], Curve]:
    return lambda summary, stream: summary.series(stream, what)


def _mean_of_tracks(what: str) -> Callable[[Summary, str], Curve]:
    """Return the mean over the tracks of each second, weighted by their frames."""

    def curve(summary: Summary, stream: str) -> Curve:
        seconds, means = [], []
        for second, cells in summary.seconds(stream):
            found = [
                # The counts of an edited baseline can be 0, or negative.
                (float(cell[what]), max(float(cell.get('frames', 1)), 1.0))  # type: ignore[arg-type]
                for track, cell in cells.items()
                if track and what in cell
            ]
            if found:
                numbers, weights = zip(*found, strict=True)
                seconds.append(second)
                means.append(float(np.average(numbers, weights=weights)))
        return seconds, means

    return curve


def _sum_of(prefix: str) -> Callable[[Summary, str], Curve]:
    """Return the sum of the counts with a prefix in each second."""

    def curve(summary: Summary, stream: str) -> Curve:
        seconds, sums = [], []
        for second, cells in summary.seconds(stream):
            whole = cells.get('', {})
            seconds.append(second)
            sums.append(
                float(sum(np.sum(v) for what, v in whole.items() if what.startswith(prefix)))
            )
        return seconds, sums

    return curve


def _bytes(summary: Summary, stream: str) -> Curve:
    """Return the bytes of each second: the mean of a frame times the number of frames."""
    sizes = dict(zip(*summary.series(stream, 'bytes'), strict=True))
    frames = dict(zip(*summary.series(stream, 'frames'), strict=True))
    seconds = sorted(sizes)
    return seconds, [sizes[second] * frames.get(second, 0) for second in seconds]
