# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Messages of tf. `tf2_msgs` need not be installed: it is in apt and has no wheel."""

from __future__ import annotations

from typing import Any

import numpy as np
from builtin_interfaces.msg import Time
from geometry_msgs.msg import TransformStamped

from sage_perception.core.pose import Pose
from sage_perception.core.rotations import OPTICAL, body_matrix, quaternion, rotation_of
from sage_perception.ros.optional_messages import stand_in

try:
    from tf2_msgs.msg import TFMessage

    AVAILABLE = True
except ImportError:
    AVAILABLE = False
    TFMessage = stand_in('tf2_msgs', 'TFMessage')


MAX_READ = 256
"""Maximum number of transforms of a message that are read."""


def transform_from_msg(message: TransformStamped) -> np.ndarray:
    """Return the transform `[4, 4]` from the child frame to its parent.

    Raises `ValueError` for values that are not finite, and for no unit quaternion.
    """
    t, q = message.transform.translation, message.transform.rotation
    matrix = np.eye(4)
    matrix[:3, :3] = rotation_of(q.x, q.y, q.z, q.w)
    matrix[:3, 3] = t.x, t.y, t.z
    if not np.isfinite(matrix).all():
        raise ValueError('a translation is not finite')
    return matrix


def mounts_to_msg(mounts: dict[str, Pose], base_frame: str, prefix: str, stamp: Time) -> TFMessage:
    """Return the static transforms of cameras by name: their bodies and optical frames.

    The frames of a camera are `<prefix><name>_link` and `<prefix><name>_optical_frame`. Raises
    `RuntimeError` if `tf2_msgs` is not installed.
    """
    if not AVAILABLE:
        raise RuntimeError('tf2_msgs is not installed')
    transforms = []
    for name, pose in mounts.items():
        link = f'{prefix}{name}_link'
        transforms += [
            _transform(base_frame, link, body_matrix(pose), stamp),
            _transform(link, f'{prefix}{name}_optical_frame', OPTICAL, stamp),
        ]
    return TFMessage(transforms=transforms)


def _transform(parent: str, child: str, matrix: np.ndarray, stamp: Time) -> TransformStamped:
    message: Any = TransformStamped(child_frame_id=child)
    message.header.frame_id, message.header.stamp = parent, stamp
    t, q = message.transform.translation, message.transform.rotation
    t.x, t.y, t.z = (float(value) for value in matrix[:3, 3])
    q.x, q.y, q.z, q.w = quaternion(matrix[:3, :3])
    return message
