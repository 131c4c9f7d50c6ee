# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Run the graph on one scene of the demo, record its topics, and measure its nodes."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import psutil
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from sage_perception.bringup.environment import config_path
from sage_perception.bringup.graph import dual_camera
from sage_perception.bringup.processes import GraphRunner
from sage_perception.cli.demo.footage import DemoError, Scene
from sage_perception.cli.demo.recording import recording, start_waiting_for_fused

START_LIMIT_S = 60.0
"""Maximum time until the graph publishes fused LCTs, seconds."""
WARM_UP_S = 2.0
"""Time between the start of the graph and the measurement, seconds."""
LOG = 'graph.log'
"""The log file in the folder of a scene, which also marks the folder of an earlier demo."""
PARAMS_FILE = 'dual_camera.yaml'


@dataclass(frozen=True)
class RecordedScene:
    """The bag of a scene and how the nodes ran.

    Attributes:
        bag: the bag.
        since_ns: stamp from which the graph is measured, nanoseconds.
        graph_up_s: time from the start of the processes to the first fused LCTs, seconds.
        processes: CPU and memory of each node.
        exits: exit code of each node.
    """

    bag: Path
    since_ns: int
    graph_up_s: float
    processes: dict[str, dict[str, float]]
    exits: dict[str, int | None]


def record_scene(
    scene: Scene, folder: Path, duration_s: float, env: Mapping[str, str], console: Console
) -> RecordedScene:
    """Run the graph on a scene for `duration_s` seconds; bag and logs are written to `folder`."""
    topics = ['/agreement', '/fused', '/trust_report', '/mosaic/compressed']
    for camera in scene.cameras:
        topics += [f'/{camera.name}/{n}' for n in ('camera_info', 'crops', 'lcts', 'model_info')]
    start_s = time.monotonic()
    with open(folder / LOG, 'w') as log:
        runner = GraphRunner(
            dual_camera(scene.cameras),  # composed, the latency is longer
            params_file=config_path(PARAMS_FILE),
            env=env,
            on_line=lambda node, line: print(node, line, file=log),
        )
        with runner, recording(folder / 'bag', topics, env, folder / 'record.log'):
            _wait_for_graph(runner, folder, console)
            graph_up_s = time.monotonic() - start_s
            time.sleep(WARM_UP_S)
            since_ns = time.time_ns()
            try:
                processes = _watch(runner, scene.name, duration_s, folder, console)
            except psutil.NoSuchProcess as error:
                raise DemoError(f'a node ended: {error}; see {folder / LOG}') from None
        exits = {path: node.exit_code for path, node in runner.processes.items()}
    for path, code in exits.items():
        if code:
            console.print(f'[yellow]{path} ended with exit code {code}; see {folder / LOG}[/]')
    return RecordedScene(folder / 'bag', since_ns, graph_up_s, processes, exits)


def _wait_for_graph(runner: GraphRunner, folder: Path, console: Console) -> None:
    """Wait until the arbiter publishes fused LCTs, which need all other nodes."""
    process = start_waiting_for_fused(runner.environment)
    deadline_s = time.monotonic() + START_LIMIT_S
    with console.status('starting the graph ...'):
        while process.poll() is None:
            if runner.failure or time.monotonic() > deadline_s:
                process.kill()
                reason = runner.failure or f'no fused LCTs within {START_LIMIT_S:.0f} s'
                raise DemoError(f'{reason}; see {folder / LOG}')
            time.sleep(0.05)


def _watch(
    runner: GraphRunner, name: str, duration_s: float, folder: Path, console: Console
) -> dict[str, dict[str, float]]:
    """Let the graph run for `duration_s`; return CPU and memory of each node."""
    nodes = {path: psutil.Process(node.pid) for path, node in runner.processes.items()}
    memory: dict[str, list[float]] = {path: [] for path in nodes}
    start_s = time.monotonic()
    spent = {path: sum(node.cpu_times()[:2]) for path, node in nodes.items()}
    columns = (TextColumn(f'two cameras, {name}'), BarColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task('', total=duration_s)
        while (elapsed_s := time.monotonic() - start_s) < duration_s:
            progress.update(task, completed=elapsed_s)
            if runner.wait(min(1.0, duration_s - elapsed_s)):
                raise DemoError(f'{runner.failure}; see {folder / LOG}')
            for path, node in nodes.items():
                memory[path].append(node.memory_info().rss / 2**20)
    elapsed_s = time.monotonic() - start_s
    return {
        path: {
            'cpu_percent': round((sum(node.cpu_times()[:2]) - spent[path]) / elapsed_s * 100, 1),
            'rss_mb': round(memory[path][-1], 1),
            'rss_growth_mb': round(memory[path][-1] - memory[path][len(memory[path]) // 3], 1),
            'restarts': runner.processes[path].restarts,
        }
        for path, node in nodes.items()
    }
