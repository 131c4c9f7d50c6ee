# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Between `sensor_msgs/Image` and numpy.

`cv_bridge` does the conversion where ROS ships it; elsewhere numpy and OpenCV do it with the same
results. Either way a message is checked first, so that a malformed one gives a `ValueError` that
says what is wrong with it, never a crash or a skewed image.
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

# encoding: (bytes a pixel, how to make it bgr8, how to make it mono8); None: it is that already.
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
# cv_bridge knows these by other names, or reads them as images only in newer releases.
_NUMPY_ONLY = ('8UC1', '8UC3', '8UC4', '16UC1', 'uyvy', 'yuyv')
ENCODINGS = tuple(_COLOR)


def to_bgr(message: Image) -> np.ndarray:
    """Return the image as uint8 `[H, W, 3]`, blue first; not to be written to.

    Raises:
        ValueError: the message is malformed or of an encoding that is not in `ENCODINGS`.
    """
    return _convert(message, 'bgr8')


def to_mono(message: Image) -> np.ndarray:
    """Return the image as uint8 `[H, W]` gray; raises as `to_bgr` does."""
    return _convert(message, 'mono8')


def to_rgb(message: Image) -> np.ndarray:
    """Return the image as uint8 `[H, W, 3]`, red first; raises as `to_bgr` does."""
    if message.encoding == 'rgb8':
        check(message)
        return _rows(message)
    return cv2.cvtColor(to_bgr(message), cv2.COLOR_BGR2RGB)


def to_message(picture: np.ndarray, encoding: str, header: Header) -> Image:
    """Return uint8 `[H, W]` or `[H, W, C]`, or uint16 `[H, W]`, as a message.

    Raises:
        ValueError: `image` is not what `encoding` stands for.
    """
    if encoding not in _COLOR:
        raise ValueError(f'encoding {encoding!r} is not one of {", ".join(ENCODINGS)}')
    pixel = picture.itemsize * (picture.shape[2] if picture.ndim == 3 else 1)
    kind = np.uint16 if encoding in _SIXTEEN_BITS else np.uint8
    fits = picture.dtype == kind and pixel == _COLOR[encoding][0] and picture.ndim in (2, 3)
    if not fits or 0 in picture.shape or (encoding in _PAIRED and picture.shape[1] % 2):
        raise ValueError(f'{picture.dtype} {list(picture.shape)} is not an image in {encoding}')
    message = Image(header=header, encoding=encoding, is_bigendian=0)
    message.height, message.width = picture.shape[:2]
    message.step = pixel * message.width
    data = array('B')
    data.frombytes(memoryview(np.ascontiguousarray(picture)).cast('B'))
    message.data = data
    return message


def to_jpeg(picture: np.ndarray, header: Header, quality: int = 90) -> CompressedImage:
    """Return uint8 `[H, W, 3]`, blue first, as `compressed_image_transport` sends it."""
    jpeg = cv2.imencode('.jpg', picture, [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
    data = array('B', jpeg.tobytes())
    return CompressedImage(header=header, format='bgr8; jpeg compressed bgr8', data=data)


def check(message: Image) -> None:
    """Raise `ValueError`, saying why, unless `message` holds a whole image we can read."""
    if message.encoding not in _COLOR:
        raise ValueError(
            f'encoding {message.encoding!r} is not one of {", ".join(ENCODINGS)}: '
            'convert it with image_proc'
        )
    if not message.width or not message.height:
        raise ValueError(f'image of {message.width} x {message.height} pixels')
    row = message.width * _COLOR[message.encoding][0]
    if message.step < row:
        raise ValueError(
            f'step {message.step} is less than the {row} bytes of {message.width} pixels '
            f'in {message.encoding}'
        )
    # Some drivers leave out the padding of the last row.
    least = message.step * (message.height - 1) + row
    if len(message.data) < least:
        raise ValueError(
            f'{len(message.data)} bytes of data, but {message.width} x {message.height} pixels '
            f'in {message.encoding} with step {message.step} need {least}'
        )
    if message.encoding in _PAIRED and message.width % 2:
        raise ValueError(f'width {message.width} is odd, but {message.encoding} pairs pixels')


def _convert(message: Image, wanted: str) -> np.ndarray:
    check(message)
    if CvBridge is not None and message.encoding not in _NUMPY_ONLY and _is_plain(message):
        return CvBridge().imgmsg_to_cv2(message, desired_encoding=wanted)
    rows = _rows(message)
    if message.encoding in _SIXTEEN_BITS:
        rows = cv2.convertScaleAbs(rows, alpha=255 / 65535)
    code = _COLOR[message.encoding][1 if wanted == 'bgr8' else 2]
    return rows if code is None else cv2.cvtColor(rows, code)


def _is_plain(message: Image) -> bool:
    # cv_bridge's Python side skews rows whose step is not a whole number of pixels, insists on the
    # padding of the last row, and cannot swap bytes with numpy 2.
    step = message.width * _COLOR[message.encoding][0]
    whole = message.step == step and len(message.data) == step * message.height
    return whole and not message.is_bigendian


def _rows(message: Image) -> np.ndarray:
    """Return the pixels as they are, without copying: `[H, W]` or `[H, W, C]`."""
    pixel = _COLOR[message.encoding][0]
    if message.encoding in _SIXTEEN_BITS:
        kind = np.dtype('>u2' if message.is_bigendian else '<u2')
        shape, strides = (message.height, message.width), (message.step, 2)
    elif pixel == 1:
        kind = np.dtype(np.uint8)
        shape, strides = (message.height, message.width), (message.step, 1)
    else:
        kind = np.dtype(np.uint8)
        shape = (message.height, message.width, pixel)
        strides = (message.step, pixel, 1)
    rows = np.ndarray(shape, kind, buffer=message.data, strides=strides)
    # OpenCV skews numbers that do not lie on their own size, as after an odd step.
    usable = kind.isnative and rows.flags.aligned
    return rows if usable else rows.astype(kind.newbyteorder('='))
