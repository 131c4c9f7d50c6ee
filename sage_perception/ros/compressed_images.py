# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Conversion of `sensor_msgs/CompressedImage` to numpy arrays."""

from __future__ import annotations

import cv2
import numpy as np
from sensor_msgs.msg import CompressedImage


def compressed_from_msg(message: CompressedImage) -> np.ndarray:
    """Return a compressed image as uint8 `[H, W, 3]` in BGR order.

    Raises:
        ValueError: the data is not an image that OpenCV reads, or it is a depth image.
    """
    if 'compressedDepth' in message.format:
        raise ValueError(f'format {message.format!r} is a depth image: choose a color camera')
    data = np.frombuffer(message.data, np.uint8)
    image = cv2.imdecode(data, cv2.IMREAD_COLOR) if data.size else None
    if image is None:
        raise ValueError(f'{data.size} bytes in format {message.format!r} are not an image')
    return image
