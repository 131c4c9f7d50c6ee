# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Video decoding by FFmpeg, as OpenCV brings it."""

from __future__ import annotations

import cv2


def open_decoder(address: str, **properties: int) -> cv2.VideoCapture:
    """Open a file or stream for decoding in one thread; the caller checks `isOpened`.

    `properties` are set while opening, as `OPEN_TIMEOUT_MSEC=5000` for `cv2.CAP_PROP_…`; those
    that an older OpenCV lacks are left out.
    """
    if not cv2.videoio_registry.hasBackend(cv2.CAP_FFMPEG):
        return cv2.VideoCapture(address)
    # One thread: frame threads delay every image and take the other nodes' cores.
    parameters = []
    for name, value in {'N_THREADS': 1, **properties}.items():
        if hasattr(cv2, f'CAP_PROP_{name}'):
            parameters += [getattr(cv2, f'CAP_PROP_{name}'), value]
    return cv2.VideoCapture(address, cv2.CAP_FFMPEG, parameters)
