# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Conversions between `sensor_msgs/Image` and numpy arrays.

`cv_bridge` is used if it is installed, else numpy and OpenCV, with the same results.
Messages are checked first: a malformed one raises a `ValueError` that names the fault, and never
causes a crash or a skewed image.
"""

from __future__ import annotations

from array import array

import cv2
import numpy as np
from sensor_msgs.msg import CompressedImage, Image
from std_msgs.msg import Header

try:
    from cv_bridge import CvBridge
except ImportError:
    CvBridge = None

# encoding: (bytes per pixel, OpenCV code to bgr8, OpenCV code to mono8); None: no conversion.
_COLOR = {
    'bgr8': (3, None, cv2.COLOR_BGR2GRAY),
    '8UC3': (3, None, cv2.COLOR_BGR2GRAY),
    'rgb8': (3, cv2.COLOR_RGB2BGR, cv2.COLOR_RGB2GRAY),
    'bgra8': (4, cv2.COLOR_BGRA2BGR, cv2.COLOR_BGRA2GRAY),
    '8UC4': (4, cv2.COLOR_BGRA2BGR, cv2.COLOR_BGRA2GRAY),
    'rgba8': (4, cv2.COLOR_RGBA2BGR, cv2.COLOR_RGBA2GRAY),
    'mono8': (1, cv2.COLOR_GRAY2BGR, None),
    '8UC1': (1, cv2.COLOR_GRAY2BGR, None),
    'mono16': (2, cv2.COLOR_GRAY2BGR, None),
    '16UC1': (2, cv2.COLOR_GRAY2BGR, None),
    'yuv422': (2, cv2.COLOR_YUV2BGR_UYVY, cv2.COLOR_YUV2GRAY_UYVY),
    'uyvy': (2, cv2.COLOR_YUV2BGR_UYVY, cv2.COLOR_YUV2GRAY_UYVY),
    'yuv422_yuy2': (2, cv2.COLOR_YUV2BGR_YUY2, cv2.COLOR_YUV2GRAY_YUY2),
    'yuyv': (2, cv2.COLOR_YUV2BGR_YUY2, cv2.COLOR_YUV2GRAY_YUY2),
    'bayer_rggb8': (1, cv2.COLOR_BayerBG2BGR, cv2.COLOR_BayerBG2GRAY),
    'bayer_bggr8': (1, cv2.COLOR_BayerRG2BGR, cv2.COLOR_BayerRG2GRAY),
    'bayer_gbrg8': (1, cv2.COLOR_BayerGR2BGR, cv2.COLOR_BayerGR2GRAY),
    'bayer_grbg8': (1, cv2.COLOR_BayerGB2BGR, cv2.COLOR_BayerGB2GRAY),
}
_SIXTEEN_BITS = ('mono16', '16UC1')
_PAIRED = ('yuv422', 'uyvy', 'yuv422_yuy2', 'yuyv')
# cv_bridge has other names for these encodings, or supports them only in newer releases.
_NUMPY_ONLY = ('8UC1', '8UC3', '8UC4', '16UC1', 'uyvy', 'yuyv')
ENCODINGS = tuple(_COLOR)


def bgr_from_msg(message: Image) -> np.ndarray:
    """Return an image as uint8 `[H, W, 3]` in BGR order. The array may be read-only.

    Raises:
        ValueError: the message is malformed, or its encoding is not in `ENCODINGS`.
    """
    return _convert(message, 'bgr8')


def mono_from_msg(message: Image) -> np.ndarray:
    """Return an image as uint8 `[H, W]` gray; raises as `bgr_from_msg` does."""
    return _convert(message, 'mono8')


def rgb_from_msg(message: Image) -> np.ndarray:
    """Return an image as uint8 `[H, W, 3]` in RGB order; raises as `bgr_from_msg` does."""
    if message.encoding == 'rgb8':
        check(message)
        return _rows(message)
    return cv2.cvtColor(bgr_from_msg(message), cv2.COLOR_BGR2RGB)


def image_to_msg(image: np.ndarray, encoding: str, header: Header) -> Image:
    """Return an image as a message.

    Args:
        image: uint8 `[H, W]` or `[H, W, C]`, or uint16 `[H, W]`.
        encoding: one of `ENCODINGS`, which determines dtype and number of channels.
        header: the header of the message.

    Raises:
        ValueError: the encoding is unknown, or `image` does not fit it.
    """
    if encoding not in _COLOR:
        raise ValueError(f'encoding {encoding!r} is not one of {", ".join(ENCODINGS)}')
    pixel_bytes = image.itemsize * (image.shape[2] if image.ndim == 3 else 1)
    dtype = np.uint16 if encoding in _SIXTEEN_BITS else np.uint8
    fits = image.dtype == dtype and pixel_bytes == _COLOR[encoding][0] and image.ndim in (2, 3)
    if not fits or 0 in image.shape or (encoding in _PAIRED and image.shape[1] % 2):
        raise ValueError(
            f'{image.dtype} array of shape {list(image.shape)} is not an image in {encoding}'
        )
    message = Image(header=header, encoding=encoding, is_bigendian=0)
    message.height, message.width = image.shape[:2]
    message.step = pixel_bytes * message.width
    data = array('B')
    data.frombytes(np.ascontiguousarray(image).data.cast('B'))
    message.data = data
    return message


def jpeg_to_msg(image: np.ndarray, header: Header, quality: int = 90) -> CompressedImage:
    """Return an image, uint8 `[H, W, 3]` BGR, as `compressed_image_transport` encodes it."""
    jpeg = cv2.imencode('.jpg', image, [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
    data = array('B', jpeg.tobytes())
    return CompressedImage(header=header, format='bgr8; jpeg compressed bgr8', data=data)


def check(message: Image) -> None:
    """Check that a message holds a complete image in a supported encoding.

    Raises:
        ValueError: the message is malformed; the text names the fault.
    """
    if message.encoding not in _COLOR:
        raise ValueError(
            f'encoding {message.encoding!r} is not one of {", ".join(ENCODINGS)}: '
            'convert it with image_proc'
        )
    if not message.width or not message.height:
        raise ValueError(f'the image has {message.width} x {message.height} pixels')
    row = message.width * _COLOR[message.encoding][0]
    if message.step < row:
        raise ValueError(
            f'step {message.step} is less than the {row} bytes of {message.width} pixels '
            f'in {message.encoding}'
        )
    # Some drivers omit the padding of the last row.
    required = message.step * (message.height - 1) + row
    if len(message.data) < required:
        raise ValueError(
            f'data has {len(message.data)} bytes, but {message.width} x {message.height} pixels '
            f'in {message.encoding} with step {message.step} need {required}'
        )
    if message.encoding in _PAIRED and message.width % 2:
        raise ValueError(f'width {message.width} is odd, but {message.encoding} needs pixel pairs')


def _convert(message: Image, encoding: str) -> np.ndarray:
    check(message)
    if CvBridge is not None and message.encoding not in _NUMPY_ONLY and _is_plain(message):
        return CvBridge().imgmsg_to_cv2(message, desired_encoding=encoding)
    rows = _rows(message)
    if message.encoding in _SIXTEEN_BITS:
        rows = cv2.convertScaleAbs(rows, alpha=255 / 65535)
    code = _COLOR[message.encoding][1 if encoding == 'bgr8' else 2]
    return rows if code is None else cv2.cvtColor(rows, code)


def _is_plain(message: Image) -> bool:
    # The Python part of cv_bridge skews images whose step is not a whole number of pixels,
    # requires the padding of the last row, and cannot swap bytes with numpy 2.
    step = message.width * _COLOR[message.encoding][0]
    whole = message.step == step and len(message.data) == step * message.height
    return whole and not message.is_bigendian


def _rows(message: Image) -> np.ndarray:
    """Return a view of the pixels, without a copy: `[H, W]` or `[H, W, C]`."""
    pixel_bytes = _COLOR[message.encoding][0]
    shape: tuple[int, ...] = (message.height, message.width)
    strides: tuple[int, ...] = (message.step, pixel_bytes)
    dtype: np.dtype = np.dtype('u1')
    if message.encoding in _SIXTEEN_BITS:
        dtype = np.dtype('>u2' if message.is_bigendian else '<u2')
    elif pixel_bytes > 1:
        shape, strides = (*shape, pixel_bytes), (*strides, 1)
    rows = np.ndarray(shape, dtype, buffer=message.data, strides=strides)
    # OpenCV misreads elements that are not aligned to their size, as after an odd step.
    usable = dtype.isnative and rows.flags.aligned
    return rows if usable else rows.astype(dtype.newbyteorder('='))
