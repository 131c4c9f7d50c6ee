# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Repeat an unchanged replay to a running graph: `sage up`, `sage watch` and `sage replay`."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sage_perception.cli.demo.recording import wait_for_encoders
from sage_perception.cli.demo.run import isolated_environment
from sage_perception.core.progress import track
from sage_perception.regression.regress import replay_and_judge

sys.path.append(str(Path(__file__).resolve().parents[1] / 'tools'))
import make_golden_bags

SAGE = [sys.executable, '-m', 'sage_perception.cli.main']
CAMERAS = ('cam0', 'cam1')
TIMELINE = """\
version: 1
expectations:
  - rate: {stream: cam0/crops, at_least: 8.0, at_most: 11.0, start: 1.0, end: 5.0}
  - rate: {stream: cam1/lcts, at_least: 8.0, at_most: 11.0, start: 1.0, end: 5.0}
  - rate: {stream: fused, at_least: 6.0, at_most: 11.0, start: 1.0, end: 5.0}
  - attended: {camera: cam0, region: [0, 0, 320, 240], start: 1.5, end: 5.0}
  - attended: {camera: cam1, region: [0, 0, 320, 240], start: 1.5, end: 5.0}
  - agreement: {cameras: [cam0, cam1], at_least: 10, start: 1.5, end: 5.0}
  - trust: {camera: cam0, above: 0.2, start: 1.0, end: 5.0}
  - not_rejected: {camera: cam0, start: 1.0, end: 5.0}
  - not_rejected: {camera: cam1, start: 1.0, end: 5.0}
  - latency: {stream: cam1/lcts, below: 1.0, start: 1.0, end: 5.0}
"""
START_S, RUN_S = 60.0, 90.0
"""Maximum time for the start of a graph and for a replay, seconds."""


def measure_online(folder: Path, runs: int) -> dict[str, Any]:
    """Return how many of `runs` unchanged replays meet a timeline on a running graph.

    Each run starts a graph of two cameras with the clock of the golden bag `dual`, replays that
    bag, and judges the timeline with `sage watch`. `offline` is whether the same timeline is met
    by the replay without a graph.
    """
    bag = folder / 'dual'
    make_golden_bags.BAGS['dual'](bag)
    timeline = folder / 'dual.timeline.yaml'
    timeline.write_text(TIMELINE)
    offline = replay_and_judge(bag, timelines=[timeline]).outcomes
    failures = []
    for number in track(range(runs), 'online replays'):
        found = _run_once(bag, timeline, folder)
        missed = [each['text'] + ': ' + each['detail'] for each in found if not each['passed']]
        if missed:
            failures.append({'run': number, 'missed': missed})
    return {
        'runs': runs,
        'passed': runs - len(failures),
        'expectations': len(offline),
        'offline': all(each.passed is not False for each in offline),
        'failures': failures,
    }


def _run_once(bag: Path, timeline: Path, folder: Path) -> list[dict[str, Any]]:
    """Return the verdicts of one replay to a new graph."""
    environment = isolated_environment()
    with _graph(environment, folder / 'graph.log'):
        wait_for_encoders(CAMERAS, environment, START_S, folder / 'graph.log')
        watch = _start(environment, 'watch', timeline, '--use-sim-time', '--json')
        try:
            if watch.stderr is None or not watch.stderr.readline().startswith('sage watch: watch'):
                raise ValueError(f'sage watch did not start:\n{watch.communicate()[1]}')
            replay = _start(environment, 'replay', bag, '--clock', 100, '--wait-for-subscribers')
            _, problems = replay.communicate(timeout=RUN_S)
            if replay.returncode:
                raise ValueError(f'sage replay failed:\n{problems}')
            output, problems = watch.communicate(timeout=RUN_S)
        finally:
            watch.kill()
            watch.wait()
    if not output:
        return [{'text': 'sage watch', 'passed': False, 'detail': problems.strip()}]
    verdicts: list[dict[str, Any]] = json.loads(output)['expectations']
    return verdicts


@contextmanager
def _graph(environment: Mapping[str, str], log: Path) -> Iterator[None]:
    """Run the graph of two cameras with external images and clock while the context lasts."""
    images = [
        word for n, name in enumerate(CAMERAS) for word in (f'--image{n}', f'/{name}/image_raw')
    ]
    options = ['--use-sim-time', '--no-viewer', '--plain', '--no-respawn']
    transport = ['--set', 'attention.image_transport=compressed']
    with log.open('w') as file:
        process = subprocess.Popen(
            [*SAGE, 'up', 'dual_camera', *images, *options, *transport],
            env=environment,
            stdout=file,
            stderr=subprocess.STDOUT,
        )
        try:
            yield
        finally:
            process.send_signal(signal.SIGINT)
            process.wait(30)


def _start(environment: Mapping[str, str], *words: object) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [*SAGE, *map(str, words)],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
