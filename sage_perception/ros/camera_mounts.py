# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""The mounts of the cameras of an arbiter: transforms on tf, and epipolar geometry."""

from __future__ import annotations

from collections.abc import Callable, Collection

from sage_perception.ros import qos
from sage_perception.ros.camera_poses import CameraPoses, mounts_of
from sage_perception.ros.endpoints import Endpoints
from sage_perception.ros.tables import Topic
from sage_perception.ros.transforms import AVAILABLE, TFMessage, mounts_to_msg
from sage_perception.trust.fusion.geometry import PosedGeometry

PERIOD_S = 1.0
MOUNT_TOPIC = Topic(
    '/tf_static',
    TFMessage,
    qos.TF_STATIC_PUBLISHER,
    'The poses in `camera_poses`: frames of the bodies of the cameras, <camera>_link, and optical '
    'frames, <camera>_optical_frame. Where tf2_msgs is installed.',
)
"""The row of `PUBLISHES` of a node with `CameraMounts`."""


class CameraMounts:
    """Publishes the parameter `camera_poses` of a node on tf, and derives geometry from it.

    Nothing is subscribed or published without that parameter.
    """

    def __init__(
        self,
        node: Endpoints,
        tolerance_px: float,
        known: Collection[str],
        use: Callable[[str, PosedGeometry], None],
    ) -> None:
        """Publish the transforms, and call `use` with the geometry of each other camera.

        `tolerance_px` is that of the geometry; 0: none is derived. Cameras in `known` have
        another geometry.
        """
        mounts = mounts_of(node)
        self._poses: CameraPoses | None = None
        if not mounts:
            return
        base: str = node.parameters.base_frame
        if AVAILABLE:
            prefix = base[: base.rfind('/') + 1]
            stamp = node.get_clock().now().to_msg()
            node.publisher('/tf_static').publish(mounts_to_msg(mounts, base, prefix, stamp))
        else:
            node.get_logger().info(
                'tf2_msgs is not installed: the poses of the cameras are not on tf'
            )
        primary, *others = node.parameters.cameras
        self._pairs = [(primary, each) for each in others if each in mounts and each not in known]
        if tolerance_px and primary in mounts and self._pairs:
            self._poses, self._use, self._tolerance_px = CameraPoses(node), use, tolerance_px
            node.add_timer(PERIOD_S, self._derive)

    def _derive(self) -> None:
        """Derive the geometry from the present calibrations, which are rarely changed."""
        assert self._poses is not None
        for primary, other in self._pairs:
            ours, theirs = self._poses.camera(primary), self._poses.camera(other)
            if ours is not None and theirs is not None:
                self._use(other, PosedGeometry(ours, theirs, self._tolerance_px))
