# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Send malformed messages to all nodes through DDS; count deaths and the growth of memory.

All topics and services of a running graph are found in the ROS graph: those of the tables of the
nodes, and those that rclpy adds. Half of the messages have extreme fields, the others are damaged
after their serialization; requests have extreme fields only. The rate limits of the nodes are off,
so that each message is read. Prints one JSON object, also as the key `messages` of
out/bench/security.json.
"""

from __future__ import annotations

import argparse
import math
import os
import sys
import tempfile
import time
from pathlib import Path

from result_file import add_out, show_result

from sage_perception.bringup.environment import dds_environment
from sage_perception.bringup.processes import GraphRunner

FOLDER = Path(__file__).parent / 'malformed'
"""Contains the package of the nodes; not bench/ itself, whose names hide standard modules."""
sys.path[:0] = [str(FOLDER), str(Path(__file__).parents[1] / 'tools')]

from fuzz.results import merge
from fuzzing.attack import Attack, Result, graph
from fuzzing.client import Client
from fuzzing.ending import end_within

START_AND_END_S = 600.0
"""Maximum time to start and to end the graph, seconds."""


def attack(
    count: int,
    seed: int,
    *,
    cameras: int = 2,
    composed: bool = False,
    only: str = '',
    seconds: float = math.inf,
    verbose: bool = True,
) -> Result:
    """Start the nodes, send malformed messages, and return what broke.

    `count` messages are sent, or those that `seconds` allow. See `Attack` for `only`.
    """
    paths = [str(FOLDER), os.environ.get('PYTHONPATH', '')]
    os.environ['PYTHONPATH'] = os.pathsep.join(filter(None, paths))
    os.environ.update(dds_environment(os.environ))
    os.environ.setdefault('OMP_NUM_THREADS', '1')
    begun, shown = time.monotonic(), [0.0]

    def on_line(node: str, line: str) -> None:
        if verbose and (
            'died' in line or 'exception in' in line or 'Error: ' in line or 'fault' in line
        ):
            print(f'[{node}] {line[:300]}', file=sys.stderr)

    def on_progress(result: Result) -> None:
        if verbose and time.monotonic() - shown[0] > 10:
            shown[0] = time.monotonic()
            sent = result.sent.total()
            print(
                f'{sent} sent, {sent / (shown[0] - begun):.0f}/s, {result.deaths} deaths, '
                f'{max(result.rss_mb.values()):.0f} MB',
                file=sys.stderr,
            )

    with tempfile.TemporaryDirectory() as folder:
        specs = graph('fuzzed', Path(folder), cameras, composed)
        client = Client()
        try:
            with GraphRunner(specs, on_line=on_line, log_level='warn') as runner:
                run = Attack(runner, client, seed, only)
                run.prepare()
                run.run(count, on_progress, seconds)
                return run.result
        finally:
            client.close()


def main() -> int:
    """Run the attack, and write its figures."""
    parser = argparse.ArgumentParser(description=(__doc__ or '').split('\n')[0])
    parser.add_argument('--count', type=int, default=100_000, help='messages (default: 100000)')
    parser.add_argument('--seed', type=int, default=1)
    parser.add_argument('--cameras', type=int, default=2, help='cameras (default: 2)')
    parser.add_argument('--composed', action='store_true', help='all nodes in one process')
    parser.add_argument('--node', default='', help='only messages to this node, such as memory')
    parser.add_argument('--hours', type=float, default=4.0, help='maximum duration (4)')
    add_out(parser, 'security')
    options = parser.parse_args()
    end_within(options.hours * 3600 + START_AND_END_S)
    os.environ.setdefault('ROS_AUTOMATIC_DISCOVERY_RANGE', 'LOCALHOST')
    figures = attack(
        options.count,
        options.seed,
        cameras=options.cameras,
        composed=options.composed,
        only=options.node,
        seconds=options.hours * 3600,
    ).summary()
    merge('messages', figures, options.out)
    show_result(figures)
    return 1 if figures['deaths'] else 0


if __name__ == '__main__':
    sys.exit(main())
