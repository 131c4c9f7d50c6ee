# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""The quality of service of every topic, by what it carries (REP-2003)."""

from rclpy.qos import DurabilityPolicy, HistoryPolicy, QoSProfile, ReliabilityPolicy


def _profile(depth: int, reliable: bool = True, latched: bool = False) -> QoSProfile:
    return QoSProfile(
        history=HistoryPolicy.KEEP_LAST,
        depth=depth,
        reliability=ReliabilityPolicy.RELIABLE if reliable else ReliabilityPolicy.BEST_EFFORT,
        durability=DurabilityPolicy.TRANSIENT_LOCAL if latched else DurabilityPolicy.VOLATILE,
    )


# A camera offers its images reliably, so that every subscriber matches ...
CAMERA = _profile(depth=2)
# ... and our nodes ask for the newest image only: a late one is of no use.
SENSOR_DATA = _profile(depth=1, reliable=False)
# The newest of several cameras that speak on one topic.
SENSOR_DATA_SHARED = _profile(depth=10, reliable=False)
# Crops: a busy encoder skips some rather than fall behind.
CROPS = _profile(depth=3)
# Latents and agreements: kept until they are taken, while no more than ten wait.
DEFAULT = _profile(depth=10)
# Where many may speak: what one of them floods is not to push the others out.
LCTS = _profile(depth=200)
# What changes rarely and late joiners must have.
LATCHED = _profile(depth=1, latched=True)
# The same where somebody else may speak as well, whose word is not to take the place of another's.
LATCHED_SHARED = _profile(depth=16, latched=True)
# Images and markers for people.
VISUALIZATION = _profile(depth=1)
