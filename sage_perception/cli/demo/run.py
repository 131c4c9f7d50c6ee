# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Runs the demo: graph and recorder, then a replay through fresh encoders, then the report."""

from __future__ import annotations

import contextlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from sage_perception.bags.reader import open_bag
from sage_perception.bringup.environment import config_path, dds_environment
from sage_perception.bringup.graph import Camera, dual_camera
from sage_perception.bringup.processes import GraphRunner
from sage_perception.cli.demo.measure import Run, compare, read, summarize
from sage_perception.cli.demo.plot import plot
from sage_perception.cli.terminal import EXIT_FAILED, Parser, in_one_line, positive

CAMERAS = ['cam0', 'cam1']
FPS = 30
SIZE = '640x480'
TARGET_MS = 40.0
START_LIMIT_S = 60.0
WARM_UP_S = 2.0
SETTLED_S = 1.0  # nodes that one node has discovered may not have discovered one another yet
REPLAY_RATE = 1.0
VIDEOS = ('.avi', '.mp4', '.mkv')
# cam1 sees this window of cam0's image (fractions of its width and height), a little brighter.
WINDOW = (0.08, 0.08, 0.86, 0.86)
GAIN = 1.15
LOG = 'graph.log'  # what every demo leaves in its folder, even one that failed

console = Console()


@in_one_line('sage demo')
def main(argv: list[str] | None = None) -> int:
    """Run the demo and return 0, or say in one line what failed and return 1."""
    parser = Parser(
        prog='sage demo',
        description='Run the two-camera graph on a video: cam0 plays it, cam1 plays a shifted, '
        'scaled and brighter window of it, in step. Everything but the raw frames is recorded, '
        'replayed through fresh encoders, and measured; a summary, images and the bag are left '
        'in the output folder.',
    )
    parser.add_argument(
        '--footage',
        type=Path,
        required=True,
        metavar='PATH',
        help='a video, or a folder to take the first one from (vtest.avi preferred)',
    )
    parser.add_argument('--out', type=Path, default=Path('out/demo'), help='default: out/demo')
    parser.add_argument('--duration', type=positive, default=20.0, metavar='S', help='default: 20')
    args = parser.parse_args(argv)
    try:
        summary = demonstrate(find_video(args.footage), args.out, args.duration)
    except DemoError as error:
        console.print(f'[red]sage demo:[/] {error}')
        return EXIT_FAILED
    show(summary, args.out)
    return 0


class DemoError(Exception):
    """What went wrong, and where to look."""


def find_video(footage: Path) -> Path:
    """Return the video to play."""
    if footage.is_file():
        return footage.resolve()
    videos = sorted(path for path in footage.rglob('*') if path.suffix.lower() in VIDEOS)
    if not videos:
        raise DemoError(f'{footage} holds no video ({", ".join(VIDEOS)}): give one as --footage')
    preferred = [path for path in videos if path.name.endswith('vtest.avi')]
    return (preferred or videos)[0].resolve()


def make_room(out: Path) -> None:
    """Make a folder, without what an earlier demo left there; leave all other folders alone."""
    if out.exists() and any(out.iterdir()) and not (out / LOG).exists():
        raise DemoError(f'--out: {out} holds what no demo made: give an empty or a new folder')
    for bag in ('bag', 'replayed'):
        shutil.rmtree(out / bag, ignore_errors=True)
    out.mkdir(parents=True, exist_ok=True)


def views(video: Path) -> list[Camera]:
    """Return the two cameras that look at the same footage in step."""
    import cv2

    capture = cv2.VideoCapture(str(video))
    width = int(capture.get(cv2.CAP_PROP_FRAME_WIDTH))
    height = int(capture.get(cv2.CAP_PROP_FRAME_HEIGHT))
    capture.release()
    if not width or not height:
        raise DemoError(f'{video} cannot be read as a video')
    x, y, w, h = (
        round(part * side)
        for part, side in zip(WINDOW, (width, height, width, height), strict=True)
    )
    shared = f'file://{video}?fps={FPS}&lock=wall&size={SIZE}'
    window = f'{shared}&roi={x},{y},{w},{h}&gain={GAIN}'
    return [Camera('cam0', source=shared), Camera('cam1', source=window)]


def demonstrate(video: Path, out: Path, duration_s: float) -> dict:
    """Run everything; return the summary, which is also written to `out/summary.json`."""
    cameras = views(video)
    make_room(out)
    env = isolated_environment()

    topics = ['/agreement', '/fused', '/trust_report', '/mosaic/compressed']
    for camera in CAMERAS:
        names = ('camera_info', 'crops', 'lcts', 'model_info')
        topics += [f'/{camera}/{name}' for name in names]
    specs = dual_camera(cameras)
    params = config_path('dual_camera.yaml')
    begun = time.monotonic()
    with open(out / LOG, 'w') as log:
        runner = GraphRunner(
            specs,
            params_file=params,
            env=env,
            on_line=lambda node, line: print(node, line, file=log),
        )
        with runner, recording(out / 'bag', topics, env, out / 'record.log'):
            wait_for_graph(runner, out)
            graph_up_s = time.monotonic() - begun
            time.sleep(WARM_UP_S)
            since_ns = time.time_ns()
            processes = watch(runner, duration_s, out)
        exits = {path: node.exit_code for path, node in runner.processes.items()}
    for path, code in exits.items():
        if code:
            console.print(f'[yellow]{path} ended with code {code}; see {out}/{LOG}[/]')

    run = read(messages_of(out / 'bag'), CAMERAS, since_ns)
    recorded = read(messages_of(out / 'bag'), CAMERAS)
    figures = summarize(run, duration_s)
    for camera in CAMERAS:
        figures['cameras'][camera]['lcts'] = recorded.reports[camera]
    replayed = replay(out, env)
    figures['replay'] = {
        'rate': REPLAY_RATE,
        **{
            camera: compare(recorded.cameras[camera].numbers, replayed.cameras[camera].numbers)
            for camera in CAMERAS
        },
    }
    images = draw(run, out)
    summary = {
        'footage': {
            'video': video.name,
            'played_at_hz': FPS,
            'size': SIZE,
            'cam0': 'the whole image',
            'cam1': f'the window {WINDOW} of the same image (x, y, width, height as fractions), '
            f'scaled to the same size, {GAIN} times as bright, in step with cam0',
        },
        'duration_s': duration_s,
        'graph_up_s': round(graph_up_s, 1),
        **figures,
        'processes': processes,
        'exit_codes': exits,
        'bag': str(out / 'bag'),
        'images': images,
    }
    (out / 'summary.json').write_text(json.dumps(summary, indent=2) + '\n')
    return summary


def isolated_environment() -> dict[str, str]:
    """Return an environment in which no other robot's graph is seen, nor disturbed."""
    env = dict(os.environ)
    env.setdefault('ROS_DOMAIN_ID', str(random.randrange(100, 200)))
    env.setdefault('ROS_AUTOMATIC_DISCOVERY_RANGE', 'LOCALHOST')
    env.update(dds_environment(env))
    return env


@contextlib.contextmanager
def recording(bag: Path, topics: list[str], env: dict, log: Path):
    """Record `topics` to `bag` for as long as the context lasts."""
    command = [sys.executable, '-m', 'sage_perception.cli.main', 'record', '-o', str(bag), *topics]
    with open(log, 'w') as file:
        process = subprocess.Popen(
            command, env=env, stdout=file, stderr=subprocess.STDOUT, start_new_session=True
        )
        try:
            yield
        finally:
            process.send_signal(signal.SIGINT)
            code = process.wait(timeout=30)
    if code:
        raise DemoError(f'the recorder ended with exit code {code}; see {log}')


def messages_of(path: Path) -> Iterator[tuple[str, object, int]]:
    """Return topic, message and time of receipt of all that a bag holds."""
    with open_bag(path) as bag:
        for topic, _, received_ns, data in bag:
            yield topic, bag.deserialize(topic, data), received_ns


def wait_for_graph(runner: GraphRunner, out: Path) -> None:
    """Wait until a fused latent comes out at the far end of the graph."""
    listen = (
        'import rclpy, sys; from sage_msgs.msg import LCTArray; rclpy.init(); '
        "node = rclpy.create_node('demo'); "
        "node.create_subscription(LCTArray, 'fused', lambda message: sys.exit(), 10); "
        'rclpy.spin(node)'
    )
    process = subprocess.Popen([sys.executable, '-c', listen], env=runner.environment)
    deadline = time.monotonic() + START_LIMIT_S
    with console.status('starting the graph ...'):
        while process.poll() is None:
            if runner.failure or time.monotonic() > deadline:
                process.kill()
                why = runner.failure or f'nothing was fused within {START_LIMIT_S:.0f} s'
                raise DemoError(f'{why}; see {out}/{LOG}')
            time.sleep(0.05)


def wait_for_encoders(env: dict, log: Path) -> None:
    """Wait until each encoder has said its model, for then it is ready, and is recorded."""
    look = (
        'import rclpy, sys; from sage_msgs.msg import ModelInfo; '
        'from sage_perception.ros import qos; rclpy.init(); '
        "node = rclpy.create_node('demo'); silent = set(sys.argv[1:])\n"
        'for name in sys.argv[1:]:\n'
        '    said = lambda _, name=name: silent.discard(name)\n'
        "    node.create_subscription(ModelInfo, f'/{name}/model_info', said, qos.LATCHED)\n"
        "while silent or not all(node.count_subscribers(f'/{n}/lcts') for n in sys.argv[1:]):\n"
        '    rclpy.spin_once(node, timeout_sec=0.05)'
    )
    try:
        subprocess.run([sys.executable, '-c', look, *CAMERAS], env=env, timeout=START_LIMIT_S)
    except subprocess.TimeoutExpired:
        raise DemoError(
            f'the encoders of the replay were not there within {START_LIMIT_S:.0f} s; see {log}'
        ) from None


def watch(runner: GraphRunner, duration_s: float, out: Path) -> dict:
    """Let the graph run; return CPU and memory of each node."""
    nodes = {path: psutil.Process(node.pid) for path, node in runner.processes.items()}
    memory: dict[str, list[float]] = {path: [] for path in nodes}
    begun = time.monotonic()
    spent = {path: sum(node.cpu_times()[:2]) for path, node in nodes.items()}
    columns = (TextColumn('two cameras'), BarColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task('', total=duration_s)
        while (elapsed := time.monotonic() - begun) < duration_s:
            progress.update(task, completed=elapsed)
            if runner.wait(min(1.0, duration_s - elapsed)):
                raise DemoError(f'{runner.failure}; see {out}/{LOG}')
            for path, node in nodes.items():
                memory[path].append(node.memory_info().rss / 2**20)
    elapsed = time.monotonic() - begun
    return {
        path: {
            'cpu_percent': round((sum(node.cpu_times()[:2]) - spent[path]) / elapsed * 100, 1),
            'rss_mb': round(memory[path][-1], 1),
            'rss_growth_mb': round(memory[path][-1] - memory[path][len(memory[path]) // 3], 1),
            'restarts': runner.processes[path].restarts,
        }
        for path, node in nodes.items()
    }


def replay(out: Path, env: dict) -> Run:
    """Play the recorded crops to fresh encoders, on the bag's clock; return what they said."""
    encoders = [
        spec
        for spec in dual_camera(use_sim_time=True, viewer=False)
        if spec.executable == 'encoder_node'
    ]
    env = {**env, 'ROS_DOMAIN_ID': str((int(env['ROS_DOMAIN_ID']) + 1) % 200)}
    crops = [f'/{camera}/crops' for camera in CAMERAS]
    lcts = [f'/{camera}/lcts' for camera in CAMERAS]
    command = [sys.executable, '-m', 'sage_perception.cli.main', 'replay', str(out / 'bag')]
    command += ['--clock', '--rate', str(REPLAY_RATE), '--wait-for-subscribers']
    command += ['--topics', *crops]
    params = config_path('dual_camera.yaml')
    with (
        console.status('replaying the bag through fresh encoders ...'),
        open(out / 'replay.log', 'w') as log,
        GraphRunner(encoders, params_file=params, env=env),
        recording(out / 'replayed', lcts, env, out / 'record_replay.log'),
    ):
        wait_for_encoders(env, out / 'record_replay.log')
        time.sleep(SETTLED_S)
        done = subprocess.run(command, env=env, stdout=log, stderr=subprocess.STDOUT)
        time.sleep(1.0)
    if done.returncode:
        raise DemoError(f'the replay ended with exit code {done.returncode}; see {out}/replay.log')
    return read(messages_of(out / 'replayed'), CAMERAS)


def draw(run: Run, out: Path) -> list[str]:
    """Write the images; return their paths."""
    import cv2
    import numpy as np

    plot(run, out / 'timeline.png', TARGET_MS)
    images = [str(out / 'timeline.png')]
    if run.mosaic:
        image = cv2.imdecode(np.frombuffer(run.mosaic, np.uint8), cv2.IMREAD_COLOR)
        cv2.imwrite(str(out / 'mosaic.png'), image)
        images.insert(0, str(out / 'mosaic.png'))
    return images


def show(summary: dict, out: Path) -> None:
    """Print the figures that matter."""
    for name, camera in summary['cameras'].items():
        latency = camera['latency_ms']
        console.print(
            f'{name}: {camera["frames_attended"]} of {camera["frames_published"]} frames '
            f'attended, {camera["latents"]} latents, latency p50 {latency["p50"]} ms, '
            f'p95 {latency["p95"]} ms'
        )
        again = summary['replay'][name]
        console.print(
            f'      replay: {again["identical"]} of {again["latents_recorded"]} latents identical'
        )
    agreements = summary['agreements']
    console.print(f'agreements: {agreements["high"]} HIGH, {agreements["low"]} LOW')
    for image in summary['images']:
        console.print(f'look at {image}')
    console.print(f'all figures: {out}/summary.json')
