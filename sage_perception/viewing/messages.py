# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Read messages by the names of their fields: those of rclpy and those decoded from a bag."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np

from sage_perception.core.latent import Roi
from sage_perception.vision.encodings import bgr_image

JPEG, PNG = b'\xff\xd8\xff', b'\x89PNG\r\n\x1a\n'
"""The first bytes of image files."""


def stamp_ns(message: Any) -> int:
    """Return the header stamp of a message, nanoseconds."""
    stamp = message.header.stamp
    return int(stamp.sec) * 10**9 + int(stamp.nanosec)


def roi_of(message: Any) -> Roi:
    """Return a `sensor_msgs/RegionOfInterest` as a region."""
    return Roi(
        int(message.x_offset), int(message.y_offset), int(message.width), int(message.height)
    )


def rgb_of(message: Any) -> np.ndarray:
    """Return a `sensor_msgs/Image` as uint8 RGB `[H, W, 3]`; raises `ValueError`."""
    bgr = bgr_image(
        str(message.encoding),
        int(message.height),
        int(message.width),
        int(message.step),
        bool(message.is_bigendian),
        np.asarray(message.data, np.uint8),
    )
    return cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB)


def compressed_content(message: Any) -> np.ndarray | bytes:
    """Return the content of a `sensor_msgs/CompressedImage`.

    JPEG and PNG files are returned as they are, other images as uint8 RGB `[H, W, 3]`. Raises
    `ValueError` for bytes that are not an image.
    """
    data = np.asarray(message.data, np.uint8)
    content = bytes(data)
    if content.startswith((JPEG, PNG)):
        return content
    image = cv2.imdecode(data, cv2.IMREAD_COLOR) if content else None
    if image is None:
        text = str(message.format)
        raise ValueError(f'{len(content)} bytes of format {text!r} are not an image')
    return cv2.cvtColor(image, cv2.COLOR_BGR2RGB)


def camera_path(topic: str) -> tuple[str, ...]:
    """Return the namespace of a topic as a path: '/robot1/cam0/crops' is of robot1, cam0."""
    return tuple(topic.strip('/').split('/')[:-1])
