# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Publishes the frames of a camera, or of what stands in for one."""

from __future__ import annotations

import copy
import sys
import threading
import time

from rclpy.duration import Duration
from sensor_msgs.msg import CameraInfo, CompressedImage, Image
from std_msgs.msg import Header

from sage_perception.core.frame import Frame
from sage_perception.ros import qos
from sage_perception.ros.camera_info import load_camera_info
from sage_perception.ros.common_parameters import AUTOSTART
from sage_perception.ros.diagnostics import ERROR, OK, WARN, Status
from sage_perception.ros.endpoints import Topic
from sage_perception.ros.errors import ConfigurationError
from sage_perception.ros.images import to_jpeg, to_message
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

READ_TIMEOUT_S = 0.2


class CameraNode(LifecycleNode):
    """Captures frames in a thread of its own and stamps them with the time of capture."""

    PARAMETERS = (
        AUTOSTART,
        Parameter(
            'source',
            'v4l2:///dev/video0',
            'Address of the camera: v4l2:///dev/video0, v4l2:///dev/v4l/by-id/..., csi://0, '
            'rtsp://..., file:///video.avi, images:///folder or synthetic://, with options.',
            read_only=True,
        ),
        Parameter(
            'frame_id',
            '',
            "Optical frame of the camera (REP-103); empty: the namespace's last part and "
            "'_optical_frame'.",
            read_only=True,
        ),
        Parameter(
            'camera_info_url',
            '',
            'Calibration file, file:///camera.yaml or a path; empty, or for frames of another '
            'size: uncalibrated.',
            read_only=True,
        ),
        Parameter(
            'reconnect',
            True,
            'Keep looking for a camera that is lost or not there yet; false: end with an error.',
            read_only=True,
        ),
        Parameter(
            'jpeg_quality',
            85,
            'Quality of image_raw/compressed, which is made only while someone listens.',
            minimum=1,
            maximum=100,
        ),
    )
    PUBLISHES = (
        Topic('image_raw', Image, qos.CAMERA, 'Frames, bgr8, stamped with the time of capture.'),
        Topic('image_raw/compressed', CompressedImage, qos.CAMERA, 'The same as JPEG.'),
        Topic('camera_info', CameraInfo, qos.DEFAULT, 'Calibration, one message a frame.'),
    )

    def __init__(self, **options):
        super().__init__('camera', **options)

    def setup(self) -> None:
        """Create the endpoints."""
        self._source: ReconnectingSource | None = None
        self._thread: threading.Thread | None = None
        self._connection = Connection(False, 'not opened yet')
        self._frames = Rate()
        self._missed = 0
        self._lost: Exception | None = None
        name = self.get_namespace().rstrip('/').rpartition('/')[2] or self.get_name()
        self._frame_id = self.parameters.frame_id or f'{name}_optical_frame'
        self._images = self.publisher('image_raw')
        self._compressed = self.publisher('image_raw/compressed')
        self._infos = self.publisher('camera_info')
        self.diagnostics.add('capture', self._report)
        self.create_timer(READ_TIMEOUT_S, self._end_if_failed, clock=self.diagnostics.clock)

    def configure(self) -> None:
        """Read the calibration and open the camera."""
        self._info, self._unfit = load_camera_info(self.parameters.camera_info_url), ''
        try:
            self._source = ReconnectingSource(self.parameters.source, on_state=self._note)
        except SourceError as error:
            raise ConfigurationError(f"parameter 'source': {error}") from error
        if not (self.parameters.reconnect or self._connection.connected):
            raise ConfigurationError(f"parameter 'source': {self._connection.reason}")

    def activate(self) -> None:
        """Begin to capture."""
        self._capturing = True
        self._thread = threading.Thread(target=self._capture, name='capture', daemon=True)
        self._thread.start()

    def deactivate(self) -> None:
        """Cease to capture; the camera stays open."""
        self._capturing = False
        self._thread.join()

    def cleanup(self) -> None:
        """Close the camera."""
        if self._source is not None:
            self._source.close()
            self._source = None

    def _note(self, state: Connection) -> None:
        """Log when the camera comes and goes."""
        before, self._connection = self._connection, state
        logger = self.get_logger()
        if state.connected:
            logger.info('the camera delivers')
        elif before.connected or not state.attempts:
            logger.warning(f'no camera: {state.reason}')
            if before.connected and not self.parameters.reconnect:
                self._lost = RuntimeError(f'camera lost: {state.reason}')
        else:
            logger.warning(
                f'still no camera after {state.attempts} attempts: {state.reason}',
                throttle_duration_sec=10.0,
            )

    def _end_if_failed(self) -> None:
        if self._lost is not None:
            raise self._lost

    def _capture(self) -> None:
        try:
            self._capture_until_told()
        except Exception as error:  # noqa: BLE001
            # After the context is gone nothing can be published, and nothing has to be.
            if self.context.ok():
                self._lost = error

    def _capture_until_told(self) -> None:
        last = None
        while self._capturing and self._lost is None:
            try:
                frame = self._source.read(READ_TIMEOUT_S)
            except EndOfStream as end:
                self._connection = Connection(False, str(end))
                self.get_logger().info(f'no more frames: {end}')
                return
            if frame is None:
                continue
            if last is not None:
                self._missed += max(frame.index - last - 1, 0)
            last = frame.index
            self._publish(frame)

    def _publish(self, frame: Frame) -> None:
        now = self.get_clock().now()
        age = time.monotonic_ns() - frame.captured_ns
        if now.nanoseconds <= max(age, 0):
            # Simulated time has not begun: there is no stamp to give.
            return
        stamp = (now - Duration(nanoseconds=age)).to_msg()
        header = Header(stamp=stamp, frame_id=self._frame_id)
        self._images.publish(to_message(frame.image, 'bgr8', header))
        self._infos.publish(self._calibration(frame, header))
        if self._compressed.get_subscription_count():
            self._compressed.publish(to_jpeg(frame.image, header, self.parameters.jpeg_quality))
        self._frames.tick()

    def _calibration(self, frame: Frame, header: Header) -> CameraInfo:
        """Return the calibration for a frame: none rather than that of another resolution."""
        info, (height, width) = copy.copy(self._info), frame.image.shape[:2]
        if (info.width, info.height) != (width, height):
            if info.width and not self._unfit:
                self._unfit = (
                    f'{self.parameters.camera_info_url} is for {info.width}x{info.height} pixels, '
                    f'the frames have {width}x{height}: camera_info goes out uncalibrated'
                )
                self.get_logger().warning(self._unfit)
            info = CameraInfo(width=width, height=height)
        info.header = header
        return info

    def _report(self) -> Status:
        figures = {
            'published': self._frames.count,
            'rate_hz': self._frames.hz,
            'missed': self._missed,
            'active': self.active,
        }
        if self._source is not None:
            figures['nominal_hz'] = self._source.fps
            figures['device'] = self._source.identity
        if not self._connection.connected:
            return ERROR, f'no camera: {self._connection.reason}', figures
        if not self.active:
            return WARN, 'not active', figures
        if self._unfit:
            return WARN, self._unfit, figures
        return OK, 'capturing', figures


def main(args: list[str] | None = None) -> None:
    """Run the node."""
    sys.exit(run(CameraNode, args))


if __name__ == '__main__':
    main()
