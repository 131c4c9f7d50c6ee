# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Decode image messages: `sensor_msgs/Image` and `sensor_msgs/CompressedImage`.

A message is any object with the fields of these types, of rclpy as well as of the library
`rosbags`, so that nodes, replay and training without ROS decode images in one way.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from sage_perception.vision.encodings import Data, bgr_image
from sage_perception.vision.intensity_range import IntensityRange

IMAGE_TYPE = 'sensor_msgs/msg/Image'
COMPRESSED_TYPE = 'sensor_msgs/msg/CompressedImage'
IMAGE_TYPES = (IMAGE_TYPE, COMPRESSED_TYPE)


def to_bgr(message: Any, intensity: IntensityRange | None = None) -> np.ndarray:
    """Return an image message as uint8 `[H, W, 3]` in BGR order. The array may be read-only.

    Args:
        message: an Image or a CompressedImage.
        intensity: the range of the stream, for pixels of more than 8 bits; None to measure the
            range of this image alone.

    Raises:
        ValueError: the message is malformed, or its encoding or format is not supported.
    """
    try:
        if is_compressed(message):
            # Loads Pillow, which nodes without compressed images do not need.
            from sage_perception.vision.compressed_images import bgr_from_compressed

            return bgr_from_compressed(message.format, message.data, intensity)
        return bgr_image(*raw_fields(message), intensity)
    except (AttributeError, TypeError) as error:  # a bag can have another definition
        raise ValueError(f'the message has other fields than an image: {error}') from None


def is_compressed(message: Any) -> bool:
    """Return whether an image message is a CompressedImage."""
    return hasattr(message, 'format')


def raw_fields(message: Any) -> tuple[str, int, int, int, bool, Data]:
    """Return the fields of an Image in the order of `bgr_image`."""
    return (
        message.encoding,
        message.height,
        message.width,
        message.step,
        bool(message.is_bigendian),
        message.data,
    )
