# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""QoS profiles by the kind of data on a topic (REP-2003), named as in nav2 where it has one."""

from rclpy.qos import DurabilityPolicy, HistoryPolicy, QoSProfile, ReliabilityPolicy


def _profile(depth: int, reliable: bool = True, latched: bool = False) -> QoSProfile:
    return QoSProfile(
        history=HistoryPolicy.KEEP_LAST,
        depth=depth,
        reliability=ReliabilityPolicy.RELIABLE if reliable else ReliabilityPolicy.BEST_EFFORT,
        durability=DurabilityPolicy.TRANSIENT_LOCAL if latched else DurabilityPolicy.VOLATILE,
    )


# Images that a camera publishes: reliable, so that every subscriber is compatible.
CAMERA = _profile(depth=2)
# Images that a node subscribes to: only the newest one, and lost ones are not sent again.
SENSOR_DATA = _profile(depth=1, reliable=False)
# The same for a topic with several publishers, or several messages for each moment.
SENSOR_DATA_SHARED = _profile(depth=10, reliable=False)
# Crops: a slow encoder skips frames instead of falling behind.
CROPS = _profile(depth=3)
# Latents and results: reliable, up to ten queued messages.
DEFAULT = _profile(depth=10)
# LCTs from any number of publishers: one that floods the topic must not displace the others.
LCTS = _profile(depth=200)
# Data that changes rarely: late subscribers receive the last message.
LATCHED = _profile(depth=1, latched=True)
# The same for topics that others may publish on: their messages must not displace the right one.
LATCHED_SHARED = _profile(depth=16, latched=True)
# Images and markers for display.
VISUALIZATION = _profile(depth=1)
# Transforms of tf, as tf2_ros subscribes to them.
TF = _profile(depth=100)
TF_STATIC = _profile(depth=100, latched=True)
# Transforms of tf that do not change, as tf2_ros publishes them.
TF_STATIC_PUBLISHER = _profile(depth=1, latched=True)
