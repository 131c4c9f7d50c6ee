# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""QoS profiles of bags: recorded offers, and the profiles to request or offer for them."""

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
from rosbags.interfaces import Qos, QosTime

# A few seconds of camera images, in case the recorder is blocked for a moment.
_REQUEST_DEPTH = 100
# As in rosbag2, because DDS does not send the depth of a publisher to subscribers.
_OFFER_DEPTH = 10
_FOREVER_NS = 2**63 - 1
# Up to Foxy each DDS implementation had its own value for an infinite duration.
_FOREVER_S = 2**31 - 1


def to_yaml(profiles: Sequence[QoSProfile]) -> str:
    """Return profiles in the YAML of rosbag2 up to metadata version 8, with numbers.

    Every release reads it. Only Jazzy and later releases read the names of version 9.
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


def from_recorded(recorded: Qos) -> QoSProfile:
    """Return a profile of the `rosbags` library as one of rclpy."""
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


def _duration(time: QosTime) -> Duration:
    forever = time.sec >= _FOREVER_S
    return Duration(nanoseconds=_FOREVER_NS if forever else time.sec * 10**9 + time.nsec)


def request_for(offered: Sequence[QoSProfile]) -> QoSProfile:
    """Return the strictest profile that is compatible with all of these publishers.

    It is reliable if all publishers are, and transient local if all publishers are.
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
    """Return the profile to offer in place of the recorded publishers.

    It is compatible with every subscription that one of them was compatible with. Deadline,
    lifespan and liveliness are kept if all publishers had the same ones.
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
    """Return whether late subscribers receive earlier messages."""
    return profile.durability == DurabilityPolicy.TRANSIENT_LOCAL
