# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Sound, two cameras, the body and the translator in one process at 30 Hz: latency and CPU.

Two cameras play a rendered video, the microphones generated sound with an event every 1.5 s, and
joint states arrive at 30 Hz. `value` is the 95th percentile of the time from the capture of a
frame to the weights of its crops (`target`), milliseconds; `topics` has that of the fused latents
and of the actions too. Sound is published when its event has ended, so that its time from the
stamp contains the length of the event. The baseline is the graph of the two cameras alone, which
alternates with it; one run of both for each seed, of which the medians are taken.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from sage_msgs.msg import LCTArray, TrackScores

from sage_perception.benchmark.footage import cameras_of, render_video
from sage_perception.benchmark.measure import observe, running
from sage_perception.bringup.composition import compose
from sage_perception.bringup.graph import perception
from translation_parts.inputs import RATE_HZ, inputs

DURATION_S = 20.0
TOPICS = {'target': TrackScores, 'goal_latent': LCTArray, 'action': LCTArray, 'audio': LCTArray}
OWN = {
    'audio': {'source': 'synthetic://?content=mixed&channels=2&bearing=20'},
    'translator': {'head_camera': 'cam0', 'min_trust': 0.0},
}


def measure(seeds: Sequence[int]) -> dict[str, Any]:
    """Return the figures of the graph, and those of the cameras alone."""
    video = render_video(Path('out/bench/throughput.avi'))
    whole, alone = [], []
    for _ in seeds:
        alone.append(run(video, {}))
        whole.append(run(video, {'audio': True, 'proprioception': True, 'translator': True}))
    values = [each['topics']['target']['p95_ms'] for each in whole]
    return {
        'value': median(values), 'unit': 'ms, 95th percentile, frame to target',
        'seeds': values, **medians(whole),
        'topics': {
            name: {key: median(each['topics'][name][key] for each in whole)
                   for key in ('hz', 'p50_ms', 'p95_ms')}
            for name in TOPICS
        },
        'nodes': whole[0]['nodes'],
        'baselines': {'cameras_alone': medians(alone)},
    }  # fmt: skip


def medians(runs: Sequence[dict[str, Any]]) -> dict[str, float | None]:
    """Return the medians of the figures that both graphs have."""
    names = ('attended', 'p95_ms', 'fused_p95_ms', 'cpu_percent', 'pss_mb')
    return {name: median(each[name] for each in runs) for name in names}


def median(values: Iterable[float | None]) -> float | None:
    """Return the median of the values that were measured; None if there are none."""
    measured = [value for value in values if value is not None]
    return statistics.median(measured) if measured else None


def run(video: Path, wanted: dict[str, bool]) -> dict[str, Any]:
    """Return the figures of one run of the graph with some optional nodes."""
    cameras = cameras_of(video, 2, RATE_HZ)
    specs = [
        replace(spec, parameters={**spec.parameters, **OWN.get(spec.name, {})})
        for spec in perception(cameras, viewer=False, **wanted)
    ]
    names = [camera.name for camera in cameras]
    with running(compose(specs, 'graph')) as (domain, pids), inputs(domain):
        topics = TOPICS if wanted else {}
        return observe(names, domain, DURATION_S, RATE_HZ, pids, topics)
