# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Publishes the images of a camera, a video, a folder of images or a synthetic world."""

from __future__ import annotations

import sys
from dataclasses import replace
from functools import cache
from typing import Any

from sage_msgs.msg import ImageSignature
from sensor_msgs.msg import CameraInfo, CompressedImage, Image
from std_msgs.msg import Header

from sage_perception.core.frame import Frame
from sage_perception.ros import qos
from sage_perception.ros.camera_info import load_camera_info
from sage_perception.ros.capture import CaptureNode
from sage_perception.ros.common_parameters import AUTOSTART, ENTITY_ID
from sage_perception.ros.control import CONTROL
from sage_perception.ros.conversions.building import build
from sage_perception.ros.diagnostics import ERROR, OK, WARN, Status
from sage_perception.ros.identity import KEY, SIGNED_REQUESTS, node_identity
from sage_perception.ros.images import image_to_msg, jpeg_to_msg
from sage_perception.ros.parameters import Parameter
from sage_perception.ros.run import run
from sage_perception.ros.signed_images import ImageSigner
from sage_perception.ros.statistics import Rate
from sage_perception.ros.tables import Topic
from sage_perception.vision.sources import ReconnectingSource


class CameraNode(CaptureNode[ReconnectingSource, Frame]):
    """Stamps images with their capture time, and reopens a lost camera when it returns."""

    DEVICE, ITEMS = 'camera', 'frames'
    PARAMETERS = (
        AUTOSTART,
        Parameter(
            'source',
            'v4l2:///dev/video0',
            'URI of the source: v4l2:///dev/video0, v4l2:///dev/v4l/by-id/..., csi://0, '
            'rtsp://..., file:///video.avi, images:///folder or synthetic://, with options such '
            'as ?size=640x480&fps=30.',
            read_only=True,
        ),
        Parameter(
            'frame_id',
            '',
            'Frame id of the images, an optical frame (REP 103). Default: the last part of the '
            "namespace and '_optical_frame'.",
            read_only=True,
        ),
        Parameter(
            'camera_info_url',
            '',
            'Calibration file: a path, file:///camera.yaml or package://PACKAGE/camera.yaml, with '
            '${NAME} for the name of the camera and ${ROS_HOME} for that folder. If empty, or if '
            'the calibration is for another image size, camera_info is uncalibrated.',
            read_only=True,
        ),
        Parameter(
            'reconnect',
            True,
            'Wait for a camera that is missing or lost. If false, exit with an error instead.',
            read_only=True,
        ),
        Parameter(
            'jpeg_quality',
            85,
            'JPEG quality of image_raw/compressed, which is encoded only for subscribers.',
            minimum=1,
            maximum=100,
        ),
        replace(ENTITY_ID, description='Entity that signs the images; empty: the namespace.'),
        replace(
            KEY,
            description='Secret key of the entity, that of attention and the encoder, which signs '
            'the images for attention: the file, or the folder that contains it; empty: images '
            'are not signed.',
        ),
        *SIGNED_REQUESTS,
    )
    PUBLISHES = (
        Topic('image_raw', Image, qos.CAMERA, 'Images, encoding bgr8.'),
        Topic('image_raw/compressed', CompressedImage, qos.CAMERA, 'The same images as JPEG.'),
        Topic('camera_info', CameraInfo, qos.DEFAULT, 'Calibration, one message per image.'),
        Topic(
            'image_signature',
            ImageSignature,
            qos.DEFAULT,
            'Signature of each image, raw or compressed, for subscribers in other processes. Only '
            'with `key`.',
        ),
    )
    SERVES = (CONTROL,)

    def __init__(self, **options: Any) -> None:
        super().__init__('camera', **options)

    def setup(self) -> None:
        """Create the endpoints."""
        super().setup()
        self._rate = Rate()
        self._info = CameraInfo()
        self._mismatch = ''
        self._frame_id = self.parameters.frame_id or f'{self.device_name}_optical_frame'
        self._images = self.publisher('image_raw')
        self._compressed = self.publisher('image_raw/compressed')
        self._infos = self.publisher('camera_info')
        entity = self.parameters.entity_id or self.get_namespace().strip('/')
        signatures = self.publisher('image_signature')
        self._signer = ImageSigner(signatures, node_identity(self, entity))
        self.diagnostics.add('capture', self._report)

    def configure(self) -> None:
        """Read the calibration and open the source."""
        self._info = load_camera_info(self.parameters.camera_info_url, self.device_name)
        self._mismatch = ''
        self.connect(ReconnectingSource)

    def receive(self, frame: Frame) -> None:
        """Publish a frame."""
        stamp = self.stamp_of(frame.captured_ns)
        if stamp is None:
            return
        header = Header(stamp=stamp, frame_id=self._frame_id)
        image = image_to_msg(frame.image, 'bgr8', header)
        self._signer.sign(image)
        self._images.publish(image)
        self._infos.publish(self._camera_info(frame, header))
        if self._compressed.get_subscription_count():
            compressed = jpeg_to_msg(frame.image, header, self.parameters.jpeg_quality)
            self._signer.sign(compressed)
            self._compressed.publish(compressed)
        self._rate.tick()

    def _camera_info(self, frame: Frame, header: Header) -> CameraInfo:
        """Return the calibration, or an uncalibrated message if it is for another image size."""
        info, (height, width) = self._info, frame.image.shape[:2]
        if (info.width, info.height) != (width, height):
            if info.width and not self._mismatch:
                self._mismatch = (
                    f'{self.parameters.camera_info_url} is for images of '
                    f'{info.width}x{info.height} pixels, the camera delivers {width}x{height}; '
                    'camera_info is uncalibrated'
                )
                self.get_logger().warning(self._mismatch)
            info = _uncalibrated(width, height)
        fields = {name: getattr(info, name) for name in info.get_fields_and_field_types()}
        return build(CameraInfo, **(fields | {'header': header}))

    def _report(self) -> Status:
        values: dict[str, Any] = {
            'published': self._rate.count,
            'rate_hz': self._rate.hz,
            'missed': self.missed,
            'active': self.active,
        }
        if self.source is not None:
            values['nominal_hz'] = self.source.fps
            values['device'] = self.source.identity
        if not self.connection.connected:
            return ERROR, f'no camera: {self.connection.reason}', values
        if not self.active:
            return WARN, 'not active', values
        if self._mismatch:
            return WARN, self._mismatch, values
        return OK, 'capturing', values


@cache
def _uncalibrated(width: int, height: int) -> CameraInfo:
    return CameraInfo(width=width, height=height)


def main(args: list[str] | None = None) -> None:
    """Run the node."""
    sys.exit(run(CameraNode, args))


if __name__ == '__main__':
    main()
