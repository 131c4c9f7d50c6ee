# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""From an address to an open source."""

from __future__ import annotations

import cv2

from sage_perception.vision.sources.base import FrameSource
from sage_perception.vision.sources.csi import open_csi
from sage_perception.vision.sources.footage import open_file, open_images, open_synthetic
from sage_perception.vision.sources.pacing import SystemClock
from sage_perception.vision.sources.rtsp import open_rtsp
from sage_perception.vision.sources.uri import parse_uri
from sage_perception.vision.sources.v4l2 import open_v4l2

CAMERAS = {'v4l2': open_v4l2, 'csi': open_csi, 'rtsp': open_rtsp}
FOOTAGE = {'file': open_file, 'images': open_images, 'synthetic': open_synthetic}


def open_source(uri: str, *, clock: SystemClock | None = None) -> FrameSource:
    """Open what an address names (`sage_perception.vision.sources` lists them).

    `clock` paces footage; cameras keep their own time. Sets OpenCV to one thread in this process:
    at these image sizes a pool costs the other nodes more than it gains this one.

    Raises SourceError for an address that cannot work as it is, and its subclass
    SourceUnavailable for a device or file that is not there or not free now.
    """
    cv2.setNumThreads(1)
    parsed = parse_uri(uri)
    if parsed.scheme in CAMERAS:
        return CAMERAS[parsed.scheme](parsed)
    return FOOTAGE[parsed.scheme](parsed, clock or SystemClock())
