# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Kill each node of a running graph with SIGKILL; measure the time until it works again.

A node works again when each topic that it published before carries messages again, and so do
`fused` and `l_latent` of the graph. Prints one JSON object, also to out/bench/recovery.json: for
each node the median time in seconds, its parts, and the CPU time of the new process until then.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import statistics
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import psutil

from sage_perception.bringup.composition import MODES, compose
from sage_perception.bringup.environment import dds_environment
from sage_perception.bringup.graph import Camera, NodeSpec, perception
from sage_perception.bringup.processes import GraphRunner
from sage_perception.bringup.respawn import RespawnPolicy
from sage_perception.core.files import write_atomically

sys.path.insert(0, str(Path(__file__).parent / 'malformed'))

from fuzzing.client import Client, wait_for

TIMEOUT_S = 60.0
SETTLE_S = 0.3
"""Time after a kill in which messages of the dead process may still arrive, seconds."""
RESULTS = ('/fused', '/l_latent')


def nodes_of(runner: GraphRunner) -> dict[str, list[str]]:
    """Return the full names of the nodes of each process."""
    return {
        path: [f'/{node.path}' for node in (process.spec.nodes or (process.spec,))]
        for path, process in runner.processes.items()
    }


def topics_of(client: Client, nodes: list[str]) -> list[str]:
    """Return the topics of nodes that had messages."""
    names = {name for node in nodes for name, _ in client.published(node)}
    return sorted(name for name in names if client.received[name] > 1)


def kill(runner: GraphRunner, client: Client, path: str, own: list[str]) -> dict[str, float]:
    """Kill a process, and return the times until it works again, seconds."""
    process = runner.processes[path]
    topics, old = sorted({*own, *RESULTS}), process.pid
    begun = time.monotonic()
    os.kill(old, signal.SIGKILL)
    if not wait_for(lambda: process.pid not in (None, old), TIMEOUT_S):
        raise RuntimeError(f'{path} is not restarted')
    started = time.monotonic()
    time.sleep(max(0.0, begun + SETTLE_S - started))
    before = dict(client.received)
    times: dict[str, float] = {}

    def works() -> bool:
        for name in topics:
            if name not in times and client.received[name] > before.get(name, 0):
                times[name] = time.monotonic()
        return len(times) == len(topics)

    if not wait_for(works, TIMEOUT_S):
        raise RuntimeError(f'{path}: no messages on {sorted(set(topics) - set(times))}')
    cpu = psutil.Process(process.pid).cpu_times()
    return {
        'seconds': max(times.values()) - begun,
        'until_restart': started - begun,
        'until_own_message': min(times[name] for name in own) - begun,
        'cpu': cpu.user + cpu.system,
    }


def measure(specs: list[NodeSpec], runs: int) -> dict[str, dict[str, float]]:
    """Return the median times of each process of a graph."""
    client = Client()
    found: dict[str, dict[str, float]] = {}
    try:
        with GraphRunner(specs, log_level='warn') as runner:
            places = nodes_of(runner)
            for names in places.values():
                if not all(client.is_alive(name, TIMEOUT_S) for name in names):
                    raise RuntimeError(f'{names} do not start: {runner.failure}')
            nodes = [name for names in places.values() for name in names]
            watched = {topic for node in nodes for topic in client.published(node)}
            ignored = ('/rosout', '/parameter_events', '/diagnostics')
            client.watch(each for each in watched if each[0] not in ignored)
            wait_for(lambda: all(client.received[name] > 3 for name in RESULTS), TIMEOUT_S)
            time.sleep(5)
            for path, names in places.items():
                topics = topics_of(client, names)
                times = []
                for _ in range(runs):
                    times.append(kill(runner, client, path, topics))
                    time.sleep(2)
                    # Each kill counts as the first one.
                    process = runner.processes[path]
                    process.respawn = RespawnPolicy(True, process.spec.respawn_delay_s)
                found[path] = {
                    key: round(statistics.median(each[key] for each in times), 2)
                    for key in times[0]
                }
                print(path, found[path], file=sys.stderr)
    finally:
        client.close()
    return found


def main() -> int:
    """Measure the graph, and write the figures."""
    parser = argparse.ArgumentParser(description=(__doc__ or '').split('\n')[0])
    parser.add_argument('--runs', type=int, default=5, help='kills of each process (default: 5)')
    parser.add_argument('--fps', type=float, default=15.0, help='frame rate (default: 15)')
    parser.add_argument('--composition', choices=MODES, default='none')
    parser.add_argument('--out', type=Path, default=Path('out/bench/recovery.json'))
    options = parser.parse_args()
    os.environ.setdefault('ROS_AUTOMATIC_DISCOVERY_RANGE', 'LOCALHOST')
    os.environ.update(dds_environment(os.environ))
    with tempfile.TemporaryDirectory() as folder:
        source = f'synthetic://?size=640x480&fps={options.fps}&lock=wall'
        cameras = [Camera('cam0', source), Camera('cam1', f'{source}&seed=1')]
        specs = perception(cameras, memory=True, compressor=True)
        own = {'memory': {'store': f'{folder}/memory.db'}}
        specs = [
            replace(spec, parameters={**spec.parameters, **own.get(spec.name, {})})
            for spec in specs
        ]
        found = measure(compose(specs, options.composition), options.runs)
    slowest = max(found, key=lambda path: found[path]['seconds'])
    result = {
        'median_s': round(statistics.median(each['seconds'] for each in found.values()), 2),
        'slowest': {slowest: found[slowest]['seconds']},
        'composition': options.composition,
        'runs': options.runs,
        'load': os.getloadavg()[0],
        'processes': found,
    }
    options.out.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(options.out, json.dumps(result, indent=2) + '\n')
    print(json.dumps(result))
    return 0


if __name__ == '__main__':
    sys.exit(main())
