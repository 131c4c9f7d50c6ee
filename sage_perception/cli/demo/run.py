# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Run the demo: graph and recorder, a replay through new encoders, and the report."""

from __future__ import annotations

import json
import os
import random
import shutil
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import psutil
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from sage_perception.benchmark.measure import MeasurementError, measure
from sage_perception.bringup.environment import config_path, dds_environment
from sage_perception.bringup.graph import Camera, dual_camera
from sage_perception.bringup.processes import GraphRunner
from sage_perception.cli.demo.footage import FPS, GAIN, SIZE, WINDOW, DemoError, cameras_of
from sage_perception.cli.demo.measure import Run, compare, read, summarize
from sage_perception.cli.demo.plot import plot
from sage_perception.cli.demo.recording import (
    messages_of,
    recording,
    replay,
    start_waiting_for_fused,
    wait_for_encoders,
)
from sage_perception.cli.demo.report import Strips, demo_report
from sage_perception.core.files import write_atomically
from sage_perception.reports.html.render import write_report

CAMERAS = ['cam0', 'cam1']
TARGET_MS = 40.0
"""Target of the latency, drawn in the plot, milliseconds."""
START_LIMIT_S = 60.0
"""Maximum time until the graph publishes fused LCTs, seconds."""
WARM_UP_S = 2.0
"""Time between the start of the graph and the measurement, seconds."""
DISCOVERY_S = 1.0
"""Time for nodes to discover each other after another node has discovered them, seconds."""
REPLAY_RATE = 1.0
LOG = 'graph.log'
"""The log file in the output folder, which also marks the folder of an earlier demo."""
PARAMS_FILE = 'dual_camera.yaml'


def run_demo(video: Path, out: Path, duration_s: float, console: Console) -> dict[str, Any]:
    """Run the demo; return the summary, which is also written to `out/summary.json`."""
    cameras = cameras_of(video)
    specs = dual_camera(cameras)  # composed, the latency is longer
    prepare_folder(out)
    env = isolated_environment()

    topics = ['/agreement', '/fused', '/trust_report', '/mosaic/compressed']
    for camera in CAMERAS:
        topics += [f'/{camera}/{n}' for n in ('camera_info', 'crops', 'lcts', 'model_info')]
    start_s = time.monotonic()
    with open(out / LOG, 'w') as log:
        runner = GraphRunner(
            specs,
            params_file=config_path(PARAMS_FILE),
            env=env,
            on_line=lambda node, line: print(node, line, file=log),
        )
        with runner, recording(out / 'bag', topics, env, out / 'record.log'):
            wait_for_graph(runner, out, console)
            graph_up_s = time.monotonic() - start_s
            time.sleep(WARM_UP_S)
            since_ns = time.time_ns()
            try:
                processes = watch(runner, duration_s, out, console)
            except psutil.NoSuchProcess as error:
                raise DemoError(f'a node ended: {error}; see {out}/{LOG}') from None
        exits = {path: node.exit_code for path, node in runner.processes.items()}
    for path, code in exits.items():
        if code:
            console.print(f'[yellow]{path} ended with exit code {code}; see {out}/{LOG}[/]')

    strips = Strips(CAMERAS, since_ns, duration_s)
    run = read(strips.observe(messages_of(out / 'bag')), CAMERAS, since_ns)
    recorded = read(messages_of(out / 'bag'), CAMERAS)
    figures = summarize(run, duration_s)
    for camera in CAMERAS:
        figures['cameras'][camera]['lcts'] = recorded.reports[camera]
    replayed = replay_to_new_encoders(out, env, console)
    figures['replay'] = {
        'rate': REPLAY_RATE,
        **{
            camera: compare(recorded.cameras[camera].values, replayed.cameras[camera].values)
            for camera in CAMERAS
        },
    }
    figures['composition'] = compare_compositions(cameras, duration_s / 2, console)
    images = write_images(run, out)
    summary = {
        'footage': {
            'video': video.name,
            'played_at_hz': FPS,
            'size': SIZE,
            'cam0': 'the whole image',
            'cam1': f'the part {WINDOW} of the same image (x, y, width, height as shares), scaled '
            f'to the same size, with gain {GAIN}, synchronous with cam0',
        },
        'duration_s': duration_s,
        'graph_up_s': round(graph_up_s, 1),
        **figures,
        'processes': processes,
        'exit_codes': exits,
        'bag': str(out / 'bag'),
        'images': images,
        'report': str(out / 'report.html'),
    }
    write_report(demo_report(run, summary, strips.moments(), TARGET_MS), out / 'report.html')
    write_atomically(out / 'summary.json', json.dumps(summary, indent=2) + '\n')
    return summary


def compare_compositions(
    cameras: Sequence[Camera], duration_s: float, console: Console
) -> dict[str, dict[str, Any]]:
    """Return figures of the graph in one process ('composed') and in one per node ('separate')."""
    found: dict[str, dict[str, Any]] = {}
    for name, mode in (('composed', 'graph'), ('separate', 'none')):
        with console.status(f'measuring the graph, {name} ...'):
            try:
                run = measure(cameras, mode, duration_s, FPS)
            except MeasurementError as error:
                raise DemoError(f'the {name} graph cannot be measured: {error}') from error
        keys = ('attended', 'p50_ms', 'p95_ms', 'fused_p95_ms', 'cpu_percent', 'pss_mb')
        found[name] = {key: run[key] for key in keys}
    return found


def prepare_folder(out: Path) -> None:
    """Create the output folder, or empty the one of an earlier demo; reject any other folder."""
    if out.exists() and any(out.iterdir()) and not (out / LOG).exists():
        raise DemoError(f'--out: {out} contains other files; give an empty or a new folder')
    for bag in ('bag', 'replayed'):
        shutil.rmtree(out / bag, ignore_errors=True)
    out.mkdir(parents=True, exist_ok=True)


def isolated_environment() -> dict[str, str]:
    """Return environment variables that isolate the graph from those of other robots."""
    env = dict(os.environ)
    env.setdefault('ROS_DOMAIN_ID', str(random.randrange(100, 200)))
    env.setdefault('ROS_AUTOMATIC_DISCOVERY_RANGE', 'LOCALHOST')
    env.update(dds_environment(env))
    return env


def wait_for_graph(runner: GraphRunner, out: Path, console: Console) -> None:
    """Wait until the arbiter publishes fused LCTs, which need all other nodes."""
    process = start_waiting_for_fused(runner.environment)
    deadline_s = time.monotonic() + START_LIMIT_S
    with console.status('starting the graph ...'):
        while process.poll() is None:
            if runner.failure or time.monotonic() > deadline_s:
                process.kill()
                reason = runner.failure or f'no fused LCTs within {START_LIMIT_S:.0f} s'
                raise DemoError(f'{reason}; see {out}/{LOG}')
            time.sleep(0.05)


def watch(
    runner: GraphRunner, duration_s: float, out: Path, console: Console
) -> dict[str, dict[str, float]]:
    """Let the graph run for `duration_s`; return CPU and memory of each node."""
    nodes = {path: psutil.Process(node.pid) for path, node in runner.processes.items()}
    memory: dict[str, list[float]] = {path: [] for path in nodes}
    start_s = time.monotonic()
    spent = {path: sum(node.cpu_times()[:2]) for path, node in nodes.items()}
    columns = (TextColumn('two cameras'), BarColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task('', total=duration_s)
        while (elapsed_s := time.monotonic() - start_s) < duration_s:
            progress.update(task, completed=elapsed_s)
            if runner.wait(min(1.0, duration_s - elapsed_s)):
                raise DemoError(f'{runner.failure}; see {out}/{LOG}')
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


def replay_to_new_encoders(out: Path, env: Mapping[str, str], console: Console) -> Run:
    """Replay the recorded crops to new encoders, on the clock of the bag; return their LCTs."""
    encoders = [
        spec
        for spec in dual_camera(use_sim_time=True, viewer=False)
        if spec.executable == 'encoder_node'
    ]
    env = {**env, 'ROS_DOMAIN_ID': str((int(env['ROS_DOMAIN_ID']) + 1) % 200)}
    crops = [f'/{camera}/crops' for camera in CAMERAS]
    lcts = [f'/{camera}/lcts' for camera in CAMERAS]
    log = out / 'record_replay.log'
    with (
        console.status('replaying the bag to new encoders ...'),
        GraphRunner(encoders, params_file=config_path(PARAMS_FILE), env=env),
        recording(out / 'replayed', lcts, env, log),
    ):
        wait_for_encoders(CAMERAS, env, START_LIMIT_S, log)
        time.sleep(DISCOVERY_S)
        replay(out / 'bag', crops, REPLAY_RATE, env, out / 'replay.log')
        time.sleep(1.0)
    return read(messages_of(out / 'replayed'), CAMERAS)


def write_images(run: Run, out: Path) -> list[str]:
    """Write the timeline and the mosaic; return their paths."""
    plot(run, out / 'timeline.png', TARGET_MS)
    paths = [str(out / 'timeline.png')]
    if run.mosaic:
        image = cv2.imdecode(np.frombuffer(run.mosaic, np.uint8), cv2.IMREAD_COLOR)
        if image is not None:
            cv2.imwrite(str(out / 'mosaic.png'), image)
            paths.insert(0, str(out / 'mosaic.png'))
    return paths
