# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Calibrations and poses of the cameras of a graph, from CameraInfo, a parameter and tf."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
from sensor_msgs.msg import CameraInfo

from sage_perception.core.pose import Pose
from sage_perception.core.rotations import optical_matrix
from sage_perception.core.transforms import TransformTree
from sage_perception.ros import qos
from sage_perception.ros.conversions.stamps import stamp_from_msg
from sage_perception.ros.endpoints import Endpoints
from sage_perception.ros.errors import ConfigurationError
from sage_perception.ros.input_monitor import InputMonitor
from sage_perception.ros.message_checks import find_fault
from sage_perception.ros.parameters import Parameter
from sage_perception.ros.tables import Topic
from sage_perception.ros.transforms import AVAILABLE, MAX_READ, TFMessage, transform_from_msg
from sage_perception.vision.positions import CalibratedCamera, CalibrationError

CAMERA_POSES = Parameter(
    'camera_poses',
    '',
    'Poses of the cameras on the robot, as camera=pose, separated by commas; a pose is "x y z '
    'roll pitch yaw" in meters and radians, of the body of the camera (x forward, y left, z up) '
    'in base_frame. The launch arguments pose0 and pose1 set it. A camera without one has the '
    'pose that tf gives.',
    read_only=True,
)
BASE_FRAME = Parameter(
    'base_frame',
    'base_link',
    'Frame that the poses of the cameras are in.',
    read_only=True,
)
MAX_MODEL_CHARS = 40
"""Number of characters of an unknown distortion model that are reported."""
POSE_TOPICS = (
    Topic('{camera}/camera_info', CameraInfo, qos.SENSOR_DATA, 'Calibration of each camera.'),
    Topic('/tf', TFMessage, qos.TF, 'Transforms of cameras that move; see `camera_poses`.'),
    Topic('/tf_static', TFMessage, qos.TF_STATIC, 'Transforms of cameras that do not.'),
)
"""The rows of `SUBSCRIBES` of a node with `CameraPoses`."""


def mounts_of(node: Endpoints) -> dict[str, Pose]:
    """Return the parameter `camera_poses` of a node; raise `ConfigurationError` if invalid."""
    try:
        return {
            camera: Pose.parse(text)
            for camera, text in node.parameters.by_camera('camera_poses').items()
        }
    except ValueError as error:
        raise ConfigurationError(f"parameter 'camera_poses': {error}") from None


class CameraPoses:
    """The calibrated cameras of a node with the parameters `CAMERA_POSES` and `BASE_FRAME`."""

    def __init__(self, node: Endpoints) -> None:
        """Create the subscriptions; raise `ConfigurationError` for an invalid parameter."""
        self.base_frame: str = node.parameters.base_frame
        self._names: list[str] = list(node.parameters.cameras)
        self._mounts = {camera: optical_matrix(pose) for camera, pose in mounts_of(node).items()}
        self._infos: dict[str, CameraInfo] = {}
        self._faults: dict[str, str] = {}
        self._tree = TransformTree()
        self._monitors: dict[str, InputMonitor] = {}
        for camera in node.parameters.cameras:
            receive = partial(self._infos.__setitem__, camera)
            node.subscribe('{camera}/camera_info', receive, camera, timeout_s=0)
        needs_tf = set(node.parameters.cameras) - self._mounts.keys()
        if AVAILABLE and needs_tf:
            for topic, static in (('/tf', False), ('/tf_static', True)):
                add = partial(self._add_transforms, topic, static)
                self._monitors[topic] = node.subscribe(topic, add, timeout_s=0)

    def camera(self, name: str, size: tuple[int, int] | None = None) -> CalibratedCamera | None:
        """Return a camera; None if its calibration or pose is not known, see `faults`.

        `size` is the width and height of its images, pixels, which the calibration must have too;
        None: not known.
        """
        info = self._infos.get(name)
        if info is None:
            self._faults[name] = (
                f'no message on {name}/camera_info: remap the topic of the driver to it'
            )
            return None
        if size is not None and info.width and (info.width, info.height) != size:
            self._faults[name] = (
                f'camera_info is for images of {info.width}x{info.height} pixels, the images have '
                f'{size[0]}x{size[1]}: calibrate the camera at this size'
            )
            return None
        pose = self._mounts.get(name)
        if pose is None:
            pose = self._tree.lookup(self.base_frame, info.header.frame_id)
        if pose is None:
            self._faults[name] = (
                f'no transform from {self.base_frame} to {info.header.frame_id}: set its pose '
                f'(pose{self._names.index(name)}:="x y z roll pitch yaw"), or publish it on tf'
            )
            return None
        # Drivers leave the model of an image without distortion empty.
        model: Any = info.distortion_model[:MAX_MODEL_CHARS] or 'plumb_bob'
        try:
            found = CalibratedCamera(np.array(info.k), np.array(info.d), pose, model)
        except CalibrationError as error:
            self._faults[name] = f'{error}: set camera_info_url to a file of camera_calibration'
            return None
        self._faults.pop(name, None)
        return found

    @property
    def faults(self) -> list[str]:
        """Return why cameras could not be used, by camera."""
        return [f'{camera}: {fault}' for camera, fault in sorted(self._faults.items())]

    def _add_transforms(self, topic: str, static: bool, message: TFMessage) -> None:
        for each in message.transforms[:MAX_READ]:
            if fault := find_fault(each):
                self._monitors[topic].reject(fault)
                continue
            stamp_s = np.inf if static else stamp_from_msg(each.header.stamp) * 1e-9
            try:
                matrix = transform_from_msg(each)
            except ValueError as error:
                self._monitors[topic].reject(str(error))
                continue
            self._tree.add(each.header.frame_id, each.child_frame_id, matrix, float(stamp_s))
