# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Publishes the images of a camera, a video, a folder of images or a synthetic world."""

from __future__ import annotations

import copy
import sys
import time
from typing import Any

from rclpy.duration import Duration
from sensor_msgs.msg import CameraInfo, CompressedImage, Image
from std_msgs.msg import Header

from sage_perception.core.frame import Frame
from sage_perception.ros import qos
from sage_perception.ros.camera_info import load_camera_info
from sage_perception.ros.common_parameters import AUTOSTART
from sage_perception.ros.diagnostics import ERROR, OK, WARN, Status
from sage_perception.ros.endpoints import Topic
from sage_perception.ros.errors import ConfigurationError, NodeFailure
from sage_perception.ros.images import image_to_msg, jpeg_to_msg
from sage_perception.ros.lifecycle import LifecycleNode
from sage_perception.ros.parameters import Parameter
from sage_perception.ros.run import run
from sage_perception.ros.statistics import Rate
from sage_perception.vision.sources import (
    Connection,
    EndOfStream,
    ReconnectingSource,
    SourceError,
)
from sage_perception.vision.sources.capture import CaptureThread

CHECK_PERIOD_S = 0.2
"""Time between two checks for a capture that has failed, seconds."""


class CameraNode(LifecycleNode):
    """Stamps images with their capture time, and reopens a lost camera when it returns."""

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
    )
    PUBLISHES = (
        Topic('image_raw', Image, qos.CAMERA, 'Images, encoding bgr8.'),
        Topic('image_raw/compressed', CompressedImage, qos.CAMERA, 'The same images as JPEG.'),
        Topic('camera_info', CameraInfo, qos.DEFAULT, 'Calibration, one message per image.'),
    )

    def __init__(self, **options: Any) -> None:
        super().__init__('camera', **options)

    def setup(self) -> None:
        """Create the endpoints."""
        self._source: ReconnectingSource | None = None
        self._capture: CaptureThread[Frame] | None = None
        self._connection = Connection(False, 'not configured')
        self._capture_error: Exception | None = None
        self._rate = Rate()
        self._missed = 0
        self._info = CameraInfo()
        self._mismatch = ''
        self._camera_name = self.get_namespace().rstrip('/').rpartition('/')[2] or self.get_name()
        self._frame_id = self.parameters.frame_id or f'{self._camera_name}_optical_frame'
        self._images = self.publisher('image_raw')
        self._compressed = self.publisher('image_raw/compressed')
        self._infos = self.publisher('camera_info')
        self.diagnostics.add('capture', self._report)
        # Not `add_timer`: this exception must end the node, so that it is restarted.
        self.create_timer(CHECK_PERIOD_S, self._raise_capture_error, clock=self.diagnostics.clock)

    def configure(self) -> None:
        """Read the calibration and open the source."""
        self._info = load_camera_info(self.parameters.camera_info_url, self._camera_name)
        self._mismatch = ''
        try:
            self._source = ReconnectingSource(self.parameters.source, on_state=self._on_state)
        except SourceError as error:
            raise ConfigurationError(f"parameter 'source': {error}") from error
        if not (self.parameters.reconnect or self._connection.connected):
            raise ConfigurationError(f"parameter 'source': {self._connection.reason}")

    def activate(self) -> None:
        """Start capturing."""
        if self._source is None:
            raise RuntimeError('the node is not configured')
        name = f'{self.get_fully_qualified_name()[1:]}: capture'
        self._capture = CaptureThread(self._source, self._publish, self._on_end, name)
        self._capture.start()

    def deactivate(self) -> None:
        """Stop capturing; the source stays open."""
        if self._capture is not None:
            self._capture.stop()
            self._missed += self._capture.missed
            self._capture = None

    def cleanup(self) -> None:
        """Close the source."""
        if self._source is not None:
            self._source.close()
            self._source = None

    def _on_state(self, state: Connection) -> None:
        """Log a change of the connection to the camera."""
        before, self._connection = self._connection, state
        logger = self.get_logger()
        if state.connected:
            logger.info('the camera is connected')
        elif before.connected or not state.attempts:
            logger.warning(f'no camera: {state.reason}')
            if before.connected and not self.parameters.reconnect:
                self._capture_error = RuntimeError(f'camera lost: {state.reason}')
        else:
            logger.warning(
                f'no camera after {state.attempts} attempts to reconnect: {state.reason}',
                throttle_duration_sec=10.0,
            )

    def _on_end(self, error: Exception) -> None:
        """Handle the end of the capture."""
        if isinstance(error, EndOfStream):
            self._connection = Connection(False, str(error))
            self.get_logger().info(f'no more frames: {error}')
        elif self.context.ok():  # after shutdown every publish fails
            self._capture_error = error

    def _raise_capture_error(self) -> None:
        """End the node if the capture has failed."""
        if self._capture_error is not None:
            raise NodeFailure(str(self._capture_error)) from self._capture_error

    def _publish(self, frame: Frame) -> None:
        now = self.get_clock().now()
        age_ns = time.monotonic_ns() - frame.captured_ns
        if now.nanoseconds <= max(age_ns, 0):
            return  # there is no stamp before simulated time has started
        stamp = (now - Duration(nanoseconds=age_ns)).to_msg()
        header = Header(stamp=stamp, frame_id=self._frame_id)
        self._images.publish(image_to_msg(frame.image, 'bgr8', header))
        self._infos.publish(self._camera_info(frame, header))
        if self._compressed.get_subscription_count():
            self._compressed.publish(
                jpeg_to_msg(frame.image, header, self.parameters.jpeg_quality)
            )
        self._rate.tick()

    def _camera_info(self, frame: Frame, header: Header) -> CameraInfo:
        """Return the calibration, or an uncalibrated message if it is for another image size."""
        info, (height, width) = copy.copy(self._info), frame.image.shape[:2]
        if (info.width, info.height) != (width, height):
            if info.width and not self._mismatch:
                self._mismatch = (
                    f'{self.parameters.camera_info_url} is for images of '
                    f'{info.width}x{info.height} pixels, the camera delivers {width}x{height}; '
                    'camera_info is uncalibrated'
                )
                self.get_logger().warning(self._mismatch)
            info = CameraInfo(width=width, height=height)
        info.header = header
        return info

    def _report(self) -> Status:
        missed = self._missed + (self._capture.missed if self._capture is not None else 0)
        values: dict[str, Any] = {
            'published': self._rate.count,
            'rate_hz': self._rate.hz,
            'missed': missed,
            'active': self.active,
        }
        if self._source is not None:
            values['nominal_hz'] = self._source.fps
            values['device'] = self._source.identity
        if not self._connection.connected:
            return ERROR, f'no camera: {self._connection.reason}', values
        if not self.active:
            return WARN, 'not active', values
        if self._mismatch:
            return WARN, self._mismatch, values
        return OK, 'capturing', values


def main(args: list[str] | None = None) -> None:
    """Run the node."""
    sys.exit(run(CameraNode, args))


if __name__ == '__main__':
    main()
