# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Forward kinematics of a chain of revolute joints, for any number of postures at a time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from sage_perception.puzzle.joints import Joint


@dataclass(frozen=True, eq=False)
class SerialChain:
    """A chain of J revolute joints; each turns about the z axis of its own frame, as in URDF.

    Attributes:
        joints: limits of the joints, radians.
        origins: position of each joint in the frame of the previous one, m, `[J, 3]`.
        rotations: rotation of each joint's frame in the previous one at angle 0, `[J, 3, 3]`.
        tool: position of the hand in the last frame, m, `[3]`.
    """

    joints: tuple[Joint, ...]
    origins: np.ndarray
    rotations: np.ndarray
    tool: np.ndarray

    @property
    def lower(self) -> np.ndarray:
        """Return the lower limits, radians, `[J]`."""
        return np.array([joint.lower for joint in self.joints])

    @property
    def upper(self) -> np.ndarray:
        """Return the upper limits, radians, `[J]`."""
        return np.array([joint.upper for joint in self.joints])

    def forward(self, angles: np.ndarray) -> np.ndarray:
        """Return the position of the hand, m, `[B, 3]`, at angles `[B, J]`, radians."""
        return self._frames(angles)[2]

    def jacobian(self, angles: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the hand `[B, 3]` and its derivatives by the angles, m/rad, `[B, 3, J]`.

        A revolute joint moves the hand by the cross product of its axis and the lever arm.
        """
        places, axes, hand = self._frames(angles)
        levers = hand[:, None] - places
        return hand, np.cross(axes, levers).transpose(0, 2, 1)

    def _frames(self, angles: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return places and axes of the joints, `[B, J, 3]` both, and the hand `[B, 3]`."""
        angles = np.asarray(angles, float)
        count = len(angles)
        rotation = np.broadcast_to(np.eye(3), (count, 3, 3))
        place = np.zeros((count, 3))
        places, axes = [], []
        for origin, fixed, angle in zip(self.origins, self.rotations, angles.T, strict=True):
            place = place + rotation @ origin
            rotation = rotation @ fixed
            places.append(place)
            axes.append(rotation[:, :, 2])
            rotation = rotation @ _turn(angle)
        hand = place + rotation @ self.tool
        return np.stack(places, 1), np.stack(axes, 1), hand


def from_euler(roll: float, pitch: float, yaw: float) -> np.ndarray:
    """Return the rotation about fixed axes x, y, z in this order, as `rpy` of URDF, `[3, 3]`."""
    rotations = []
    for axis, angle in enumerate((roll, pitch, yaw)):
        turn = np.eye(3)
        i, j = (axis + 1) % 3, (axis + 2) % 3
        turn[i, i] = turn[j, j] = np.cos(angle)
        turn[j, i] = np.sin(angle)
        turn[i, j] = -np.sin(angle)
        rotations.append(turn)
    x, y, z = rotations
    return np.asarray(z @ y @ x)


def serial_chain(
    joints: Sequence[Joint],
    origins: Sequence[tuple[float, float, float]],
    euler: Sequence[tuple[float, float, float]],
    tool: tuple[float, float, float],
) -> SerialChain:
    """Return a chain from the values of its URDF; raise `ValueError` unless they are as many."""
    if not len(joints) == len(origins) == len(euler) > 0:
        raise ValueError(
            f'{len(joints)} joints, {len(origins)} origins and {len(euler)} rotations: give one '
            'of each for each joint'
        )
    rotations = np.stack([from_euler(*angles) for angles in euler])
    return SerialChain(tuple(joints), np.array(origins, float), rotations, np.array(tool, float))


def _turn(angles: np.ndarray) -> np.ndarray:
    """Return rotations about z, `[B, 3, 3]`."""
    turn = np.zeros((len(angles), 3, 3))
    turn[:, 0, 0] = turn[:, 1, 1] = np.cos(angles)
    turn[:, 1, 0] = np.sin(angles)
    turn[:, 0, 1] = -turn[:, 1, 0]
    turn[:, 2, 2] = 1
    return turn


_Q = np.pi / 2
_KUKA_LIMITS = (2.967, 2.094, 2.967, 2.094, 2.967, 2.094, 3.054)
KUKA_IIWA = serial_chain(
    [Joint(f'lbr_iiwa_joint_{i}', -limit, limit, 1.5) for i, limit in enumerate(_KUKA_LIMITS, 1)],
    [
        (0, 0, 0.1575), (0, 0, 0.2025), (0, 0.2045, 0), (0, 0, 0.2155), (0, 0.1845, 0),
        (0, 0, 0.2155), (0, 0.081, 0),
    ],
    [
        (0, 0, 0), (_Q, 0, np.pi), (_Q, 0, np.pi), (_Q, 0, 0), (-_Q, np.pi, 0), (_Q, 0, 0),
        (-_Q, np.pi, 0),
    ],
    (0, 0, 0.02),
)  # fmt: skip
"""The seven joints of a KUKA LBR iiwa 7; the hand is the center of mass of the last link."""
