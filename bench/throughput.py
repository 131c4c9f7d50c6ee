# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Measure the graph as ros2_benchmark does: at fixed rates, under load, and its highest rate.

All nodes in one process (composed), one process per camera (camera) and one per node (separate)
play the same video, whose hash is in the report. `--before CHECKOUT` runs the graph of another
checkout, alternating with them. The highest rate is that with a loss of less than 5 % of the
frames. A run that fails is in the report with its reason. Results: `out/bench/throughput.json`,
also after each part.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

from result_file import add_out, write_result

from sage_perception.bringup.prefix import prepare_ros

prepare_ros()

from sage_perception.benchmark.footage import cameras_of, describe, render_video
from sage_perception.benchmark.machine import machine
from sage_perception.benchmark.measure import MeasurementError, free_domain, measure, observe

RATES_HZ = (10.0, 30.0, 60.0)
MODES = {'composed': 'graph', 'camera': 'camera', 'separate': 'none'}
MAX_LOSS = 0.05
SEARCH_HZ = (5.0, 400.0)
SEARCH_STEPS = 5


def measure_other(checkout: Path, video: Path, duration_s: float, rate_hz: float) -> dict:
    """Return the figures of the two-camera graph of another checkout.

    Its own environment (`.venv`) is used if it has one.
    """
    venv = checkout / '.venv'
    python = venv / 'bin' / 'python'
    domain = free_domain()
    env = {**os.environ, 'PYTHONPATH': str(checkout), 'ROS_DOMAIN_ID': str(domain)}
    for name in ('FASTDDS_DEFAULT_PROFILES_FILE', 'FASTRTPS_DEFAULT_PROFILES_FILE'):
        env.pop(name, None)
    if python.exists():
        env['AMENT_PREFIX_PATH'] = str(venv)
        env['PATH'] = f'{venv / "bin"}{os.pathsep}{env["PATH"]}'
        # Otherwise the wheels of ROS do not add their libraries to the path.
        env.pop('_ROS_WHEELS_BOOTSTRAP_COMPLETE', None)
        libraries = env.get('LD_LIBRARY_PATH', '').split(os.pathsep)
        others = [path for path in libraries if not path.startswith(sys.prefix)]
        env['LD_LIBRARY_PATH'] = os.pathsep.join([*others, str(venv / 'lib')])
    sources = [camera.source for camera in cameras_of(video, 2, rate_hz)]
    command = [str(python) if python.exists() else sys.executable]
    command += [str(Path(__file__).resolve().with_name('other_graph.py')), *map(str, sources)]
    with subprocess.Popen(
        command,
        cwd=checkout,  # `python -m` imports from the working directory first
        env={**env, 'ROS_AUTOMATIC_DISCOVERY_RANGE': 'LOCALHOST'},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        latest: dict[str, int] = {}
        log: list[str] = []

        def follow() -> None:
            for line in process.stdout or ():
                latest.clear()
                latest.update(json.loads(line))

        threads = [
            threading.Thread(target=follow, daemon=True),
            threading.Thread(target=lambda: log.extend(process.stderr or ()), daemon=True),
        ]
        for thread in threads:
            thread.start()

        def pids() -> dict[str, int]:
            if process.poll() is not None:
                raise MeasurementError(f'{checkout}: the graph ended:\n' + ''.join(log[-20:]))
            return dict(latest)

        try:
            return observe(['cam0', 'cam1'], domain, duration_s, rate_hz, pids)
        finally:
            if process.stdin is not None:
                process.stdin.close()
            process.wait(30)


@contextlib.contextmanager
def load_on_all_cores() -> Iterator[None]:
    """Keep every core busy with a process, as `stress --cpu` does."""
    busy = [
        subprocess.Popen([sys.executable, '-c', 'while True: pass'])
        for _ in range(os.cpu_count() or 1)
    ]
    try:
        yield
    finally:
        for process in busy:
            process.kill()
            process.wait()


def medians(runs: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the first complete run, with the median of each figure that is a number in all.

    `runs` counts the complete runs, and `errors` has the reasons of the others.
    """
    whole = [run for run in runs if 'error' not in run]
    errors = [run['error'] for run in runs if 'error' in run]
    merged = dict(whole[0]) if whole else {}
    for key in merged:
        values = [run[key] for run in whole]
        if all(isinstance(v, (int, float)) and not isinstance(v, bool) for v in values):
            merged[key] = round(statistics.median(values), 4)
    return merged | {'runs': len(whole)} | ({'errors': errors} if errors else {})


def attempt(name: str, run: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """Return the figures of a run, or the reason why it failed as `error`; print either."""
    try:
        figures = run()
    except MeasurementError as error:
        figures = {'error': ' | '.join(str(error).splitlines()[:3])}
    keys = ('attended', 'p95_ms', 'fused_p95_ms', 'cpu_percent', 'pss_mb', 'growth', 'error')
    shown = ', '.join(f'{key} {figures[key]}' for key in keys if key in figures)
    print(f'{name}: {shown}', flush=True)
    return figures


def peak(video: Path, cameras: int, composition: str, duration_s: float) -> dict[str, Any]:
    """Return the highest rate with a loss below `MAX_LOSS`, found by bisection, and all trials."""
    low, high = SEARCH_HZ
    trials = []
    for _ in range(SEARCH_STEPS):
        rate_hz = round((low * high) ** 0.5, 1)
        try:
            run = measure(cameras_of(video, cameras, rate_hz), composition, duration_s, rate_hz)
            loss = run['loss']
            trials.append(
                {key: run[key] for key in ('rate_hz', 'loss', 'fps', 'p95_ms', 'jitter_ms')}
            )
        except MeasurementError as error:
            loss = 1.0
            trials.append({'rate_hz': rate_hz, 'loss': loss, 'error': str(error).splitlines()[0]})
        print(f'  {cameras} cameras, {composition}: {trials[-1]}', flush=True)
        low, high = (rate_hz, high) if loss < MAX_LOSS else (low, rate_hz)
    passed = [trial['rate_hz'] for trial in trials if trial['loss'] < MAX_LOSS]
    return {'hz': max(passed, default=None), 'trials': trials}


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--footage', type=Path, help='video to play (default: a rendered one)')
    parser.add_argument('--before', type=Path, help='another checkout, built by make build')
    parser.add_argument('--duration', type=float, default=20.0, help='of a run, s (default: 20)')
    parser.add_argument('--runs', type=int, default=2, help='runs to alternate (default: 2)')
    parser.add_argument('--load', type=float, default=60.0, help='of the run under load, s')
    parser.add_argument('--rates', type=float, nargs='*', default=RATES_HZ, help='Hz')
    parser.add_argument('--cameras', type=int, nargs='*', default=[1, 2, 4], help='peak search')
    add_out(parser, 'throughput')
    parser.add_argument('--modes', nargs='+', choices=MODES, default=[*MODES], help='(all)')
    args = parser.parse_args()
    begun_s = time.monotonic()

    video = args.footage or render_video(args.out.parent / 'throughput.avi')
    report: dict[str, Any] = {'machine': machine(), 'input': describe(video)}

    def save() -> None:
        write_result(args.out, report)

    modes = {name: MODES[name] for name in args.modes}
    starters: dict[str, Callable[[], dict[str, Any]]] = {
        name: partial(measure, cameras_of(video, 2, 30.0), mode, args.duration, 30.0)
        for name, mode in modes.items()
    }
    if args.before:
        before = args.before.resolve()
        starters['before'] = partial(measure_other, before, video, args.duration, 30.0)
    runs: dict[str, list[dict[str, Any]]] = {name: [] for name in starters}
    for _ in range(args.runs):
        for name, start in starters.items():
            runs[name].append(attempt(name, start))
    report |= {name: medians(found) for name, found in runs.items()}
    save()
    for name, mode in modes.items() if args.load else ():
        start = partial(measure, cameras_of(video, 2, 30.0), mode, args.load, 30.0)
        with load_on_all_cores():
            time.sleep(1.0)
            run = attempt(f'{name}, loaded', start)
        key = 'loaded' if name == 'composed' else f'loaded_{name}'
        report[key] = {**run, 'quiet_p95_ms': report[name].get('p95_ms')}
        save()
    report['fixed_rates'] = {name: {} for name in modes}
    for name, mode in modes.items():
        for rate in args.rates:
            start = partial(measure, cameras_of(video, 2, rate), mode, args.duration / 2, rate)
            report['fixed_rates'][name][f'{rate:g}'] = attempt(f'{name}, {rate:g} Hz', start)
        save()
    report['peak_trials'] = {name: {} for name in modes}
    for name, mode in modes.items():
        found = {str(n): peak(video, n, mode, args.duration / 4) for n in args.cameras}
        key = 'peak_hz' if name == 'composed' else f'peak_hz_{name}'
        report[key] = {n: each['hz'] for n, each in found.items()}
        report['peak_trials'][name] = found
        print(f'{name}: peak, Hz, by cameras: {report[key]}', flush=True)
        save()
    print(f'all figures: {args.out}, after {(time.monotonic() - begun_s) / 60:.1f} min')


if __name__ == '__main__':
    main()
