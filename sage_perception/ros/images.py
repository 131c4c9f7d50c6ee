# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Conversions between `sensor_msgs` images and numpy arrays.

`cv_bridge` converts the encodings that all of its releases support, where it is installed and can
be loaded; `vision.image_messages` decodes everything else, with the same results. A malformed
message raises a `ValueError` that names the fault.
"""

from __future__ import annotations

from array import array
from functools import cache
from typing import Any

import cv2
import numpy as np
from sensor_msgs.msg import CompressedImage, Image
from std_msgs.msg import Header

from sage_perception.ros.conversions.building import build
from sage_perception.vision.encodings import PACKED, bgr_image, checked_layout, gray_image
from sage_perception.vision.image_messages import raw_fields, to_bgr
from sage_perception.vision.intensity_range import IntensityRange

BRIDGED = ('bgr8', 'rgb8', 'bgra8', 'rgba8', 'mono8') + tuple(
    f'bayer_{pattern}8' for pattern in ('rggb', 'bggr', 'gbrg', 'grbg')
)
"""Encodings that `cv_bridge` converts."""


def bgr_from_msg(
    message: Image | CompressedImage, intensity: IntensityRange | None = None
) -> np.ndarray:
    """Return an image as uint8 `[H, W, 3]` in BGR order; like `vision.image_messages.to_bgr`."""
    if getattr(message, 'encoding', '') in BRIDGED and cv_bridge() is not None:
        checked_layout(*raw_fields(message)[:4], message.data)
        # The Python part of cv_bridge skews images whose step is not a whole number of pixels, and
        # requires the padding of the last row, which some drivers omit.
        row = message.width * PACKED[message.encoding].pixel_bytes
        if message.step == row and len(message.data) == row * message.height:
            return cv_bridge().imgmsg_to_cv2(message, desired_encoding='bgr8')
    return to_bgr(message, intensity)


@cache
def cv_bridge() -> Any:
    """Return a `CvBridge`, or None if it is not installed or cannot be loaded.

    A `cv_bridge` that was built with numpy 1 fails with numpy 2, but only when it converts an
    image; `sage doctor` reports it.
    """
    try:
        from cv_bridge import CvBridge

        bridge = CvBridge()
        pixel = Image(height=1, width=1, encoding='rgb8', step=3, data=[1, 2, 3])
        image = bridge.imgmsg_to_cv2(pixel, desired_encoding='bgr8')
    except (ImportError, AttributeError, RuntimeError, SystemError):  # built with another numpy
        return None
    return bridge if np.array_equal(image, [[[3, 2, 1]]]) else None


def mono_from_msg(message: Image) -> np.ndarray:
    """Return an image as uint8 `[H, W]` gray; raises as `bgr_from_msg` does."""
    return gray_image(*raw_fields(message))


def rgb_from_msg(
    message: Image | CompressedImage, intensity: IntensityRange | None = None
) -> np.ndarray:
    """Return an image as uint8 `[H, W, 3]` in RGB order; like `bgr_from_msg` otherwise."""
    if getattr(message, 'encoding', '') == 'rgb8':  # read as BGR, its channels stay in their order
        checked_layout(*raw_fields(message)[:4], message.data)  # an error names this encoding
        return bgr_image('bgr8', *raw_fields(message)[1:])
    return cv2.cvtColor(bgr_from_msg(message, intensity), cv2.COLOR_BGR2RGB)


def image_to_msg(image: np.ndarray, encoding: str, header: Header) -> Image:
    """Return an image as a message.

    Args:
        image: numbers `[H, W]` or `[H, W, C]` in native byte order.
        encoding: a key of `PACKED`, which determines dtype and number of channels.
        header: the header of the message.

    Raises:
        ValueError: the encoding is unknown, or `image` does not fit it.
    """
    layout = PACKED.get(encoding)
    if layout is None:
        raise ValueError(f'encoding {encoding!r} is not one of {", ".join(PACKED)}')
    channels = image.shape[2] if image.ndim == 3 else 1
    fits = image.dtype == layout.dtype and channels == layout.channels and image.ndim in (2, 3)
    if not fits or 0 in image.shape or (layout.paired and image.shape[1] % 2):
        raise ValueError(
            f'{image.dtype} array of shape {list(image.shape)} is not an image in {encoding}'
        )
    data = array('B')
    data.frombytes(np.ascontiguousarray(image).data.cast('B'))
    height, width = image.shape[:2]
    return build(
        Image,
        header=header,
        height=height,
        width=width,
        encoding=encoding,
        is_bigendian=0,
        step=layout.pixel_bytes * width,
        data=data,
    )


def jpeg_to_msg(image: np.ndarray, header: Header, quality: int = 90) -> CompressedImage:
    """Return an image, uint8 `[H, W, 3]` BGR, as `compressed_image_transport` encodes it."""
    jpeg = cv2.imencode('.jpg', image, [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
    data = array('B', jpeg.tobytes())
    return build(CompressedImage, header=header, format='bgr8; jpeg compressed bgr8', data=data)
