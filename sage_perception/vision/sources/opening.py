# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Open a source by its URI."""

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
    """Open a source; `sage_perception.vision.sources` documents the URIs.

    This sets OpenCV to one thread in this process: at these image sizes a thread pool slows
    the other nodes down more than it speeds this one up.

    Args:
        uri: the URI of the source.
        clock: paces recorded and synthetic footage; cameras have their own time.

    Raises:
        SourceError: the URI is not valid.
        SourceUnavailable: the device or file is missing or in use.
    """
    cv2.setNumThreads(1)
    parsed = parse_uri(uri)
    if parsed.scheme in CAMERAS:
        return CAMERAS[parsed.scheme](parsed)
    return FOOTAGE[parsed.scheme](parsed, clock or SystemClock())
