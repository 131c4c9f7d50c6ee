# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Judges a timeline on a running graph, typically while `sage replay --clock` plays a bag."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

import rclpy
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.node import Node
from rclpy.parameter import Parameter
from rclpy.qos import QoSProfile
from sage_msgs.msg import AgreementArray, CropArray, LCTArray, TrustReport

from sage_perception.regression.events import (
    AgreementEvent,
    ArrivalEvent,
    Event,
    FrameEvent,
    FusedEvent,
    LctEvent,
    Pair,
    Region,
    TrustEvent,
)
from sage_perception.regression.expectations import (
    Agreement,
    Attended,
    FaultRaised,
    Latency,
    NotRejected,
    Rate,
    Trust,
)
from sage_perception.regression.judge import Judge, Outcome
from sage_perception.regression.timeline import Timeline
from sage_perception.ros.conversions.rois import roi_from_msg
from sage_perception.ros.conversions.stamps import stamp_from_msg
from sage_perception.vision.camera_health import Fault

IDLE_S = 5.0
"""Time without a message of a camera after which a recording is considered over, seconds."""
QOS = QoSProfile(depth=200)
_AGREED = 2  # sage_msgs/Agreement.LEVEL_HIGH
_KINDS: dict[str, type] = {
    'crops': CropArray,
    'lcts': LCTArray,
    'agreement': AgreementArray,
    'fused': LCTArray,
    'trust_report': TrustReport,
}


class WatchFault(ValueError):
    """A graph cannot be judged; the message names the topics and the fix."""


def watch(
    timeline: Timeline,
    *,
    namespace: str = '',
    use_sim_time: bool = False,
    timeout_s: float = 30.0,
    stop: threading.Event | None = None,
    log: Callable[[str], None] = lambda _: None,
) -> list[Outcome]:
    """Return the verdicts on a running graph; `rclpy` must be initialized.

    Waits up to `timeout_s` seconds for the first frame of a camera, which is time 0 of the
    timeline, and ends after the last expectation, or `IDLE_S` seconds after the last frame.
    `use_sim_time` selects /clock for latencies. `log` is called when the subscriptions exist.

    Raises `WatchFault` if no frame arrives, or the timeline names no camera.
    """
    judge = Judge(timeline, running=True)
    node = rclpy.create_node(
        'sage_watch',
        namespace=namespace or None,
        enable_rosout=False,
        start_parameter_services=False,
        parameter_overrides=[Parameter('use_sim_time', value=use_sim_time)],
    )
    executor = SingleThreadedExecutor()
    executor.add_node(node)
    try:
        watched = _Watched(node, judge, streams_of(timeline))
        log(f'watching {", ".join(watched.topics)}')
        begun_s = time.monotonic()
        while not (stop and stop.is_set()) and not judge.finished:
            executor.spin_once(timeout_sec=0.1)
            if judge.started and time.monotonic() - watched.last_s > IDLE_S:
                break
            if not judge.started and time.monotonic() - begun_s > timeout_s:
                raise WatchFault(
                    f'no frame arrived on {", ".join(watched.topics)} within {timeout_s:g} s: '
                    'start the graph and the replay, and check --namespace and ROS_DOMAIN_ID'
                )
    except ExternalShutdownException:
        pass
    finally:
        executor.shutdown()
        node.destroy_node()
    return judge.outcomes()


def streams_of(timeline: Timeline) -> list[str]:
    """Return the topics that a timeline needs, relative to the graph, cameras first.

    Raises `WatchFault` if the timeline names no camera.
    """
    found: dict[str, None] = {}
    cameras: dict[str, None] = {}
    for each in timeline.expectations:
        if isinstance(each, (Attended, FaultRaised, Trust, NotRejected)):
            cameras[each.camera] = None
        if isinstance(each, Agreement):
            cameras |= dict.fromkeys(each.cameras)
            found['agreement'] = None
        if isinstance(each, (Trust, NotRejected)):
            found['trust_report'] = None
        if isinstance(each, (Rate, Latency)):
            if camera := each.stream.rpartition('/')[0]:
                cameras[camera] = None
            found[each.stream] = None
    if not cameras:
        raise WatchFault(
            f'{timeline.path} names no camera, but the first frame of a camera is time 0: add an '
            'expectation for a camera, such as a rate of cam0/crops'
        )
    # The crops of a camera have one message per frame, which is the clock of the timeline.
    return list(dict.fromkeys([*(f'{camera}/crops' for camera in cameras), *found]))


class _Watched:
    """The subscriptions, which convert messages to events."""

    def __init__(self, node: Node, judge: Judge, streams: Iterable[str]) -> None:
        self._node, self._judge = node, judge
        self.last_s = time.monotonic()
        self._subscriptions = [
            node.create_subscription(
                _KINDS[stream.rpartition('/')[2]], stream, partial(self._receive, stream), QOS
            )
            for stream in streams
        ]
        self.topics = [each.topic_name for each in self._subscriptions]

    def _receive(self, stream: str, message: Any) -> None:
        now_ns = self._node.get_clock().now().nanoseconds
        stamp_ns = stamp_from_msg(message.header.stamp)
        try:
            event = _event(stream, message, stamp_ns)
        except ValueError as error:
            self._node.get_logger().warning(
                f'ignoring a message on {stream}: {error}', throttle_duration_sec=5.0
            )
            return
        if isinstance(event, (FrameEvent, LctEvent)):
            self.last_s = time.monotonic()
        self._judge(event)
        # The clock of the simulation is 0 until its first message.
        if now_ns and not isinstance(event, TrustEvent):
            self._judge(ArrivalEvent(stream, stamp_ns, (now_ns - stamp_ns) * 1e-9))


def _event(stream: str, message: Any, stamp_ns: int) -> Event:
    """Return the event of a message; raise `ValueError` for a malformed one."""
    camera, _, kind = stream.rpartition('/')
    if kind == 'crops':
        regions = []
        for crop in message.crops:
            roi = roi_from_msg(crop.roi)
            if roi is not None:
                regions.append(Region(crop.track_id, roi, crop.score))
        size = message.source_width, message.source_height
        return FrameEvent(camera, stamp_ns, size, Fault(message.fault), regions)
    if kind == 'lcts':
        return LctEvent(camera, stamp_ns, ())
    if kind == 'fused':
        return FusedEvent(stamp_ns, ())
    if kind == 'agreement':
        pairs = [
            Pair(each.track_a, each.track_b, each.similarity, each.level == _AGREED)
            for each in message.agreements
        ]
        return AgreementEvent(message.entity_a, message.entity_b, stamp_ns, pairs)
    return TrustEvent(
        message.entity_b,
        stamp_ns,
        message.reputation,
        message.compression_trust,
        message.accepted,
        message.refused,
    )
