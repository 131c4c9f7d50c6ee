# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Network cameras (RTSP), through FFmpeg."""

from __future__ import annotations

import os
import threading

from sage_perception.core.redact import without_secrets
from sage_perception.vision.sources.decoder import open_decoder
from sage_perception.vision.sources.live import LiveSource
from sage_perception.vision.sources.uri import SourceUri

TIMEOUT_MS = 5000
# OpenCV accepts FFmpeg options only through this environment variable.
FFMPEG_OPTIONS = 'OPENCV_FFMPEG_CAPTURE_OPTIONS'
_environment = threading.Lock()


def open_rtsp(uri: SourceUri) -> LiveSource:
    """Open an RTSP stream with low delay, over TCP unless `transport=udp`."""
    transport = uri.options.get('transport', 'tcp')
    low_delay = f'rtsp_transport;{transport}|flags;low_delay'
    with _environment:
        configured = os.environ.get(FFMPEG_OPTIONS)
        os.environ[FFMPEG_OPTIONS] = low_delay if configured is None else configured
        try:
            capture = open_decoder(
                uri.path, OPEN_TIMEOUT_MSEC=TIMEOUT_MS, READ_TIMEOUT_MSEC=TIMEOUT_MS
            )
        finally:
            if configured is None:
                del os.environ[FFMPEG_OPTIONS]
    if not capture.isOpened():
        raise uri.unavailable(
            'the camera does not respond; check address, port, user and password, '
            f'and that it supports RTSP over {transport}'
        )
    return LiveSource(uri, capture, without_secrets(uri.path), 'the camera delivers no image')
