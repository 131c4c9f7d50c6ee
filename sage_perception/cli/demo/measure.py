# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Compute the figures of a run of the two-camera graph from the messages of its bag."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import numpy as np
from rclpy.serialization import serialize_message
from sage_msgs.msg import Agreement

from sage_perception.core.latent import Roi
from sage_perception.ros.conversions.latents import Packers, unpack
from sage_perception.ros.conversions.lct_arrays import received_lcts
from sage_perception.ros.conversions.packers import packers_of
from sage_perception.ros.conversions.rois import roi_from_msg
from sage_perception.ros.conversions.stamps import stamp_from_msg

MODEL = 'tinyvae'
# The bytes of the values of latents, float32, by stamp (ns) and index in the frame.
Latents = dict[tuple[int, int], bytes]


@dataclass
class CameraRun:
    """The messages of one camera; stamps in nanoseconds.

    Attributes:
        published: stamps of the images.
        attended: stamps of the crops.
        crops: number of crops.
        regions: source and region of each crop, by stamp.
        latents: number of latents.
        latency: stamps of frames, and seconds from the stamp to the receipt of the latents.
        values: the latents.
        trust: stamps of frames, and the mean trust of their LCTs.
        size_bytes: stamps of frames, and the bytes of the messages with their LCTs.
    """

    published: set[int] = field(default_factory=set)
    attended: set[int] = field(default_factory=set)
    crops: int = 0
    regions: dict[int, list[tuple[int, Roi]]] = field(default_factory=dict)
    latents: int = 0
    latency: list[tuple[int, float]] = field(default_factory=list)
    values: Latents = field(default_factory=dict)
    trust: list[tuple[int, float]] = field(default_factory=list)
    size_bytes: list[tuple[int, int]] = field(default_factory=list)


@dataclass
class Run:
    """The messages of a bag.

    Attributes:
        cameras: the messages of each camera.
        high: stamp and similarity of each pair of crops that agrees.
        low: stamp and similarity of each pair of crops that does not.
        fused: number of frames with fused LCTs.
        reputation: stamp and reputation of each camera's entity in the reports of the arbiter.
        reports: numbers of LCTs per camera at the last report of the arbiter.
        mosaic: the mosaic with the largest JPEG, in which most crops and matches are drawn.
        mosaic_ns: its stamp.
    """

    cameras: dict[str, CameraRun]
    high: list[tuple[int, float]] = field(default_factory=list)
    low: list[tuple[int, float]] = field(default_factory=list)
    fused: int = 0
    reputation: dict[str, list[tuple[int, float]]] = field(default_factory=dict)
    reports: dict[str, dict[str, int]] = field(default_factory=dict)
    mosaic: bytes = b''
    mosaic_ns: int = 0


def read(
    messages: Iterable[tuple[str, Any, int]], cameras: Sequence[str], since_ns: int = 0
) -> Run:
    """Return the contents of `(topic, message, received_ns)` with stamps from `since_ns` on."""
    run = Run({camera: CameraRun() for camera in cameras})
    for topic, message, received_ns in messages:
        header = getattr(message, 'header', None)
        if header is None or stamp_from_msg(header.stamp) < since_ns:
            continue
        stamp = stamp_from_msg(header.stamp)
        camera, _, name = topic.strip('/').rpartition('/')
        if camera in run.cameras:
            _read_camera(run.cameras[camera], name, message, stamp, received_ns)
        elif name == 'agreement':
            for match in message.agreements:
                level = run.high if match.level == Agreement.LEVEL_HIGH else run.low
                level.append((stamp, match.similarity))
        elif name == 'fused':
            run.fused += 1
        elif name == 'trust_report':
            reputation = run.reputation.setdefault(message.entity_b, [])
            reputation.append((stamp, message.reputation))
            run.reports[message.entity_b] = {
                'published': run.cameras[message.entity_b].latents,
                'accepted': message.accepted,
                'rejected': message.refused,
            }
        # The messages of a moment do not tell how many of them the viewer had.
        elif topic.endswith('mosaic/compressed') and len(message.data) > len(run.mosaic):
            run.mosaic, run.mosaic_ns = message.data.tobytes(), stamp
    return run


def _read_camera(run: CameraRun, name: str, message: Any, stamp: int, received_ns: int) -> None:
    if name == 'camera_info':
        run.published.add(stamp)
    elif name == 'crops':
        run.attended.add(stamp)
        run.crops += len(message.crops)
        found = [(int(crop.source), roi_from_msg(crop.roi)) for crop in message.crops]
        run.regions[stamp] = [(source, roi) for source, roi in found if roi is not None]
    elif name == 'lcts':
        lcts = [received.read() for received in received_lcts(message)]
        run.latents += len(lcts)
        run.latency.append((stamp, (received_ns - stamp) * 1e-9))
        run.size_bytes.append((stamp, len(serialize_message(message))))
        if lcts:
            run.trust.append((stamp, float(np.mean([lct.trust for lct, _ in lcts]))))
        for index, (lct, wire) in enumerate(lcts):
            run.values[stamp, index] = unpack(lct.latent, wire, _packers()).mean.tobytes()


def summarize(run: Run, duration_s: float) -> dict[str, Any]:
    """Return the figures of a run of `duration_s` seconds."""
    cameras = {}
    for name, camera in run.cameras.items():
        latency_ms = np.array([s for _, s in camera.latency]) * 1e3
        # Frames in flight at the start or the end of the recording are not lost.
        first, last = min(camera.attended, default=0), max(camera.attended, default=0)
        counted = {stamp for stamp in camera.published if first <= stamp <= last}
        attended = len(counted & camera.attended)
        third = max(len(latency_ms) // 3, 1)
        cameras[name] = {
            'frames_published': len(counted),
            'frames_attended': attended,
            'attended_share': round(attended / max(len(counted), 1), 4),
            'rate_hz': round(len(counted) / duration_s, 2),
            'crops': camera.crops,
            'latents': camera.latents,
            'latency_ms': _percentiles(latency_ms),
            'latency_ms_first_third': _percentiles(latency_ms[:third]),
            'latency_ms_last_third': _percentiles(latency_ms[-third:]),
        }
    similarities = [s for _, s in run.high + run.low]
    return {
        'cameras': cameras,
        'agreements': {'high': len(run.high), 'low': len(run.low)},
        'similarity_median': round(float(np.median(similarities)), 3) if similarities else None,
        'fused_frames': run.fused,
    }


def compare(recorded: Latents, replayed: Latents) -> dict[str, float]:
    """Return the differences between recorded latents and those of a replay."""
    common = recorded.keys() & replayed.keys()
    differences = (
        np.frombuffer(recorded[k], 'f4') - np.frombuffer(replayed[k], 'f4') for k in common
    )
    return {
        'latents_recorded': len(recorded),
        'latents_replayed': len(replayed),
        'identical': sum(recorded[key] == replayed[key] for key in common),
        'largest_difference': max((float(np.abs(d).max()) for d in differences), default=math.nan),
    }


@cache
def _packers() -> Packers:
    """Return the packer of the model of the graph."""
    return packers_of(MODEL)


def _percentiles(values: np.ndarray) -> dict[str, float | None]:
    if not len(values):
        return {'p50': None, 'p95': None}
    p50, p95 = np.percentile(values, [50, 95])
    return {'p50': round(float(p50), 1), 'p95': round(float(p95), 1)}
