# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Measure a machine: the graph in several compositions, as a report and a table."""

from __future__ import annotations

import os
import platform
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import psutil

from sage_perception.benchmark.footage import cameras_of, describe
from sage_perception.benchmark.measure import MeasurementError, measure
from sage_perception.benchmark.usage import NOT_READABLE

DEVICE_MODEL = Path('/proc/device-tree/model')


def machine() -> dict[str, Any]:
    """Return platform, model, cores, memory and present load of this machine."""
    try:
        model = DEVICE_MODEL.read_text().strip('\0\n ')
    except OSError:
        model = _cpu_model()
    return {
        'model': model,
        'platform': platform.platform(),
        'cores': os.cpu_count() or 1,
        'memory_mb': round(psutil.virtual_memory().total / 1e6),
        'load_before': round(os.getloadavg()[0], 2),
    }


def _cpu_model() -> str:
    try:
        lines = Path('/proc/cpuinfo').read_text().splitlines()
    except OSError:
        lines = []
    names = [line.partition(':')[2].strip() for line in lines if line.startswith('model name')]
    return names[0] if names else platform.machine()


def benchmark(
    video: Path,
    cameras: int,
    rates_hz: Sequence[float],
    compositions: Sequence[str],
    duration_s: float,
    params_file: Path | None = None,
    on_run: Callable[[Mapping[str, Any]], None] = lambda run: None,
) -> dict[str, Any]:
    """Return the report of this machine: `machine`, `input` and `runs`.

    Each run is the result of `measure.measure` with its `composition`, or has the reason why it
    failed as `error`. `on_run` is called with each run.
    """
    runs: list[dict[str, Any]] = []
    report = {'machine': machine(), 'input': describe(video), 'runs': runs}
    for rate_hz in rates_hz:
        for composition in compositions:
            run: dict[str, Any] = {'composition': composition, 'cameras': cameras}
            run['rate_hz'] = rate_hz
            try:
                sources = cameras_of(video, cameras, rate_hz)
                run |= measure(sources, composition, duration_s, rate_hz, params_file)
            except MeasurementError as error:
                run['error'] = str(error)
            runs.append(run)
            on_run(run)
    return report


def markdown(report: Mapping[str, Any]) -> str:
    """Return the report as Markdown: one table of configurations, one of nodes."""
    host = report['machine']
    lines = [
        f'{host["model"]}, {host["cores"]} cores, {host["memory_mb"] / 1e3:.1f} GB, '
        f'load before the run {host["load_before"]}; input {report["input"]["video"]}, '
        f'{report["input"]["size"]}',
        '',
        '| cameras | processes | rate, Hz | encoded, Hz | attended | p50, ms | p95, ms '
        '| fused p95, ms | CPU, % of a core | PSS, MB | power, W |',
        '| --- ' * 11 + '|',
    ]
    for run in report['runs']:
        name = {'graph': 'one', 'camera': 'one per camera', 'none': 'one per node'}
        cells = [run['cameras'], name[run['composition']], run['rate_hz']]
        if 'error' in run:
            cells += [f'failed: {run["error"].splitlines()[0]}', *[''] * 7]
        else:
            watts = run['power']['watts']
            cells += [run['fps'], f'{run["attended"]:.1%}', run['p50_ms'], run['p95_ms']]
            cells += [run['fused_p95_ms'], run['cpu_percent'], run['pss_mb']]
            cells.append('not readable' if watts == NOT_READABLE else watts)
        lines.append(f'| {" | ".join("–" if c is None else str(c) for c in cells)} |')
    return '\n'.join([*lines, '', *_node_table(report['runs'])])


def _node_table(runs: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return the lines of a table with CPU, memory and durations of each node."""
    lines = ['| processes | node | CPU, % | PSS, MB | p95 of its work, ms |', '| --- ' * 5 + '|']
    for run in runs:
        if 'error' in run:
            continue
        # The nodes of a composed process report their CPU in diagnostics.
        rows = {name: dict(values) for name, values in run['nodes'].items()}
        for name, values in run['processes'].items():
            rows.setdefault(name, {}).update(
                cpu_percent=values['cpu_percent'], pss_mb=values['pss_mb']
            )
        for name, values in sorted(rows.items()):
            work = [value for key, value in values.items() if key.endswith('_p95_ms')]
            cells = [run['composition'], name, values.get('cpu_percent'), values.get('pss_mb')]
            cells.append(work[0] if work else None)
            shown = (
                '–' if c is None else f'{c:.1f}' if isinstance(c, float) else c for c in cells
            )
            lines.append(f'| {" | ".join(map(str, shown))} |')
    return lines
