# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Conversion of positions and bearings to messages; `vision_msgs` need not be installed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from geometry_msgs.msg import Point, Pose, PoseArray, Quaternion
from std_msgs.msg import ColorRGBA, Header
from visualization_msgs.msg import Marker, MarkerArray

from sage_perception.core.rotations import quaternion
from sage_perception.pipeline.object_positions import Bearing, ObjectPosition
from sage_perception.ros.optional_messages import stand_in
from sage_perception.vision.mosaic import track_color

try:
    from vision_msgs.msg import Detection3D, Detection3DArray, ObjectHypothesisWithPose

    AVAILABLE = True
except ImportError:
    AVAILABLE = False
    Detection3DArray = stand_in('vision_msgs', 'Detection3DArray')


ELLIPSOID = 0.9
"""Share of the positions that the ellipsoids of the markers contain."""
MIN_AXIS_M = 0.005
"""Smallest axis of a drawn ellipsoid, meters."""
LABEL_M = 0.08


def poses_to_msg(header: Header, positions: Sequence[ObjectPosition]) -> PoseArray:
    """Return positions as poses without a rotation."""
    return PoseArray(header=header, poses=[_pose(each.position.point) for each in positions])


def positions_to_markers(
    header: Header,
    positions: Sequence[ObjectPosition],
    bearings: Sequence[Bearing],
    bearing_m: float,
) -> MarkerArray:
    """Return ellipsoids of positions, their track ids, and rays of bearings.

    An ellipsoid contains the position with the probability `ELLIPSOID`. `bearing_m` is the length
    of a ray, meters.
    """
    array = MarkerArray(markers=[Marker(header=header, action=Marker.DELETEALL)])
    for number, each in enumerate(positions):
        ball = Marker(header=header, ns='positions', id=number, type=Marker.SPHERE)
        values, axes = np.linalg.eigh(each.position.covariance)
        if np.linalg.det(axes) < 0:
            axes[:, 0] *= -1
        ball.pose = _pose(each.position.point, axes)
        radius = each.position.radius(ELLIPSOID)
        lengths = np.maximum(2 * radius * np.sqrt(np.maximum(values, 0)), MIN_AXIS_M)
        ball.scale.x, ball.scale.y, ball.scale.z = (float(length) for length in lengths)
        ball.color = _color(each.track_id, 0.6)
        label = Marker(header=header, ns='tracks', id=number, type=Marker.TEXT_VIEW_FACING)
        label.pose = _pose(each.position.point)
        label.pose.position.z += LABEL_M
        label.scale.z = LABEL_M
        label.color = _color(each.track_id, 1.0)
        label.text = str(each.track_id)
        array.markers += [ball, label]
    for number, bearing in enumerate(bearings):
        ray = Marker(header=header, ns='bearings', id=number, type=Marker.LINE_STRIP)
        ray.pose.orientation.w = 1.0
        ray.scale.x = 0.003
        ray.color = _color(bearing.track_id, 0.5)
        ends = bearing.origin, bearing.origin + bearing_m * bearing.direction
        ray.points = [_point(end) for end in ends]
        array.markers.append(ray)
    return array


def positions_to_detections(
    header: Header, positions: Sequence[ObjectPosition]
) -> Detection3DArray:
    """Return positions as detections: the track is `id`, and the box a cube of the object's size.

    Raises `RuntimeError` if `vision_msgs` is not installed.
    """
    if not AVAILABLE:
        raise RuntimeError('vision_msgs is not installed')
    array = Detection3DArray(header=header)
    for each in positions:
        detection = Detection3D(header=header, id=str(each.track_id))
        detection.bbox.center = _pose(each.position.point)
        size = detection.bbox.size
        size.x = size.y = size.z = float(each.size_m)
        result: Any = ObjectHypothesisWithPose()
        result.hypothesis.class_id = 'track'
        result.hypothesis.score = 1.0
        result.pose.pose = _pose(each.position.point)
        covariance = np.zeros((6, 6))
        covariance[:3, :3] = each.position.total_covariance
        result.pose.covariance = covariance.ravel()
        detection.results = [result]
        array.detections.append(detection)
    return array


def _pose(point: np.ndarray, rotation: np.ndarray | None = None) -> Pose:
    x, y, z, w = (0.0, 0.0, 0.0, 1.0) if rotation is None else quaternion(rotation)
    return Pose(position=_point(point), orientation=Quaternion(x=x, y=y, z=z, w=w))


def _point(point: np.ndarray) -> Point:
    x, y, z = (float(value) for value in point)
    return Point(x=x, y=y, z=z)


def _color(track_id: int, alpha: float) -> ColorRGBA:
    red, green, blue = (channel / 255 for channel in track_color(track_id))
    return ColorRGBA(r=red, g=green, b=blue, a=alpha)
