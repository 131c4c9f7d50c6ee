# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""The newest state of each joint and of the inertial sensor, from their messages."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from sensor_msgs.msg import Imu, JointState

from sage_perception.puzzle.joints import MAX_JOINTS, Joint
from sage_perception.puzzle.proprioception import BodyState, gravity_direction
from sage_perception.ros.conversions.stamps import stamp_from_msg

MAX_NAMES = 4 * MAX_JOINTS
"""Maximum number of joints in a message; other joints than the configured ones are ignored."""
_FIELDS = ('position', 'velocity', 'effort')


class BodyStates:
    """Merges joint states of any number of publishers; the last message of a joint counts.

    `max_age_s` is the age at which a value is no longer used, seconds.
    """

    def __init__(self, joints: Sequence[Joint], max_age_s: float):
        self._index = {joint.name: i for i, joint in enumerate(joints)}
        self._max_age_ns = round(max_age_s * 1e9)
        self._values = np.full((len(_FIELDS), len(joints)), np.nan)
        self._stamps = np.zeros(len(joints), np.int64)
        self._imu: Imu | None = None
        self.stamp_ns = 0
        """Stamp of the last joint state of a configured joint, nanoseconds; 0: none."""

    def add(self, message: JointState) -> None:
        """Add a joint state; raise `ValueError` if its arrays do not fit together."""
        check_arrays(message)
        stamp_ns = stamp_from_msg(message.header.stamp)
        for position, name in enumerate(message.name):
            i = self._index.get(name)
            if i is None:
                continue
            for row, field in enumerate(_FIELDS):
                values = getattr(message, field)
                self._values[row, i] = values[position] if len(values) else math.nan
            self._stamps[i] = self.stamp_ns = stamp_ns

    def add_imu(self, message: Imu) -> None:
        """Keep the last inertial measurement."""
        self._imu = message

    def newest(self) -> BodyState | None:
        """Return the state at `stamp_ns`, without values that are too old; None without any."""
        if not self.stamp_ns:
            return None
        old = np.abs(self.stamp_ns - self._stamps) > self._max_age_ns
        position, velocity, effort = np.where(old, np.nan, self._values)
        imu = self._imu
        stamp_ns = 0 if imu is None else stamp_from_msg(imu.header.stamp)
        if imu is None or abs(self.stamp_ns - stamp_ns) > self._max_age_ns:
            return BodyState(position, velocity, effort)
        q = imu.orientation
        return BodyState(
            position,
            velocity,
            effort,
            _unless_unknown(gravity_direction((q.x, q.y, q.z, q.w)), imu.orientation_covariance),
            _unless_unknown(_xyz(imu.angular_velocity), imu.angular_velocity_covariance),
            _unless_unknown(_xyz(imu.linear_acceleration), imu.linear_acceleration_covariance),
        )


def check_arrays(message: JointState) -> None:
    """Raise `ValueError` for a joint state whose arrays do not fit together or are too long."""
    count = len(message.name)
    if count > MAX_NAMES:
        raise ValueError(f'name has {count} joints, at most {MAX_NAMES} are accepted')
    for field in _FIELDS:
        given = len(getattr(message, field))
        if given not in (0, count):
            raise ValueError(f'{field} has {given} values for {count} joints in name')


def _xyz(vector: object) -> np.ndarray:
    return np.array([getattr(vector, axis) for axis in 'xyz'], float)


def _unless_unknown(values: np.ndarray, covariance: Sequence[float]) -> np.ndarray:
    """Return values, NaN if the first element of their covariance is -1: not measured."""
    return np.full(3, np.nan) if covariance[0] == -1 else values
