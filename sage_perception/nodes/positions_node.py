# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Node that computes where the tracks of calibrated cameras are."""

from __future__ import annotations

import sys
from collections import OrderedDict, deque
from typing import Any

import numpy as np
from geometry_msgs.msg import PoseArray
from sage_msgs.msg import Agreement, AgreementArray, LCTArray
from sensor_msgs.msg import Image
from std_msgs.msg import Header
from visualization_msgs.msg import MarkerArray

from sage_perception.models.artifact import ModelError
from sage_perception.pipeline.object_positions import (
    Bearing,
    ObjectPosition,
    TrackView,
    bearing_of,
    from_depth,
    triangulated,
)
from sage_perception.ros import qos
from sage_perception.ros.authentication import AuthenticatedInput
from sage_perception.ros.camera_poses import POSE_TOPICS, CameraPoses
from sage_perception.ros.control import CONTROL, serve_control
from sage_perception.ros.conversions import positions as conversions
from sage_perception.ros.conversions.packers import packers_of
from sage_perception.ros.conversions.stamps import stamp_from_msg, stamp_to_msg
from sage_perception.ros.diagnostics import OK, WARN, Status
from sage_perception.ros.endpoints import Node
from sage_perception.ros.errors import ConfigurationError
from sage_perception.ros.identity import TrustedKeys, arbiter_entity
from sage_perception.ros.input_monitor import InputMonitor
from sage_perception.ros.local_bus import TopicPublisher
from sage_perception.ros.node_parameters.positions import POSITIONS
from sage_perception.ros.relayed import RelayedVerifier
from sage_perception.ros.run import run
from sage_perception.ros.tables import Topic
from sage_perception.vision.depth_images import depth_image
from sage_perception.vision.positions import CalibratedCamera

PATIENCE_NS = 200_000_000
"""Time to wait for the agreements of a frame, nanoseconds."""
MAX_DEPTH_LAG_NS = 50_000_000
"""Largest difference between the stamps of a depth image and of a frame, nanoseconds."""
MAX_VIEWS = 2048
"""Maximum number of recent regions that agreements can refer to."""
MAX_FRAMES = 64
MAX_UNPAIRED = 20
"""Successive primary frames without an agreement above which the cameras are not synchronized."""
MAX_MATCHES = 64
"""Maximum number of matches of one frame with each other camera."""


class PositionsNode(Node):
    """Triangulates tracks that agree, and reads depth images for the others.

    The frame of the results is `base_frame`, their stamp that of the primary camera's frame.
    """

    PARAMETERS = POSITIONS
    SUBSCRIBES = (
        Topic('trusted', LCTArray, qos.DEFAULT, 'LCTs that the arbiter accepted, of all cameras.'),
        Topic('agreement', AgreementArray, qos.DEFAULT, 'Crops that the arbiter matched.'),
        *POSE_TOPICS,
        Topic(
            '{camera}/depth',
            Image,
            qos.SENSOR_DATA,
            'Depth images, 16UC1 in millimeters or 32FC1 in meters, aligned with the images of '
            'the primary camera; see `use_depth`.',
        ),
    )
    PUBLISHES = (
        Topic('positions', PoseArray, qos.DEFAULT, 'Positions of tracks, without rotation.'),
        Topic(
            'position_markers',
            MarkerArray,
            qos.VISUALIZATION,
            'Positions as ellipsoids that contain 90 % of the errors, with track ids, and '
            'bearings as rays.',
        ),
        Topic(
            'detections_3d',
            conversions.Detection3DArray,
            qos.DEFAULT,
            'Positions with track id, covariance and size. Where vision_msgs is installed.',
        ),
    )
    SERVES = (CONTROL,)

    def __init__(self, **options: Any) -> None:
        super().__init__('positions', **options)

    def setup(self) -> None:
        """Create the endpoints."""
        parameters = self.parameters
        try:
            packers = packers_of(parameters.model)
        except (ModelError, ValueError) as error:
            raise ConfigurationError(f"parameter 'model': {error}") from error
        self._camera_of = {entity: name for name, entity in self.camera_entities().items()}
        self._poses = CameraPoses(self)
        self._views: OrderedDict[bytes, TrackView] = OrderedDict()
        self._frames: deque[tuple[int, int, list[bytes]]] = deque(maxlen=MAX_FRAMES)
        self._newest: dict[str, list[TrackView]] = {}
        self._sizes: dict[str, tuple[int, int]] = {}
        self._matches: OrderedDict[int, dict[tuple[bytes, bytes], None]] = OrderedDict()
        self._depth: Image | None = None
        self._depth_input: InputMonitor | None = None
        self._count = self._unpaired = 0
        self._poses_out = self.publisher('positions')
        self._markers = self.publisher('position_markers')
        self._detections: TopicPublisher | None = None
        if conversions.AVAILABLE:
            self._detections = self.publisher('detections_3d')
        keys = TrustedKeys(self)
        serve_control(self, keys)
        arbiter = arbiter_entity(self)
        self._verifier = RelayedVerifier(self, 'trusted', keys, packers, arbiter)
        self.subscribe('trusted', self._receive, guard=self._verifier)
        self._agreements = AuthenticatedInput(
            self,
            'agreement',
            self._receive_agreements,
            lambda: keys.store,
            keys.required,
            (lambda: [arbiter]) if keys.required else None,
            timeout_s=0,
        )
        if parameters.use_depth:
            primary = parameters.cameras[0]
            self._depth_input = self.subscribe('{camera}/depth', self._receive_depth, primary)
        self.add_timer(1 / parameters.rate, self._publish)
        self.diagnostics.add('positions', self._report)

    def _receive(self, message: LCTArray, publisher: bytes) -> None:
        primary = self.parameters.cameras[0]
        for frame in self._verifier.frames(message, publisher):
            camera = self._camera_of.get(frame.camera)
            if camera is None:
                continue
            views = {
                lct.id: TrackView(camera, lct.latent.track_id, lct.latent.roi, frame.size)
                for lct in frame.lcts
                if lct.latent.roi is not None
            }
            self._views |= views
            while len(self._views) > MAX_VIEWS:
                self._views.popitem(last=False)
            self._newest[camera] = list(views.values())
            self._sizes[camera] = frame.size
            if camera == primary:
                now_ns = self.get_clock().now().nanoseconds
                self._frames.append((frame.stamp_ns, now_ns, list(views)))

    def _receive_agreements(self, message: AgreementArray) -> None:
        stamp_ns = stamp_from_msg(message.header.stamp)
        matches = self._matches.setdefault(stamp_ns, {})
        while len(self._matches) > MAX_FRAMES:
            self._matches.popitem(last=False)
        limit = MAX_MATCHES * (len(self.parameters.cameras) - 1)
        for pair in message.agreements[:MAX_MATCHES]:
            # Repeated matches are no further evidence, and messages may repeat a stamp.
            if pair.level == Agreement.LEVEL_HIGH and len(matches) < limit:
                matches[bytes(pair.lct_a), bytes(pair.lct_b)] = None

    def _receive_depth(self, message: Image) -> None:
        self._depth = message

    def _due(self) -> tuple[int, list[bytes]] | None:
        """Return stamp and LCTs of the newest primary frame that need not wait any longer."""
        now_ns, due = self.get_clock().now().nanoseconds, None
        alone = len(self.parameters.cameras) == 1
        while self._frames:
            stamp_ns, arrived_ns, ids = self._frames[0]
            waited = abs(now_ns - arrived_ns) > PATIENCE_NS
            is_paired = stamp_ns in self._matches
            if not (alone or waited or is_paired):
                break
            self._unpaired = 0 if alone or is_paired else self._unpaired + 1
            due = stamp_ns, ids
            self._frames.popleft()
        return due

    def _publish(self) -> None:
        """Publish the positions of the newest frame, if anything subscribes."""
        due = self._due()
        outputs = [each for each in (self._poses_out, self._markers, self._detections) if each]
        if due is None or not any(each.get_subscription_count() for each in outputs):
            return
        stamp_ns, ids = due
        cameras = self._cameras()
        positions = self._positions(stamp_ns, ids, cameras)
        self._count = len(positions)
        header = Header(stamp=stamp_to_msg(stamp_ns), frame_id=self._poses.base_frame)
        self._poses_out.publish(conversions.poses_to_msg(header, positions))
        if self._markers.get_subscription_count():
            length = self.parameters.bearing_m
            rays = self._bearings(ids, cameras) if length else []
            markers = conversions.positions_to_markers(header, positions, rays, length)
            self._markers.publish(markers)
        if self._detections is not None and self._detections.get_subscription_count():
            self._detections.publish(conversions.positions_to_detections(header, positions))

    def _cameras(self) -> dict[str, CalibratedCamera]:
        """Return the cameras whose calibrations and poses are known."""
        found = {
            name: self._poses.camera(name, self._sizes.get(name))
            for name in self.parameters.cameras
        }
        return {name: camera for name, camera in found.items() if camera is not None}

    def _positions(
        self, stamp_ns: int, ids: list[bytes], cameras: dict[str, CalibratedCamera]
    ) -> list[ObjectPosition]:
        """Return the positions of the tracks of a primary frame that can be located."""
        matches: dict[bytes, list[TrackView]] = {}
        for ours, theirs in self._matches.get(stamp_ns, {}):
            if theirs in self._views:
                matches.setdefault(ours, []).append(self._views[theirs])
        depths = self._depth_at(stamp_ns)
        found = []
        for lct_id in ids:
            view = self._views.get(lct_id)
            if view is None:
                continue
            others = matches.get(lct_id, [])
            position = triangulated([view, *others], cameras)
            if position is None and depths is not None and view.camera in cameras:
                position = from_depth(view, cameras[view.camera], depths)
            if position is not None:
                found.append(position)
        return found

    def _bearings(self, ids: list[bytes], cameras: dict[str, CalibratedCamera]) -> list[Bearing]:
        """Return the bearings of the primary frame and of the newest frames of the others."""
        primary = self.parameters.cameras[0]
        views = [self._views[each] for each in ids if each in self._views]
        for camera, newest in self._newest.items():
            views += newest if camera != primary else []
        return [bearing_of(v, cameras[v.camera]) for v in views if v.camera in cameras]

    def _depth_at(self, stamp_ns: int) -> np.ndarray | None:
        """Return the depths of the primary camera at a time, meters; None if there are none."""
        message = self._depth
        if message is None or self._depth_input is None:
            return None
        if abs(stamp_from_msg(message.header.stamp) - stamp_ns) > MAX_DEPTH_LAG_NS:
            return None
        try:
            return depth_image(message)
        except ValueError as error:
            self._depth_input.reject(str(error))
            return None

    def _report(self) -> Status:
        values = {'positions': self._count, 'frame': self._poses.base_frame}
        self._cameras()  # updates the faults, also while nothing is published
        faults = self._poses.faults
        if self._unpaired > MAX_UNPAIRED:
            faults.append(
                f'no agreement for {self._unpaired} frames: the other cameras have stopped, or '
                'their frames differ by more than sync_slop_s of the arbiter: synchronize the '
                'cameras, or raise it'
            )
        return (WARN if faults else OK), '; '.join(faults) or 'locating', values


def main(args: list[str] | None = None) -> None:
    """Run the node."""
    sys.exit(run(PositionsNode, args))


if __name__ == '__main__':
    main()
