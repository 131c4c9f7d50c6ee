# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""CSI cameras of a Jetson, through the GStreamer source `nvarguscamerasrc`."""

from __future__ import annotations

from fractions import Fraction

import cv2

from sage_perception.vision.sources.live import LiveSource
from sage_perception.vision.sources.uri import SourceUri


def csi_pipeline(
    sensor_id: int,
    width: int = 1280,
    height: int = 720,
    fps: float = 30.0,
    flip: int = 0,
    wbmode: int = 1,
    mode: int | None = None,
) -> str:
    """Return the GStreamer pipeline of a CSI camera that delivers BGR images.

    The sink keeps only the newest image.

    Args:
        sensor_id: number of the sensor.
        width: pixels.
        height: pixels.
        fps: frame rate, Hz.
        flip: flip-method of nvvidconv (0: none, 2: 180°, …).
        wbmode: white balance of nvarguscamerasrc (0: off, 1: auto, …).
        mode: sensor mode; None selects the best match.
    """
    rate = Fraction(fps).limit_denominator(1001)
    sensor_mode = '' if mode is None else f' sensor-mode={mode}'
    return (
        f'nvarguscamerasrc sensor-id={sensor_id} wbmode={wbmode}{sensor_mode} ! '
        f'video/x-raw(memory:NVMM), width={width}, height={height}, format=NV12, '
        f'framerate={rate.numerator}/{rate.denominator} ! '
        f'nvvidconv flip-method={flip} ! '
        'video/x-raw, format=BGRx ! videoconvert ! video/x-raw, format=BGR ! '
        'appsink drop=1 max-buffers=1 sync=0'
    )


def open_csi(uri: SourceUri) -> LiveSource:
    """Open a CSI camera by sensor number; raise `SourceError` if that is not possible."""
    if not cv2.videoio_registry.hasBackend(cv2.CAP_GSTREAMER):
        raise uri.error(
            f'this OpenCV ({cv2.__version__}) is built without GStreamer, which CSI cameras '
            'require; use python3-opencv of JetPack or of the distribution instead of the PyPI '
            'package'
        )
    names = ('width', 'height', 'fps', 'flip', 'wbmode', 'mode')
    chosen = {name: uri.options[name] for name in names if name in uri.options}
    sensor = int(uri.path)
    silent = (
        f'sensor {sensor} does not respond; check its cable, check that no other program uses it, '
        'and run "sudo systemctl restart nvargus-daemon"'
    )
    capture = cv2.VideoCapture(csi_pipeline(sensor, **chosen), cv2.CAP_GSTREAMER)
    if not capture.isOpened():
        raise uri.unavailable(silent)
    return LiveSource(uri, capture, f'csi://{sensor}', silent)
