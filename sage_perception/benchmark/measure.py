# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Run a graph, or take one that runs, and measure it."""

from __future__ import annotations

import contextlib
import os
import random
import socket
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from sage_perception.benchmark import figures
from sage_perception.benchmark.figures import Arrivals, Window
from sage_perception.benchmark.receiver import Receiver
from sage_perception.benchmark.usage import PowerMeter, Usage, UsageMeter
from sage_perception.bringup.composition import compose
from sage_perception.bringup.environment import config_path, dds_environment
from sage_perception.bringup.graph import Camera, NodeSpec, perception
from sage_perception.bringup.processes import GraphRunner

START_LIMIT_S = 60.0
"""Maximum time until the graph publishes fused LCTs, seconds."""
WARM_UP_S = 3.0
"""Time between the first fused LCTs and the measurement, seconds."""
ARRIVAL_S = 0.5
"""Time for the messages of the last frames to arrive, seconds."""


class MeasurementError(Exception):
    """The graph did not start, or a process of it ended."""


def measure(
    cameras: Sequence[Camera],
    composition: str,
    duration_s: float,
    rate_hz: float,
    params_file: Path | None = None,
) -> dict[str, Any]:
    """Run the graph of `cameras` in its own ROS domain and return the figures of `observe`.

    Raises:
        MeasurementError: the graph does not start, or a node fails.
    """
    specs = compose(perception(cameras), composition)
    with running(specs, params_file) as (domain, pids):
        return observe([camera.name for camera in cameras], domain, duration_s, rate_hz, pids)


@contextlib.contextmanager
def running(
    specs: Sequence[NodeSpec], params_file: Path | None = None
) -> Iterator[tuple[int, Callable[[], dict[str, int]]]]:
    """Run a graph in its own ROS domain; yield the domain, and `pids` of `observe`."""
    log: list[str] = []
    domain = free_domain()
    with GraphRunner(
        specs,
        params_file=params_file or config_path('dual_camera.yaml'),
        env={'ROS_DOMAIN_ID': str(domain), 'ROS_AUTOMATIC_DISCOVERY_RANGE': 'LOCALHOST'},
        on_line=lambda node, line: log.append(f'{node}: {line}'),
    ) as runner:

        def pids() -> dict[str, int]:
            if runner.failure is not None:
                raise MeasurementError('\n'.join([runner.failure, *log[-20:]]))
            return {path: node.pid for path, node in runner.processes.items() if node.pid}

        yield domain, pids


def observe(
    cameras: Sequence[str],
    domain: int,
    duration_s: float,
    rate_hz: float,
    pids: Callable[[], Mapping[str, int]],
    topics: Mapping[str, type] | None = None,
) -> dict[str, Any]:
    """Wait until a graph works, and return its figures.

    Args:
        cameras: names of the cameras.
        domain: the ROS domain.
        duration_s: time to measure, seconds.
        rate_hz: nominal rate of the cameras, Hz.
        pids: returns the process ids by name; raises `MeasurementError` if a node failed.
        topics: further topics to measure, with their types; their messages start with a header.

    Returns:
        `attended` (share of the published frames that were encoded), `loss` (share of the nominal
        number of frames that was not), `fps`, `p50_ms`, `p95_ms` and `jitter_ms` from source to
        latents, `fused_p95_ms` from source to fused LCTs, `max_drop` (successive frames), `growth`
        (see `figures.growth`), `cpu_percent` and `pss_mb` of all processes, `power`, and
        `processes`, `nodes` and `topics` in detail.
    """
    os.environ.setdefault('ROS_AUTOMATIC_DISCOVERY_RANGE', 'LOCALHOST')
    os.environ.update(dds_environment(os.environ))
    start_s = time.monotonic()
    with Receiver(cameras, domain) as receiver:
        further = {name: receiver.subscribe(kind, name) for name, kind in (topics or {}).items()}
        while not (receiver.fused and all(receiver.encoded.values())):
            pids()
            if time.monotonic() - start_s > START_LIMIT_S:
                raise MeasurementError(f'no fused LCTs within {START_LIMIT_S:.0f} s')
            time.sleep(0.05)
        graph_up_s = time.monotonic() - start_s
        time.sleep(WARM_UP_S)
        window, processes, watts = _use(pids, duration_s)
        time.sleep(ARRIVAL_S)
        diagnostics = receiver.diagnostics()
    pss = [use.pss_mb for use in processes.values()]
    return {
        'cameras': len(cameras),
        'rate_hz': rate_hz,
        'duration_s': round(window.seconds, 1),
        'graph_up_s': round(graph_up_s, 1),
        **_figures(receiver, window, rate_hz),
        'cpu_percent': round(sum(use.cpu_percent for use in processes.values()), 1),
        'pss_mb': round(sum(filter(None, pss)), 1) if None not in pss else None,
        'rss_mb': round(sum(use.rss_mb for use in processes.values()), 1),
        'power': watts,
        'processes': {
            name: {
                'cpu_percent': use.cpu_percent,
                'pss_mb': use.pss_mb,
                'rss_mb': use.rss_mb,
            }
            for name, use in processes.items()
        },
        'nodes': _nodes(diagnostics),
        'topics': {name: _topic(arrivals, window) for name, arrivals in further.items()},
    }


def _topic(arrivals: Arrivals, window: Window) -> dict[str, float | None]:
    """Return the rate of a topic, and the times from the stamps of its messages."""
    times = figures.latencies_ms(arrivals, window)
    return {
        'hz': round(len(times) / window.seconds, 2),
        'p50_ms': figures.percentile(times, 50),
        'p95_ms': figures.percentile(times, 95),
    }


def _use(
    pids: Callable[[], Mapping[str, int]], duration_s: float
) -> tuple[Window, dict[str, Usage], dict[str, float | str]]:
    """Return the time that was measured, the use of each process, and the power."""
    measured = dict(pids())
    try:
        usage = UsageMeter(measured)
        with PowerMeter() as power:
            start_ns = time.time_ns()
            while time.time_ns() - start_ns < duration_s * 1e9:
                time.sleep(0.1)
                if dict(pids()) != measured:
                    raise MeasurementError('a process of the graph was restarted')
            return Window(start_ns, time.time_ns()), usage.read(), power.read()
    except psutil.NoSuchProcess as error:
        raise MeasurementError(f'a process of the graph ended: {error}') from None


def _figures(receiver: Receiver, window: Window, rate_hz: float) -> dict[str, Any]:
    cameras = list(receiver.published)
    latency = [figures.latencies_ms(receiver.encoded[camera], window) for camera in cameras]
    arrivals = [pair for camera in cameras for pair in receiver.encoded[camera]]
    every = np.concatenate(latency)
    pairs = [(receiver.published[camera], receiver.encoded[camera]) for camera in cameras]
    nominal = rate_hz * window.seconds * len(cameras)
    encoded = sum(len(values) for values in latency)
    jitters = [figures.jitter_ms(done, window) for _, done in pairs]
    fused = figures.latencies_ms(receiver.fused, window)
    return {
        'fps': round(encoded / window.seconds / len(cameras), 2),
        'attended': round(min(figures.attended(*pair, window) for pair in pairs), 4),
        'loss': round(max(0.0, 1 - encoded / nominal), 4),
        'max_drop': max(figures.max_drop(*pair, window) for pair in pairs),
        'p50_ms': figures.percentile(every, 50),
        'p95_ms': figures.percentile(every, 95),
        'fused_p95_ms': figures.percentile(fused, 95),
        'jitter_ms': max((j for j in jitters if j is not None), default=None),
        'growth': figures.growth(arrivals, window),
        'mosaic_hz': round(len(window.select(receiver.mosaics)) / window.seconds, 2),
    }


def _nodes(diagnostics: Mapping[str, Mapping[str, str]]) -> dict[str, dict[str, float]]:
    """Return the durations and CPU that each node reports in its diagnostics."""
    found: dict[str, dict[str, float]] = {}
    for name, values in diagnostics.items():
        node = name.partition(': ')[0]
        for key, text in values.items():
            if key.endswith(('_p50_ms', '_p95_ms', 'cpu_percent')) and 'age' not in key:
                try:
                    found.setdefault(node, {})[key] = float(text)
                except ValueError:
                    continue
    return dict(sorted(found.items()))


def free_domain() -> int:
    """Return the ROS domain of the environment, or a random one that no process here uses."""
    given = os.environ.get('ROS_DOMAIN_ID', '')
    if given.isdecimal():
        return int(given)
    domains = random.sample(range(60, 100), 40)
    return next(filter(_is_free, domains), domains[0])


def _is_free(domain: int) -> bool:
    """Return whether the port of the first participant of a domain is free on this computer.

    RTPS 2.2, 9.6.1.1: metatraffic of participant 0 is received on port 7410 + 250 domain.
    """
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.bind(('', 7410 + 250 * domain))
        except OSError:
            return False
    return True
