# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Kill each node of a running graph with SIGKILL; measure the time until it works again.

A node works again when each topic that it published before carries messages again, and so do
`fused` and `l_latent` of the graph; a node without such topics works when it answers requests.
Prints one JSON object, also to out/bench/recovery.json: for each node the median time in seconds,
its parts, and the CPU time of the new process until then; or `failed` with the reason if it does
not work again within `--timeout` seconds. Ends within `--minutes`.
"""

from __future__ import annotations

import argparse
import os
import signal
import statistics
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import psutil
from result_file import add_out, show_result, write_result
from scipy.io import wavfile

from sage_perception.audio.mel import RATE
from sage_perception.bringup.composition import MODES, compose
from sage_perception.bringup.environment import dds_environment
from sage_perception.bringup.graph import Camera, NodeSpec, perception
from sage_perception.bringup.optional_nodes import OPTIONAL_NODES
from sage_perception.bringup.processes import GraphRunner
from sage_perception.bringup.respawn import RespawnPolicy
from sage_perception.core.files import make_folder

sys.path.insert(0, str(Path(__file__).parent / 'malformed'))

from fuzzing.client import Client, wait_for
from fuzzing.ending import end_within
from fuzzing.private_devices import with_private_devices
from translation_parts.inputs import inputs

START_S = 120.0
RATE_S = 4.0
"""Time over which the rates of topics are measured, seconds."""
POLL_S = 0.5
"""Time between requests to a node that has no topics, seconds: those to a dead one are lost."""
RESULTS = ('/fused', '/l_latent')
IGNORED = ('/rosout', '/parameter_events', '/diagnostics')
"""Topics of all nodes, which do not show that a certain one works."""


class NotWhole(RuntimeError):
    """A process that does not work again; the message has the reason."""


def tones(folder: Path) -> Path:
    """Return a WAV file with more than one sound event a second."""
    rng, time_s = np.random.default_rng(0), np.arange(4 * RATE) / RATE
    sound = np.where(time_s % 0.7 < 0.2, 0.2 * np.sin(2 * np.pi * 600 * time_s), 0)
    sound += 1e-3 * rng.standard_normal(len(time_s))
    wavfile.write(folder / 'tones.wav', RATE, sound.astype(np.float32))
    return folder / 'tones.wav'


def nodes_of(runner: GraphRunner) -> dict[str, list[str]]:
    """Return the full names of the nodes of each process."""
    return {
        path: [f'/{node.path}' for node in (process.spec.nodes or (process.spec,))]
        for path, process in runner.processes.items()
    }


def topics_of(client: Client, nodes: list[str], seconds: float) -> list[str]:
    """Return the topics of nodes that carry messages at least every second.

    Topics with rare messages, such as the challenges of an arbiter, do not show when a node works.
    """
    names = {name for node in nodes for name, _ in client.published(node)} - set(IGNORED)
    before = dict(client.received)
    client.receive(lambda: False, seconds)
    return sorted(n for n in names if client.received[n] - before.get(n, 0) >= seconds)


def kill(
    runner: GraphRunner,
    client: Client,
    path: str,
    names: list[str],
    own: list[str],
    timeout_s: float,
) -> dict[str, float]:
    """Kill the process of nodes, and return the times until it works again, seconds.

    `own` are its topics. Raises `NotWhole` if it is not restarted, or does not work, in time.
    """
    process = runner.processes[path]
    topics, old = sorted({*own, *RESULTS}), process.pid
    if old is None:
        raise NotWhole('is not running')
    begun = time.monotonic()
    os.kill(old, signal.SIGKILL)
    if not client.receive(lambda: process.pid not in (None, old), timeout_s):
        raise NotWhole('is not restarted')
    started = time.monotonic()
    restarted_ns = time.time_ns()  # messages of the dead process still arrive
    times: dict[str, float] = {}

    def works() -> bool:
        for name in topics:
            if name not in times and client.sent_ns[name] > restarted_ns:
                times[name] = time.monotonic()
        return len(times) == len(topics)

    if not client.receive(works, timeout_s):
        raise NotWhole(f'no messages on {sorted(set(topics) - set(times))}')
    if not own:
        if not wait_for(lambda: all(client.is_alive(each, POLL_S) for each in names), timeout_s):
            raise NotWhole('does not answer')
        times[path] = time.monotonic()
    new = process.pid
    if new is None:
        raise NotWhole('died again')
    cpu = psutil.Process(new).cpu_times()
    return {
        'seconds': max(times.values()) - begun,
        'until_restart': started - begun,
        'until_own_message': min((times[name] for name in own), default=started) - begun,
        'cpu': cpu.user + cpu.system,
    }


def measure(
    specs: list[NodeSpec], runs: int, timeout_s: float
) -> dict[str, dict[str, float | str]]:
    """Return the median times of each process of a graph, or why it does not work again."""
    client = Client()
    found: dict[str, dict[str, float | str]] = {}
    try:
        with GraphRunner(specs, log_level='warn') as runner:
            places = nodes_of(runner)
            for names in places.values():
                if not all(client.is_alive(name, START_S) for name in names):
                    raise RuntimeError(f'{names} do not start: {runner.failure}')
            nodes = [name for names in places.values() for name in names]
            watched = {topic for node in nodes for topic in client.published(node)}
            client.watch(each for each in watched if each[0] not in IGNORED)
            client.receive(lambda: all(client.received[name] > 3 for name in RESULTS), START_S)
            for path, names in places.items():
                found[path] = recover(runner, client, path, names, runs, timeout_s)
                print(path, found[path], file=sys.stderr)
    finally:
        client.close()
    return found


def recover(
    runner: GraphRunner,
    client: Client,
    path: str,
    names: list[str],
    runs: int,
    timeout_s: float,
) -> dict[str, float | str]:
    """Kill one process `runs` times; return the medians, or `failed` with the reason."""
    topics = topics_of(client, names, RATE_S)
    times = []
    try:
        for _ in range(runs):
            times.append(kill(runner, client, path, names, topics, timeout_s))
            client.receive(lambda: False, 2.0)
            # Each kill counts as the first one.
            process = runner.processes[path]
            process.respawn = RespawnPolicy(True, process.spec.respawn_delay_s)
    except NotWhole as error:
        return {'failed': f'{error} after kill {len(times) + 1}'}
    return {key: round(statistics.median(each[key] for each in times), 2) for key in times[0]}


def main() -> int:
    """Measure the graph, and write the figures."""
    parser = argparse.ArgumentParser(description=(__doc__ or '').split('\n')[0])
    parser.add_argument('--runs', type=int, default=5, help='kills of each process (default: 5)')
    parser.add_argument('--fps', type=float, default=15.0, help='frame rate (default: 15)')
    parser.add_argument('--cameras', type=int, default=2, help='cameras (default: 2)')
    parser.add_argument('--composition', choices=MODES, default='none')
    parser.add_argument(
        '--nodes',
        nargs='*',
        default=(),
        choices=[node.name for node in OPTIONAL_NODES],
        metavar='NODE',
        help='optional nodes beside memory and compressor, such as slots',
    )
    parser.add_argument(
        '--timeout', type=float, default=30.0, help='time for a restart, and to work then, s (30)'
    )
    parser.add_argument('--minutes', type=float, default=20.0, help='maximum duration (20)')
    add_out(parser, 'recovery')
    options = parser.parse_args()
    end_within(options.minutes * 60)
    os.environ.setdefault('ROS_AUTOMATIC_DISCOVERY_RANGE', 'LOCALHOST')
    os.environ.update(dds_environment(os.environ))
    with tempfile.TemporaryDirectory() as folder:
        source = f'synthetic://?size=640x480&fps={options.fps}&lock=wall'
        cameras = [Camera(f'cam{n}', f'{source}&seed={n}') for n in range(options.cameras)]
        wanted = dict.fromkeys(('memory', 'compressor', *options.nodes), True)
        specs = with_private_devices(
            perception(cameras, **wanted),
            Path(folder),
            audio={'source': f'file://{tones(Path(folder))}'},
            translator={'head_camera': 'cam0', 'min_trust': 0.0},
            effector={'min_trust': 0.0},
        )
        with inputs(goal_period_s=1.0):
            found = measure(compose(specs, options.composition), options.runs, options.timeout)
    failed = {path: each['failed'] for path, each in found.items() if 'failed' in each}
    seconds = {path: float(each['seconds']) for path, each in found.items() if path not in failed}
    slowest = max(seconds, key=lambda path: seconds[path], default='')
    result = {
        'median_s': round(statistics.median(seconds.values()), 2) if seconds else None,
        'slowest': {slowest: seconds.get(slowest)},
        'failed': failed,
        'composition': options.composition,
        'runs': options.runs,
        'load': os.getloadavg()[0],
        'processes': found,
    }
    make_folder(options.out.parent)
    write_result(options.out, result)
    show_result(result)
    return 1 if failed else 0


if __name__ == '__main__':
    sys.exit(main())
