# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Measure the graph as ros2_benchmark does: at fixed rates, under load, and its highest rate.

Nodes in one process (composed) and in processes of their own (separate) play the same video, whose
hash is in the report. `--before CHECKOUT` runs the graph of another checkout, alternating with
both. The highest rate is that with a loss of less than 5 % of the frames. Results:
`out/bench/throughput.json`.
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
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from sage_perception.bringup.prefix import prepare_ros

prepare_ros()

from sage_perception.benchmark.footage import cameras_of, describe, render_video
from sage_perception.benchmark.machine import machine
from sage_perception.benchmark.measure import MeasurementError, free_domain, measure, observe

RATES_HZ = (10.0, 30.0, 60.0)
MODES = {'composed': 'graph', 'separate': 'none'}
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
    """Return the first run, with the median of each figure that is a number in all runs."""
    merged = dict(runs[0])
    for key in merged:
        values = [run[key] for run in runs]
        if all(isinstance(v, (int, float)) and not isinstance(v, bool) for v in values):
            merged[key] = round(statistics.median(values), 4)
    merged['runs'] = len(runs)
    return merged


def peak(video: Path, cameras: int, composition: str, duration_s: float) -> dict[str, Any]:
    """Return the highest rate with a loss below `MAX_LOSS`, found by bisection, and all trials."""
    low, high = SEARCH_HZ
    trials = []
    for _ in range(SEARCH_STEPS):
        rate_hz = round((low * high) ** 0.5, 1)
        try:
            run = measure(cameras_of(video, cameras, rate_hz), composition, duration_s, rate_hz)
            loss = run['loss']
            trials.append({key: run[key] for key in ('rate_hz', 'loss', 'p95_ms', 'fps')})
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
    parser.add_argument('--out', type=Path, default=Path('out/bench/throughput.json'))
    args = parser.parse_args()

    video = args.footage or render_video(args.out.parent / 'throughput.avi')
    report: dict[str, Any] = {'machine': machine(), 'input': describe(video)}

    def save() -> None:
        args.out.parent.mkdir(parents=True, exist_ok=True)
        args.out.write_text(json.dumps(report, indent=2) + '\n')

    def show(name: str, run: dict[str, Any]) -> None:
        keys = ('attended', 'p95_ms', 'fused_p95_ms', 'cpu_percent', 'pss_mb', 'growth')
        print(f'{name}: ' + ', '.join(f'{key} {run[key]}' for key in keys), flush=True)

    runs: dict[str, list[dict[str, Any]]] = {name: [] for name in MODES}
    if args.before:
        runs['before'] = []
    for _ in range(args.runs):
        for name in runs:
            if name == 'before':
                run = measure_other(args.before.resolve(), video, args.duration, 30.0)
            else:
                run = measure(cameras_of(video, 2, 30.0), MODES[name], args.duration, 30.0)
            runs[name].append(run)
            show(name, run)
    report |= {name: medians(found) for name, found in runs.items()}
    save()
    if args.load:
        with load_on_all_cores():
            time.sleep(1.0)
            run = measure(cameras_of(video, 2, 30.0), 'graph', args.load, 30.0)
        show('loaded', run)
        report['loaded'] = {**run, 'quiet_p95_ms': report['composed']['p95_ms']}
        save()
    report['fixed_rates'] = {
        mode: {
            f'{rate:g}': measure(cameras_of(video, 2, rate), MODES[mode], args.duration / 2, rate)
            for rate in args.rates
        }
        for mode in MODES
    }
    save()
    searches = {
        mode: {str(n): peak(video, n, MODES[mode], args.duration / 4) for n in args.cameras}
        for mode in MODES
    }
    report['peak_hz'] = {n: found['hz'] for n, found in searches['composed'].items()}
    report['peak_hz_separate'] = {n: found['hz'] for n, found in searches['separate'].items()}
    report['peak_trials'] = searches
    save()
    print(f'peak, Hz: composed {report["peak_hz"]}, separate {report["peak_hz_separate"]}')
    print(f'all figures: {args.out}')


if __name__ == '__main__':
    main()
