# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Matrices and quaternions of poses (REP-103)."""

from __future__ import annotations

import math

import numpy as np

from sage_perception.core.pose import Pose

OPTICAL = np.array([[0.0, 0, 1, 0], [-1, 0, 0, 0], [0, -1, 0, 0], [0, 0, 0, 1]])
"""Pose of an optical frame (z forward, x right) in the body of its camera (x forward, z up)."""


def body_matrix(pose: Pose) -> np.ndarray:
    """Return the transform from the body of a camera to the robot, float64 `[4, 4]`."""
    (cr, cp, cy), (sr, sp, sy) = np.cos(pose[3:]), np.sin(pose[3:])
    about_x = np.array([[1, 0, 0], [0, cr, -sr], [0, sr, cr]])
    about_y = np.array([[cp, 0, sp], [0, 1, 0], [-sp, 0, cp]])
    about_z = np.array([[cy, -sy, 0], [sy, cy, 0], [0, 0, 1]])
    matrix = np.eye(4)
    matrix[:3, :3] = about_z @ about_y @ about_x
    matrix[:3, 3] = pose[:3]
    return matrix


def optical_matrix(pose: Pose) -> np.ndarray:
    """Return the transform from the optical frame of a camera to the robot, float64 `[4, 4]`."""
    return body_matrix(pose) @ OPTICAL


def quaternion(rotation: np.ndarray) -> tuple[float, float, float, float]:
    """Return the unit quaternion (x, y, z, w) of a rotation `[3, 3]` (Shepperd, 1978)."""
    r = np.asarray(rotation, np.float64)
    trace = float(np.trace(r))
    largest = int(np.argmax([r[0, 0], r[1, 1], r[2, 2], trace]))
    if largest == 3:
        values = np.array([r[2, 1] - r[1, 2], r[0, 2] - r[2, 0], r[1, 0] - r[0, 1], 1 + trace])
    else:
        i, j, k = largest, (largest + 1) % 3, (largest + 2) % 3
        values = np.empty(4)
        values[i] = 1 - trace + 2 * r[i, i]
        values[j], values[k] = r[j, i] + r[i, j], r[k, i] + r[i, k]
        values[3] = r[k, j] - r[j, k]
    x, y, z, w = (float(value) for value in values / np.linalg.norm(values))
    return x, y, z, w


def rotation_of(x: float, y: float, z: float, w: float) -> np.ndarray:
    """Return the rotation `[3, 3]` of a quaternion.

    Raises `ValueError` if it is not finite, or its length differs from 1 by more than 1 %.
    """
    length = math.sqrt(x * x + y * y + z * z + w * w)
    if not abs(length - 1) <= 0.01:
        raise ValueError(f'({x:g}, {y:g}, {z:g}, {w:g}) is not a unit quaternion')
    return unit_rotation(*(value / length for value in (x, y, z, w)))


def unit_rotation(x: float, y: float, z: float, w: float) -> np.ndarray:
    """Return the rotation `[3, 3]` of a quaternion of length 1, which is not checked."""
    return np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
            [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
            [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
        ]
    )
