# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Run the demo: two scenes with graph and recorder, a replay through new encoders, a report."""

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
from rich.console import Console

from sage_perception.benchmark.measure import MeasurementError, measure
from sage_perception.bringup.environment import config_path, dds_environment
from sage_perception.bringup.graph import Camera, dual_camera
from sage_perception.bringup.processes import GraphRunner
from sage_perception.cli.demo.footage import (
    FPS,
    GAIN,
    HEIGHT,
    WIDTH,
    DemoError,
    Scene,
    scenes_of,
)
from sage_perception.cli.demo.measure import Run, compare, read, summarize
from sage_perception.cli.demo.overlap import overlap
from sage_perception.cli.demo.plot import plot
from sage_perception.cli.demo.recording import messages_of, recording, replay, wait_for_encoders
from sage_perception.cli.demo.report import Strips, demo_report
from sage_perception.cli.demo.scene import LOG, PARAMS_FILE, START_LIMIT_S, record_scene
from sage_perception.core.files import write_atomically
from sage_perception.reports.html.render import write_report

CAMERAS = ['cam0', 'cam1']
TARGET_MS = 40.0
"""Target of the latency, drawn in the plot, milliseconds."""
MOVING_SHARE, COMPOSITION_SHARE = 0.5, 0.4
"""Durations of the moving scene and of each composition, as shares of the standing scene's."""
DISCOVERY_S = 1.0
"""Time for nodes to discover each other after another node has discovered them, seconds."""
REPLAY_RATE = 1.0


def run_demo(video: Path, out: Path, duration_s: float, console: Console) -> dict[str, Any]:
    """Run the demo; return the summary, which is also written to `out/summary.json`."""
    still, moving = scenes_of(video)
    prepare_folder(out)
    env = isolated_environment()

    recorded = record_scene(still, out, duration_s, env, console)
    strips = Strips(CAMERAS, recorded.since_ns, duration_s)
    run = read(strips.observe(messages_of(recorded.bag)), CAMERAS, recorded.since_ns)
    whole = read(messages_of(recorded.bag), CAMERAS)
    figures = summarize(run, duration_s)
    for camera in CAMERAS:
        figures['cameras'][camera]['lcts'] = whole.reports[camera]
    replayed = replay_to_new_encoders(out, env, console)
    figures['replay'] = {
        'rate': REPLAY_RATE,
        **{
            camera: compare(whole.cameras[camera].values, replayed.cameras[camera].values)
            for camera in CAMERAS
        },
    }
    figures['seen_by_both'] = seen_by_both(run, still)
    moved, figures['moving'] = run_moving_scene(
        moving, out / 'moving', MOVING_SHARE * duration_s, env, console
    )
    figures['composition'] = compare_compositions(
        still.cameras, COMPOSITION_SHARE * duration_s, console
    )
    mosaics = {'mosaic.png': run, 'mosaic_moving.png': moved}
    images = [write_mosaic(shown, out / name) for name, shown in mosaics.items() if shown.mosaic]
    plot(run, out / 'timeline.png', TARGET_MS)
    summary = {
        'footage': {
            'video': video.name,
            'played_at_hz': FPS,
            'size': f'{WIDTH}x{HEIGHT}',
            'cam0': 'the whole image',
            'cam1': f'{still.text}, scaled to the same size, with gain {GAIN}, synchronous '
            'with cam0',
        },
        'duration_s': duration_s,
        'graph_up_s': round(recorded.graph_up_s, 1),
        **figures,
        'processes': recorded.processes,
        'exit_codes': recorded.exits,
        'bag': str(recorded.bag),
        'images': [*images, str(out / 'timeline.png')],
        'report': str(out / 'report.html'),
    }
    report = demo_report(run, summary, strips.moments(), TARGET_MS, moved)
    write_report(report, out / 'report.html')
    write_atomically(out / 'summary.json', json.dumps(summary, indent=2) + '\n')
    return summary


def run_moving_scene(
    scene: Scene, folder: Path, duration_s: float, env: Mapping[str, str], console: Console
) -> tuple[Run, dict[str, Any]]:
    """Run the graph on the moving scene; return its messages and figures."""
    folder.mkdir()
    recorded = record_scene(scene, folder, duration_s, env, console)
    run = read(messages_of(recorded.bag), CAMERAS, recorded.since_ns)
    figures = {
        'cam1': f'{scene.text}, with gain {GAIN}, synchronous with cam0, which stands',
        'duration_s': duration_s,
        **summarize(run, duration_s),
        'seen_by_both': seen_by_both(run, scene),
        'bag': str(recorded.bag),
    }
    return run, figures


def seen_by_both(run: Run, scene: Scene) -> dict[str, float | int | None]:
    """Return how many of the moving regions of cam0 cam1 finds too."""
    return overlap(run.cameras['cam0'], run.cameras['cam1'], scene.in_cam1)


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
    for folder in ('bag', 'replayed', 'moving'):
        shutil.rmtree(out / folder, ignore_errors=True)
    out.mkdir(parents=True, exist_ok=True)


def isolated_environment() -> dict[str, str]:
    """Return environment variables that isolate the graph from those of other robots."""
    env = dict(os.environ)
    env.setdefault('ROS_DOMAIN_ID', str(random.randrange(100, 200)))
    env.setdefault('ROS_AUTOMATIC_DISCOVERY_RANGE', 'LOCALHOST')
    env.update(dds_environment(env))
    return env


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


def write_mosaic(run: Run, path: Path) -> str:
    """Write the mosaic of a run as an image; return its path. Raises `DemoError`."""
    image = cv2.imdecode(np.frombuffer(run.mosaic, np.uint8), cv2.IMREAD_COLOR)
    if image is None or not cv2.imwrite(str(path), image):
        raise DemoError(f'{path}: the mosaic cannot be written')
    return str(path)
