# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Video decoding with the FFmpeg backend of OpenCV."""

from __future__ import annotations

import cv2


def open_decoder(address: str, **properties: int) -> cv2.VideoCapture:
    """Open a file or stream for decoding in one thread; the caller must check `isOpened`.

    `properties` are set on opening, by their names without `CAP_PROP_`, such as
    `OPEN_TIMEOUT_MSEC=5000`. Properties unknown to an older OpenCV are ignored.
    """
    if not cv2.videoio_registry.hasBackend(cv2.CAP_FFMPEG):
        return cv2.VideoCapture(address)
    # One thread: frame threads add latency and use the cores of the other nodes.
    parameters = []
    for name, value in {'N_THREADS': 1, **properties}.items():
        if hasattr(cv2, f'CAP_PROP_{name}'):
            parameters += [getattr(cv2, f'CAP_PROP_{name}'), value]
    return cv2.VideoCapture(address, cv2.CAP_FFMPEG, parameters)
