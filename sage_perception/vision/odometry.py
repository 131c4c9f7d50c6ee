# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""The rotation of a camera between two frames, from the odometry of its robot."""

from __future__ import annotations

import math
from collections import deque

import numpy as np

from sage_perception.core.rotations import OPTICAL, unit_rotation
from sage_perception.vision.ego_motion import rotation_homography

HISTORY = 400
"""Number of orientations that are kept."""
MAX_DISTANCE_S = 0.1
"""Time between a frame and the nearest orientation beyond which the rotation is unknown."""
OPTICAL_TO_BASE = OPTICAL[:3, :3]
"""Rotation from the optical frame of a camera that looks forward to REP-103's body axes."""


class OdometryRotation:
    """Keeps the latest orientations of a robot and returns the rotation between two times.

    The camera looks forward: its optical frame has the orientation of REP-103 for such cameras.
    """

    def __init__(self) -> None:
        self._stamps: deque[float] = deque(maxlen=HISTORY)
        self._quaternions: deque[np.ndarray] = deque(maxlen=HISTORY)

    def add(self, stamp_s: float, quaternion: tuple[float, float, float, float]) -> None:
        """Add the orientation (x, y, z, w) of the body in a fixed frame.

        Orientations older than the last one start the history again. Raises `ValueError` for a
        quaternion without a direction.
        """
        values = np.asarray(quaternion, float)
        norm = float(np.linalg.norm(values))
        if not math.isfinite(norm) or norm < 1e-6:
            raise ValueError(f'orientation {quaternion} is not a rotation; its norm must not be 0')
        if self._stamps and stamp_s < self._stamps[-1]:
            self._stamps.clear()
            self._quaternions.clear()
        self._stamps.append(stamp_s)
        self._quaternions.append(values / norm)

    def homography(
        self, previous_s: float, present_s: float, camera: np.ndarray
    ) -> np.ndarray | None:
        """Return the homography `[3, 3]` from the present frame to the previous one, pixels.

        `camera` `[3, 3]` is the intrinsic matrix. Returns None if an orientation is unknown.
        """
        before, now = self._at(previous_s), self._at(present_s)
        if before is None or now is None:
            return None
        rotation = OPTICAL_TO_BASE.T @ before.T @ now @ OPTICAL_TO_BASE
        return rotation_homography(rotation, camera)

    def _at(self, stamp_s: float) -> np.ndarray | None:
        """Return the rotation matrix at a time, interpolated between its neighbors."""
        if not self._stamps:
            return None
        stamps = np.array(self._stamps)
        after = min(int(np.searchsorted(stamps, stamp_s)), len(stamps) - 1)
        before = max(after - 1, 0)
        if min(abs(stamps[after] - stamp_s), abs(stamps[before] - stamp_s)) > MAX_DISTANCE_S:
            return None
        first, second = self._quaternions[before], self._quaternions[after]
        span = stamps[after] - stamps[before]
        part = min(max((stamp_s - stamps[before]) / span, 0.0), 1.0) if span > 0 else 1.0
        mean = (1 - part) * first + part * second * (1 if first @ second >= 0 else -1)
        return unit_rotation(*(mean / np.linalg.norm(mean)))
