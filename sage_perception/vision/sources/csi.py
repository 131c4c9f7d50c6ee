# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""CSI cameras of a Jetson, through its GStreamer source `nvarguscamerasrc`."""

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
    """Return the GStreamer pipeline of a CSI camera that ends in BGR images.

    `flip` is nvvidconv's flip-method (0 none, 2 half a turn, …), `wbmode` the white balance (0
    off, 1 auto, …), `mode` the sensor mode (None: the one that fits best). The sink keeps the
    newest image only.
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
    """Open a CSI camera by sensor number."""
    if not cv2.videoio_registry.hasBackend(cv2.CAP_GSTREAMER):
        raise uri.error(
            f'CSI cameras need GStreamer, which this OpenCV ({cv2.__version__}) is built without; '
            "use JetPack's or the distribution's python3-opencv instead of the one from PyPI"
        )
    names = ('width', 'height', 'fps', 'flip', 'wbmode', 'mode')
    chosen = {name: uri.options[name] for name in names if name in uri.options}
    sensor = int(uri.path)
    silent = (
        f'sensor {sensor} does not answer; check its cable, that no other program uses it, '
        'and try "sudo systemctl restart nvargus-daemon"'
    )
    capture = cv2.VideoCapture(csi_pipeline(sensor, **chosen), cv2.CAP_GSTREAMER)
    if not capture.isOpened():
        raise uri.unavailable(silent)
    return LiveSource(uri, capture, f'csi://{sensor}', silent)
