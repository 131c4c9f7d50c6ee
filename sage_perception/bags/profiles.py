# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Quality of service in bags: what publishers offered, and what to ask for or offer after that."""

from __future__ import annotations

from collections.abc import Sequence

import yaml
from rclpy.duration import Duration
from rclpy.qos import (
    DurabilityPolicy,
    HistoryPolicy,
    LivelinessPolicy,
    QoSProfile,
    ReliabilityPolicy,
)

# Deep enough for seconds of a camera, should the recorder be held up for a moment.
_REQUEST_DEPTH = 100
# As rosbag2 does: DDS does not tell subscribers how deep a publisher's history is.
_OFFER_DEPTH = 10
_FOREVER_NS = 2**63 - 1
# Up to Foxy each DDS had its own way to say 'for ever'.
_FOREVER_S = 2**31 - 1


def to_yaml(profiles: Sequence[QoSProfile]) -> str:
    """Return profiles the way rosbag2 writes them up to metadata version 8, with numbers.

    Every release reads this; the names of version 9 only Jazzy and newer.
    """
    rows = [
        {
            'history': int(p.history),
            'depth': p.depth,
            'reliability': int(p.reliability),
            'durability': int(p.durability),
            'deadline': _time(p.deadline),
            'lifespan': _time(p.lifespan),
            'liveliness': int(p.liveliness),
            'liveliness_lease_duration': _time(p.liveliness_lease_duration),
            'avoid_ros_namespace_conventions': p.avoid_ros_namespace_conventions,
        }
        for p in profiles
    ]
    return yaml.safe_dump(rows, sort_keys=False).strip() if rows else ''


def _time(duration: Duration) -> dict[str, int]:
    sec, nsec = divmod(duration.nanoseconds, 10**9)
    return {'sec': sec, 'nsec': nsec}


def from_recorded(recorded) -> QoSProfile:
    """Return a profile that the `rosbags` library read."""
    return QoSProfile(
        history=HistoryPolicy(recorded.history.value),
        depth=recorded.depth,
        reliability=ReliabilityPolicy(recorded.reliability.value),
        durability=DurabilityPolicy(recorded.durability.value),
        deadline=_duration(recorded.deadline),
        lifespan=_duration(recorded.lifespan),
        liveliness=LivelinessPolicy(recorded.liveliness.value),
        liveliness_lease_duration=_duration(recorded.liveliness_lease_duration),
        avoid_ros_namespace_conventions=recorded.avoid_ros_namespace_conventions,
    )


def _duration(time) -> Duration:
    forever = time.sec >= _FOREVER_S
    return Duration(nanoseconds=_FOREVER_NS if forever else time.sec * 10**9 + time.nsec)


def request_for(offered: Sequence[QoSProfile]) -> QoSProfile:
    """Return what a subscription must ask for to hear all of these publishers, as well as it can.

    Reliable if all of them are; with what was published before if all of them keep it.
    """
    reliable = all(p.reliability == ReliabilityPolicy.RELIABLE for p in offered)
    return QoSProfile(
        history=HistoryPolicy.KEEP_LAST,
        depth=_REQUEST_DEPTH,
        reliability=ReliabilityPolicy.RELIABLE if reliable else ReliabilityPolicy.BEST_EFFORT,
        durability=(
            DurabilityPolicy.TRANSIENT_LOCAL
            if all(is_latched(p) for p in offered)
            else DurabilityPolicy.VOLATILE
        ),
    )


def offer_for(recorded: Sequence[QoSProfile]) -> QoSProfile:
    """Return what to offer in the place of the recorded publishers.

    What they offered if they agreed; else what satisfies all that any of them satisfied.
    """
    if not recorded:
        return QoSProfile(depth=_OFFER_DEPTH)
    first = recorded[0]
    keep_all = any(p.history == HistoryPolicy.KEEP_ALL for p in recorded)
    reliable = any(p.reliability != ReliabilityPolicy.BEST_EFFORT for p in recorded)
    latched = any(is_latched(p) for p in recorded)
    depths = [p.depth for p in recorded if p.history == HistoryPolicy.KEEP_LAST]
    offer = QoSProfile(
        history=HistoryPolicy.KEEP_ALL if keep_all else HistoryPolicy.KEEP_LAST,
        depth=max(_OFFER_DEPTH, sum(depths)),
        reliability=ReliabilityPolicy.RELIABLE if reliable else ReliabilityPolicy.BEST_EFFORT,
        durability=DurabilityPolicy.TRANSIENT_LOCAL if latched else DurabilityPolicy.VOLATILE,
    )
    timings = [
        (p.deadline, p.lifespan, p.liveliness, p.liveliness_lease_duration) for p in recorded
    ]
    if all(timing == timings[0] for timing in timings):
        offer.deadline, offer.lifespan = first.deadline, first.lifespan
        offer.liveliness = first.liveliness
        offer.liveliness_lease_duration = first.liveliness_lease_duration
    return offer


def is_latched(profile: QoSProfile) -> bool:
    """Return whether late subscribers get what was published before."""
    return profile.durability == DurabilityPolicy.TRANSIENT_LOCAL
