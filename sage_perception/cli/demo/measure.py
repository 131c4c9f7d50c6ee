# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Reads a bag of the two-camera graph and tells how well it ran."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np
from sage_msgs.msg import Agreement

from sage_perception.ros.conversions.stamps import stamp_from_msg

Latents = dict[tuple[int, int], bytes]


@dataclass
class CameraRun:
    """What one camera's topics held; stamps in nanoseconds."""

    published: set[int] = field(default_factory=set)
    attended: set[int] = field(default_factory=set)
    crops: int = 0
    latents: int = 0
    # Source stamp, and seconds from it to when the latents were received.
    latency: list[tuple[int, float]] = field(default_factory=list)
    # The numbers themselves, by source stamp and place in the frame.
    numbers: Latents = field(default_factory=dict)


@dataclass
class Run:
    """What a bag held between two moments."""

    cameras: dict[str, CameraRun]
    # Source stamp and similarity of each matched pair of crops.
    high: list[tuple[int, float]] = field(default_factory=list)
    low: list[tuple[int, float]] = field(default_factory=list)
    fused: int = 0
    # How many LCTs of each camera there had been when the arbiter last reported on it.
    reports: dict[str, dict[str, int]] = field(default_factory=dict)
    mosaic: bytes = b''


def read(messages: Iterable, cameras: list[str], since_ns: int = 0) -> Run:
    """Collect from `(topic, message, received_ns)` all that was captured from `since_ns` on."""
    run = Run({camera: CameraRun() for camera in cameras})
    pairs = most_pairs = 0
    for topic, message, received_ns in messages:
        header = getattr(message, 'header', None)
        if header is None or stamp_from_msg(header.stamp) < since_ns:
            continue
        stamp = stamp_from_msg(header.stamp)
        camera, _, name = topic.strip('/').rpartition('/')
        seen = run.cameras.get(camera)
        if name == 'camera_info':
            seen.published.add(stamp)
        elif name == 'crops':
            seen.attended.add(stamp)
            seen.crops += len(message.crops)
        elif name == 'lcts':
            seen.latents += len(message.lcts)
            seen.latency.append((stamp, (received_ns - stamp) * 1e-9))
            for place, lct in enumerate(message.lcts):
                seen.numbers[stamp, place] = lct.latent.mean.tobytes()
        elif name == 'agreement':
            for match in message.agreements:
                level = run.high if match.level == Agreement.LEVEL_HIGH else run.low
                level.append((stamp, match.similarity))
            pairs = sum(m.level == Agreement.LEVEL_HIGH for m in message.agreements)
        elif name == 'fused':
            run.fused += 1
        elif name == 'trust_report':
            run.reports[message.entity_b] = {
                'published': run.cameras[message.entity_b].latents,
                'accepted': message.accepted,
                'refused': message.refused,
            }
        elif topic.endswith('mosaic/compressed') and pairs >= most_pairs:
            # The image with the most to see, of those the later one.
            run.mosaic, most_pairs = message.data.tobytes(), pairs
    return run


def summarize(run: Run, seconds: float) -> dict:
    """Return the figures of a run that lasted `seconds`, as plain data."""
    cameras = {}
    for name, seen in run.cameras.items():
        lags = np.array([lag for _, lag in seen.latency]) * 1e3
        # Frames under way when the recording began or ended are nobody's loss.
        first, last = min(seen.attended, default=0), max(seen.attended, default=0)
        counted = {stamp for stamp in seen.published if first <= stamp <= last}
        attended = len(counted & seen.attended)
        third = max(len(lags) // 3, 1)
        cameras[name] = {
            'frames_published': len(counted),
            'frames_attended': attended,
            'attended_share': round(attended / max(len(counted), 1), 4),
            'rate_hz': round(len(counted) / seconds, 2),
            'crops': seen.crops,
            'latents': seen.latents,
            'latency_ms': _percentiles(lags),
            'latency_ms_first_third': _percentiles(lags[:third]),
            'latency_ms_last_third': _percentiles(lags[-third:]),
        }
    return {
        'cameras': cameras,
        'agreements': {'high': len(run.high), 'low': len(run.low)},
        'similarity_median': round(float(np.median([s for _, s in run.high + run.low])), 3)
        if run.high or run.low
        else None,
        'fused_frames': run.fused,
    }


def compare(recorded: Latents, replayed: Latents) -> dict:
    """Tell how the latents of a replay differ from the recorded ones."""
    both = recorded.keys() & replayed.keys()
    same = sum(recorded[key] == replayed[key] for key in both)
    apart = (np.frombuffer(recorded[k], 'f4') - np.frombuffer(replayed[k], 'f4') for k in both)
    difference = max((float(np.abs(numbers).max()) for numbers in apart), default=math.nan)
    return {
        'latents_recorded': len(recorded),
        'latents_replayed': len(replayed),
        'identical': same,
        'largest_difference': difference,
    }


def _percentiles(values: np.ndarray) -> dict:
    if not len(values):
        return {'p50': None, 'p95': None}
    p50, p95 = np.percentile(values, [50, 95])
    return {'p50': round(float(p50), 1), 'p95': round(float(p95), 1)}
