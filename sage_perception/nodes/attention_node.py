# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Selects the regions of each image that move or stand out, and publishes them as crops."""

from __future__ import annotations

import sys
import time
from typing import Any

import cv2
import numpy as np
from nav_msgs.msg import Odometry
from sage_msgs.msg import CropArray, LCTArray, TrackScores
from sensor_msgs.msg import CameraInfo, CompressedImage, Image

from sage_perception.core.track_ids import first_track_id
from sage_perception.ros import detections, qos
from sage_perception.ros.authentication import AuthenticatedInput
from sage_perception.ros.control import CONTROL, serve_control
from sage_perception.ros.conversions.crops import crop_to_msg
from sage_perception.ros.conversions.stamps import stamp_from_msg
from sage_perception.ros.diagnostics import OK, WARN, Status
from sage_perception.ros.endpoints import Node
from sage_perception.ros.errors import ConfigurationError
from sage_perception.ros.identity import node_identity, own_keys
from sage_perception.ros.image_input import ImageInput, image_topics
from sage_perception.ros.images import bgr_from_msg
from sage_perception.ros.input_monitor import InputMonitor
from sage_perception.ros.local_bus import TopicPublisher
from sage_perception.ros.message_form import sign_message
from sage_perception.ros.node_parameters.attention import ATTENTION, attention_config
from sage_perception.ros.run import run
from sage_perception.ros.signed_images import signature_topic, subscribe_images
from sage_perception.ros.statistics import Durations
from sage_perception.ros.tables import Topic
from sage_perception.vision.attention import Attention
from sage_perception.vision.attention_config import AttentionConfig
from sage_perception.vision.camera_health import CameraHealth, Fault
from sage_perception.vision.intensity_range import IntensityRange
from sage_perception.vision.odometry import OdometryRotation


class AttentionNode(Node):
    """Also detects camera faults, such as a covered or frozen camera."""

    PARAMETERS = ATTENTION
    SUBSCRIBES = (
        *image_topics('image_raw', 'Images in the encodings of sensor_msgs and OpenCV.'),
        Topic(
            'odom',
            Odometry,
            qos.SENSOR_DATA,
            'Orientation of a robot whose camera looks forward; optional, see `ego_motion`.',
        ),
        Topic(
            'camera_info',
            CameraInfo,
            qos.SENSOR_DATA,
            'Calibration; subscribed when the first odometry arrives.',
        ),
        Topic(
            'detections',
            detections.Detection2DArray,
            qos.DEFAULT,
            'Boxes of any detector, in pixels of the images and with their stamps: they get crops '
            'of the source EXTERNAL. Where vision_msgs is installed.',
        ),
        signature_topic('image_raw'),
        Topic('slots', LCTArray, qos.DEFAULT, 'Object slots of the images, see `use_slots`.'),
        Topic(
            'track_scores',
            TrackScores,
            qos.DEFAULT,
            'How well the tracks fit the goal, which weights the choice of crops. Signed with the '
            'key of this node if it has one.',
        ),
    )
    PUBLISHES = (
        Topic(
            'crops',
            CropArray,
            qos.CROPS,
            'Crops of each image, highest score first; one message per image.',
        ),
        Topic(
            'regions',
            detections.Detection2DArray,
            qos.DEFAULT,
            'The regions of the crops with track id and score, while it is subscribed. Where '
            'vision_msgs is installed.',
        ),
    )
    SERVES = (CONTROL,)

    def __init__(self, **options: Any) -> None:
        super().__init__('attention', **options)

    def setup(self) -> None:
        """Create the endpoints."""
        serve_control(self)
        first = self.parameters.first_track_id or first_track_id(time.time())
        self._attention = Attention(self._config(), first)
        self._health = CameraHealth()
        self._intensity = IntensityRange()
        self._durations = Durations()
        self._identity = node_identity(
            self, self.parameters.entity_id or self.get_namespace().strip('/') or self.get_name()
        )
        self._crops = self.publisher('crops')
        cv2.setNumThreads(self.parameters.threads)
        self._images = self._subscribe_images()
        self._rotation = OdometryRotation()
        self._intrinsics: np.ndarray | None = None
        self._last_stamp_s = 0.0
        self._odometry = self.subscribe('odom', self._receive_odometry, timeout_s=0)
        self._scores = AuthenticatedInput(
            self,
            'track_scores',
            self._receive_scores,
            lambda: own_keys(self._identity),
            self._identity.key is not None,
            lambda: [self._identity.entity_id],
            check_stamps=self._identity.key is not None,
            timeout_s=0,
        )
        self._infos: InputMonitor | None = None
        self._detections: InputMonitor | None = None
        self._regions: TopicPublisher | None = None
        self._invalid_detections = 0
        if detections.AVAILABLE:
            self._regions = self.publisher('regions')
            if self.parameters.max_detections:
                self._detections = self.subscribe(
                    'detections', self._receive_detections, timeout_s=0
                )
        else:
            self.get_logger().debug('vision_msgs is not installed: no detections and no regions')
        self._slots: InputMonitor | None = None
        if self.parameters.use_slots:
            self._slots = self.subscribe('slots', self._receive_slots, timeout_s=0)
        self.diagnostics.add('attention', self._report)

    def _subscribe_images(self) -> ImageInput:
        """Subscribe to the images of the camera, which has the key of this node."""
        parameters, identity = self.parameters, self._identity
        required = parameters.require_signatures and not parameters.unsigned_images
        if required and identity.key is None:
            raise ConfigurationError(
                "parameter 'require_signatures': images are verified with the key of this node, "
                "so set the parameter 'key' too"
            )
        return subscribe_images(
            self,
            'image_raw',
            self._attend,
            lambda: own_keys(identity),
            identity.entity_id,
            max_age_s=parameters.max_age_s,
        )

    def check_parameters(self, values: dict[str, Any]) -> None:
        """Raise `ValueError` for parameters that attention rejects."""
        try:
            attention_config(values)
        except ValueError as error:
            raise ValueError(f'parameter {error}') from None

    def on_parameters_changed(self) -> None:
        """Restart attention with the new parameters; track ids are not reused."""
        self._attention.reset(self._config())

    def _config(self) -> AttentionConfig:
        return attention_config(self.parameters.values)

    def _attend(self, message: Image | CompressedImage) -> None:
        start_s = time.perf_counter()
        try:
            image = bgr_from_msg(message, self._intensity)
            stamp_s = stamp_from_msg(message.header.stamp) * 1e-9
            odd = self._attention.odd_stamps
            crops = self._attention.attend(image, stamp_s, self._camera_motion(stamp_s))
        except ValueError as error:
            self._images.reject(str(error))
            return
        if self._attention.odd_stamps > odd:
            self.get_logger().warning(
                f'{self._images.name}: stamp {stamp_s:.3f} s does not follow the stamp before; '
                'check the clock of the camera driver',
                throttle_duration_sec=10.0,
            )
        fault = self._health.update(image, stamp_s, self.get_clock().now().nanoseconds * 1e-9)
        array = CropArray(header=message.header, fault=int(fault))
        array.source_height, array.source_width = image.shape[:2]
        array.crops = [crop_to_msg(crop, message.header) for crop in crops]
        self._crops.publish(sign_message(array, self._identity))
        if self._regions is not None and self._regions.get_subscription_count():
            self._regions.publish(detections.detections_to_msg(message.header, crops))
        self._durations.add(time.perf_counter() - start_s)

    def _receive_odometry(self, message: Odometry) -> None:
        if self._infos is None:
            # Most cameras have no odometry: only then take a second message per image.
            self._infos = self.subscribe('camera_info', self._receive_info, timeout_s=0)
        q = message.pose.pose.orientation
        try:
            self._rotation.add(stamp_from_msg(message.header.stamp) * 1e-9, (q.x, q.y, q.z, q.w))
        except ValueError as error:
            self._odometry.reject(str(error))

    def _receive_detections(self, message: Any) -> None:
        found, invalid = detections.detections_from_msg(message, self.parameters.max_detections)
        if invalid and self._detections is not None:
            self._invalid_detections += invalid
            self._detections.reject(f'{invalid} detections are not finite, empty or out of range')
        self._attention.add_detections(stamp_from_msg(message.header.stamp) * 1e-9, found)

    def _receive_slots(self, message: LCTArray) -> None:
        found, invalid = detections.slot_regions_from_msg(message)
        if invalid and self._slots is not None:
            self._slots.reject(f'{invalid} slots have no region or no trust in [0, 1]')
        self._attention.add_slots(stamp_from_msg(message.header.stamp) * 1e-9, found)

    def _receive_scores(self, message: TrackScores) -> None:
        try:
            scores = dict(zip(message.track_ids, message.scores, strict=True))
            self._attention.set_track_scores(scores, stamp_from_msg(message.header.stamp) * 1e-9)
        except ValueError as error:
            self._scores.reject(str(error))

    def _receive_info(self, message: CameraInfo) -> None:
        matrix = np.reshape(message.k, (3, 3))
        # K is 0 for an uncalibrated camera (sensor_msgs/CameraInfo).
        calibrated = np.isfinite(matrix).all() and matrix[0, 0] > 0 and matrix[1, 1] > 0
        self._intrinsics = matrix if calibrated else None

    def _camera_motion(self, stamp_s: float) -> np.ndarray | None:
        """Return the homography of the rotation since the last image, if it is known."""
        previous_s, self._last_stamp_s = self._last_stamp_s, stamp_s
        if self._intrinsics is None:
            return None
        return self._rotation.homography(previous_s, stamp_s, self._intrinsics)

    @property
    def _signing(self) -> str:
        """Return where signing begins, for diagnostics."""
        if self._identity.key is None:
            return 'off'
        if self.parameters.require_signatures and not self.parameters.unsigned_images:
            return 'begins at the camera'
        return 'begins here: images are not authenticated'

    def _report(self) -> Status:
        fault = self._health.fault
        motion = self._attention.camera_motion
        values = {
            'odd_stamps': self._attention.odd_stamps,
            'ego_motion': self._attention.ego_motion,
            'ego_motion_px': round(self._attention.camera_speed_px, 2),
            'ego_motion_inliers': round(motion.inliers, 3) if motion else '',
            'camera_fault': fault.name.lower(),
            'signing': self._signing,
            'public_key': self._identity.public_key,
            'attend_p50_ms': self._durations.percentile_ms(50),
            'attend_p95_ms': self._durations.percentile_ms(95),
        }
        if self._detections is not None:
            values['invalid_detections'] = self._invalid_detections
            values['unmatched_detections'] = self._attention.unmatched_detections
        if fault > Fault.NONE:
            return WARN, f'camera fault: {fault.name.lower()}', values
        return OK, 'attending', values


def main(args: list[str] | None = None) -> None:
    """Run the node."""
    sys.exit(run(AttentionNode, args))


if __name__ == '__main__':
    main()
