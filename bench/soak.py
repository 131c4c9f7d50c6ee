# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Run a graph for hours, and bound the growth of the memory of each node.

The memory of each process (`own_memory_mb`) is sampled every few seconds. After the warm-up, a
line is fitted to the samples; `bound` is the upper end of the 95 % confidence interval of its
slope. The samples of a process are correlated, so that the interval is computed from the means of
blocks. The index of the memory node grows with its records until it has reached its capacity: this
node is not compared with the limit.
Prints one JSON object, also to out/bench/soak.json.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from result_file import add_out, show_result, write_result
from scipy import stats

from sage_perception.bringup.composition import MODES, compose
from sage_perception.bringup.environment import dds_environment
from sage_perception.bringup.graph import Camera, NodeSpec, perception
from sage_perception.bringup.processes import GraphRunner
from sage_perception.core.files import make_folder

sys.path.insert(0, str(Path(__file__).parent / 'malformed'))

from fuzzing.client import Client
from fuzzing.ending import end_within
from fuzzing.own_memory import own_memory_mb
from fuzzing.private_devices import with_private_devices

BLOCKS = 20
"""Number of means to which a line is fitted."""
LIMIT_MB_PER_H = 5.0


def slope(times_s: np.ndarray, memory_mb: np.ndarray) -> tuple[float, float]:
    """Return the slope of the memory and the upper bound of its 95 % interval, MB per hour.

    Both arguments are `[N]`, N at least three times `BLOCKS` for a meaningful bound.
    """
    count = min(BLOCKS, len(times_s))
    hours = np.array([part.mean() for part in np.array_split(times_s / 3600, count)])
    levels = np.array([part.mean() for part in np.array_split(memory_mb, count)])
    fit = stats.linregress(hours, levels)
    margin = stats.t.ppf(0.975, count - 2) * fit.stderr if count > 2 else float('inf')
    return float(fit.slope), float(fit.slope + margin)


def soak(
    specs: list[NodeSpec], seconds: float, warm_up_s: float, period_s: float
) -> dict[str, dict[str, float]]:
    """Return the figures of each process of a graph that runs for some time."""
    samples: dict[str, list[tuple[float, float]]] = {spec.path: [] for spec in specs}
    client = Client()
    try:
        with GraphRunner(specs, log_level='warn') as runner:
            nodes = [f'/{n.path}' for spec in specs for n in (spec.nodes or (spec,))]
            if not all(client.is_alive(node, 60.0) for node in nodes):
                raise RuntimeError(f'a node does not start: {runner.failure}')
            # Receivers make the nodes publish; images are left out, no node needs them here.
            topics = {topic for node in nodes for topic in client.published(node)}
            client.watch(each for each in topics if each[0] in ('/fused', '/l_latent', '/recall'))
            begun = time.monotonic()
            while (now := time.monotonic() - begun) < seconds:
                for path, process in runner.processes.items():
                    if process.pid is not None:
                        samples[path].append((now, own_memory_mb(process.pid)))
                client.receive(lambda: False, period_s)
            restarts = {path: process.restarts for path, process in runner.processes.items()}
            figures = {}
            for path, found in samples.items():
                times, memory = np.array([each for each in found if each[0] >= warm_up_s]).T
                mb_per_h, bound = slope(times, memory)
                figures[path] = {
                    'mb_per_h': round(mb_per_h, 2),
                    'bound': round(bound, 2),
                    'mb': round(float(memory[-1]), 1),
                    'restarts': restarts[path],
                }
            figures['graph'] = {
                'fused_per_s': round(client.received['/fused'] / seconds, 1),
                'exceptions': sum(client.exceptions.values()),
            }
            return figures
    finally:
        client.close()


def main() -> int:
    """Run the graph, and write the figures."""
    parser = argparse.ArgumentParser(description=(__doc__ or '').split('\n')[0])
    parser.add_argument('--minutes', type=float, default=120.0, help='duration (default: 120)')
    parser.add_argument('--warm-up', type=float, default=20.0, help='minutes to leave out (20)')
    parser.add_argument('--period', type=float, default=5.0, help='seconds between samples (5)')
    parser.add_argument('--fps', type=float, default=30.0, help='frame rate (default: 30)')
    parser.add_argument('--cameras', type=int, default=2, help='cameras (default: 2)')
    parser.add_argument('--composition', choices=MODES, default='none')
    add_out(parser, 'soak')
    options = parser.parse_args()
    if not 0 <= options.warm_up < options.minutes:
        parser.error('--warm-up must be shorter than --minutes')
    end_within((options.minutes + 10) * 60)
    os.environ.setdefault('ROS_AUTOMATIC_DISCOVERY_RANGE', 'LOCALHOST')
    os.environ.update(dds_environment(os.environ))
    source = f'synthetic://?size=640x480&fps={options.fps:g}&lock=wall'
    cameras = [Camera(f'cam{n}', f'{source}&seed={n}') for n in range(options.cameras)]
    with tempfile.TemporaryDirectory() as folder:
        specs = perception(cameras, memory=True, compressor=True)
        specs = with_private_devices(specs, Path(folder))
        processes = compose(specs, options.composition)
        found = soak(processes, options.minutes * 60, options.warm_up * 60, options.period)
    graph = found.pop('graph')
    nodes = {path: each for path, each in found.items() if path != 'memory'}
    worst = max(nodes, key=lambda path: nodes[path]['bound'])
    result = {
        'minutes': options.minutes,
        'fps': options.fps,
        'cameras': options.cameras,
        'worst': {worst: nodes[worst]['bound']},
        'within_limit': nodes[worst]['bound'] <= LIMIT_MB_PER_H,
        **graph,
        'processes': found,
    }
    make_folder(options.out.parent)
    write_result(options.out, result)
    show_result(result)
    return 0


if __name__ == '__main__':
    sys.exit(main())
