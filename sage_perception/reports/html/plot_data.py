# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""The data of charts as JSON values, bounded in number."""

from __future__ import annotations

from typing import Any

import numpy as np

from sage_perception.reports.html.report import Chart, Series

MAX_POINTS = 4000
"""Maximum number of points of a series in a report."""


def chart_data(chart: Chart) -> dict[str, Any]:
    """Return a chart as JSON values; NaN and infinite values become None, which is a gap."""
    return {
        'title': chart.title,
        'unit': chart.unit,
        'limits': chart.limits,
        'target': chart.target,
        'series': [_series_data(series) for series in chart.series],
    }


def _series_data(series: Series) -> dict[str, Any]:
    times, values = thinned(
        np.asarray(series.times_s, float), np.asarray(series.values, float), MAX_POINTS
    )
    return {
        'name': series.name,
        'style': series.style.value,
        't': [round(float(t), 4) for t in times],
        'v': [float(f'{v:.6g}') if np.isfinite(v) else None for v in values],
    }


def thinned(
    times: np.ndarray, values: np.ndarray, max_points: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return times and values `[N]` with at most `max_points` points.

    The points are split into equal runs, of which the lowest, the highest and one gap (NaN) are
    kept, so that peaks and gaps remain visible.
    """
    if len(values) <= max_points:
        return times, values
    kept = []
    for run in np.array_split(np.arange(len(values)), max(1, max_points // 3)):
        finite = run[np.isfinite(values[run])]
        if len(finite):
            kept += [finite[np.argmin(values[finite])], finite[np.argmax(values[finite])]]
        if len(finite) < len(run):
            kept.append(run[~np.isfinite(values[run])][0])
    chosen = np.unique(kept)
    return times[chosen], values[chosen]


def statistics(series: Series) -> tuple[int, float, float, float] | None:
    """Return number, minimum, median and maximum of the finite values; None without any."""
    values = np.asarray(series.values, float)
    values = values[np.isfinite(values)]
    if not len(values):
        return None
    low, middle, high = (float(f(values)) for f in (np.min, np.median, np.max))
    return len(values), low, middle, high
