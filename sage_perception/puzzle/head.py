# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""The action that turns a head towards an object."""

from __future__ import annotations

import math
from collections import deque

import numpy as np

from sage_perception.core.latent import Latent, LatentKind
from sage_perception.puzzle.action import (
    ACTION,
    ACTION_DIM,
    HEAD,
    LOG_VAR_UNUSED,
    LOG_VAR_USED,
)
from sage_perception.puzzle.joints import Joint
from sage_perception.puzzle.tokens import positions, turn_towards

TRUST = 0.99
"""Share of turns after which the object meant is the one in the center of the image, with errors
of 10 % of the fields of view in the parameters: `bench/translation.py look_at`."""

MAX_AGE_NS = 500_000_000
"""Time between a frame and the angles of the head from which these are not used."""
REMEMBERED = 512
"""Angles that are remembered, 2.5 s at 200 Hz."""


class HeadAngles:
    """Pan and tilt of the head at the times of frames, which arrive later than the angles."""

    def __init__(self) -> None:
        self._angles: deque[tuple[int, float, float]] = deque(maxlen=REMEMBERED)

    def add(self, stamp_ns: int, pan: float, tilt: float) -> None:
        """Add the angles at a time, radians; a time before the last one makes those unknown."""
        if self._angles and stamp_ns < self._angles[-1][0]:
            self._angles.clear()
        self._angles.append((stamp_ns, pan, tilt))

    def at(self, stamp_ns: int) -> tuple[float, float]:
        """Return pan and tilt at the time nearest to `stamp_ns`, radians; NaN if unknown."""
        least_ns, found = MAX_AGE_NS, (math.nan, math.nan)
        for time_ns, pan, tilt in reversed(self._angles):
            if abs(time_ns - stamp_ns) <= least_ns:
                least_ns, found = abs(time_ns - stamp_ns), (pan, tilt)
            elif time_ns < stamp_ns:
                break
        return found


def look_at(
    latent: Latent,
    frame_size: tuple[int, int],
    field_of_view: tuple[float, float],
    joints: tuple[Joint, Joint],
    angles: tuple[float, float],
) -> Latent:
    """Return the action that centers the region of a latent in the image.

    Args:
        latent: a latent with a region.
        frame_size: width and height of its frame, pixels.
        field_of_view: horizontal and vertical, radians.
        joints: pan, to the left, and tilt, downwards.
        angles: their present angles, radians.

    Raises `ValueError` without a region, for a frame without a size, and for unknown angles.

    """
    if latent.roi is None or min(frame_size) <= 0:
        raise ValueError('the head cannot turn to a latent without a region or a frame size')
    if not np.isfinite(angles).all():
        raise ValueError('the angles of the head are not known: check joint_states')
    roi = latent.roi
    box = np.array([[roi.x, roi.y, roi.width, roi.height]], float)
    turns = turn_towards(positions(box, frame_size)[0], field_of_view)
    mean = np.zeros(ACTION_DIM, np.float32)
    log_var = np.full(ACTION_DIM, LOG_VAR_UNUSED, np.float32)
    log_var[HEAD] = LOG_VAR_USED
    for place, (joint, angle, turn) in enumerate(zip(joints, angles, turns, strict=True)):
        wanted = float(np.clip(angle + turn, joint.lower, joint.upper))
        mean[place] = 2 * (wanted - joint.lower) / (joint.upper - joint.lower) - 1
    return Latent(mean, log_var, LatentKind.ACTION, ACTION, roi, latent.track_id)
