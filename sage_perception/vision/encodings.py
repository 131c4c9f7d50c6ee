# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Decode the pixels of images in the encodings of `sensor_msgs/Image`.

The encodings are those of `sensor_msgs/image_encodings.hpp` (including their deprecated names), of
OpenCV (`16UC1`, `32FC3`) and of REP-118 (depth), and the planar YUV formats of camera drivers.
Images come from other programs and are checked first: a malformed one raises a `ValueError` that
names the fault, and never causes a crash or a skewed image.
"""

from __future__ import annotations

import difflib
import re
from array import array
from dataclasses import dataclass
from typing import TypeAlias

import cv2
import numpy as np

from sage_perception.vision.intensity_range import IntensityRange

Data: TypeAlias = 'bytes | bytearray | memoryview | array[int] | np.ndarray'
"""The bytes of an image: one dimension, one byte per element."""


@dataclass(frozen=True)
class Packed:
    """An encoding whose pixels are adjacent.

    Attributes:
        dtype: type of the values, as numpy names it.
        channels: values per pixel.
        to_bgr, to_gray: codes of `cv2.cvtColor`; None if nothing is to be converted.
        paired: whether two adjacent pixels share their chroma, so that the width is even.
    """

    dtype: str
    channels: int
    to_bgr: int | None
    to_gray: int | None
    paired: bool = False

    @property
    def pixel_bytes(self) -> int:
        """Return the bytes of a pixel."""
        return np.dtype(self.dtype).itemsize * self.channels


@dataclass(frozen=True)
class Planar:
    """An encoding with a plane of luma, followed by chroma.

    Attributes:
        chroma_rows: rows of the chroma, in the step of the luma, per row of luma.
        to_bgr: code of `cv2.cvtColor`; None if OpenCV has none.
    """

    chroma_rows: float
    to_bgr: int | None


_GRAY_CODES = (cv2.COLOR_GRAY2BGR, None)
_BGR_CODES = (None, cv2.COLOR_BGR2GRAY)
_BGRA_CODES = (cv2.COLOR_BGRA2BGR, cv2.COLOR_BGRA2GRAY)
_UYVY = Packed('u1', 2, cv2.COLOR_YUV2BGR_UYVY, cv2.COLOR_YUV2GRAY_UYVY, paired=True)
_YUYV = Packed('u1', 2, cv2.COLOR_YUV2BGR_YUY2, cv2.COLOR_YUV2GRAY_YUY2, paired=True)
_NAMED = {
    f'{name}{8 * int(dtype[1])}': Packed(dtype, channels, *codes)
    for dtype in ('u1', 'u2')
    for name, channels, codes in (
        ('bgr', 3, _BGR_CODES),
        ('rgb', 3, (cv2.COLOR_RGB2BGR, cv2.COLOR_RGB2GRAY)),
        ('bgra', 4, _BGRA_CODES),
        ('rgba', 4, (cv2.COLOR_RGBA2BGR, cv2.COLOR_RGBA2GRAY)),
        ('mono', 1, _GRAY_CODES),
        # OpenCV names a pattern after the second row and column.
        ('bayer_rggb', 1, (cv2.COLOR_BayerBG2BGR, cv2.COLOR_BayerBG2GRAY)),
        ('bayer_bggr', 1, (cv2.COLOR_BayerRG2BGR, cv2.COLOR_BayerRG2GRAY)),
        ('bayer_gbrg', 1, (cv2.COLOR_BayerGR2BGR, cv2.COLOR_BayerGR2GRAY)),
        ('bayer_grbg', 1, (cv2.COLOR_BayerGB2BGR, cv2.COLOR_BayerGB2GRAY)),
    )
} | {'uyvy': _UYVY, 'yuv422': _UYVY, 'yuyv': _YUYV, 'yuv422_yuy2': _YUYV}
_PLANAR = {
    'nv12': Planar(0.5, cv2.COLOR_YUV2BGR_NV12),
    'nv21': Planar(0.5, cv2.COLOR_YUV2BGR_NV21),
    'i420': Planar(0.5, cv2.COLOR_YUV2BGR_I420),
    'yv12': Planar(0.5, cv2.COLOR_YUV2BGR_YV12),
    'nv24': Planar(2, None),
}
_OPENCV_CODES = {1: _GRAY_CODES, 3: _BGR_CODES, 4: _BGRA_CODES}
_OPENCV_DTYPES = {
    **{'8U': 'u1', '8S': 'i1', '16U': 'u2', '16S': 'i2', '32U': 'u4', '32S': 'i4'},
    **{'16F': 'f2', '32F': 'f4', '64F': 'f8'},
}
_OPENCV = {
    f'{name}C{channels}': Packed(dtype, channels, *codes)
    for name, dtype in _OPENCV_DTYPES.items()
    for channels, codes in _OPENCV_CODES.items()
}
PACKED = _NAMED | _OPENCV
"""The encodings with adjacent pixels: all but the planar ones."""
_LAYOUTS: dict[str, Packed | Planar] = {**PACKED, **_PLANAR}
ENCODINGS = tuple(_LAYOUTS)
"""All encodings that can be decoded."""

# BT.601 with limited range, as OpenCV has it for the other YUV formats: rows are B, G, R.
_BGR_OF_YUV = np.array([[1.164, 2.018, 0], [1.164, -0.391, -0.813], [1.164, 0, 1.596]], np.float32)
_YUV_ZERO = np.array([16, 128, 128], np.float32)


def bgr_image(
    encoding: str,
    height: int,
    width: int,
    step: int,
    is_bigendian: bool,
    data: Data,
    intensity: IntensityRange | None = None,
) -> np.ndarray:
    """Return an image as uint8 `[H, W, 3]` in BGR order. The array may be a view of `data`.

    Args:
        encoding: one of `ENCODINGS`.
        height: rows, pixels.
        width: columns, pixels.
        step: bytes from one row to the next.
        is_bigendian: the byte order of pixels of more than one byte.
        data: the bytes of the image.
        intensity: the range of the stream, for encodings of more than 8 bits; None to measure the
            range of this image alone.

    Raises:
        ValueError: the image is malformed, or its encoding is not in `ENCODINGS`.
    """
    layout = checked_layout(encoding, height, width, step, data)
    if isinstance(layout, Planar):
        return _planar_to_bgr(layout, height, width, step, data)
    pixels = _gray_levels(_rows(layout, height, width, step, is_bigendian, data), intensity)
    return pixels if layout.to_bgr is None else cv2.cvtColor(pixels, layout.to_bgr)


def gray_image(
    encoding: str,
    height: int,
    width: int,
    step: int,
    is_bigendian: bool,
    data: Data,
    intensity: IntensityRange | None = None,
) -> np.ndarray:
    """Return an image as uint8 `[H, W]` gray; arguments and errors are those of `bgr_image`."""
    layout = checked_layout(encoding, height, width, step, data)
    if isinstance(layout, Planar):
        return np.ndarray((height, width), np.uint8, data, strides=(step, 1))
    pixels = _gray_levels(_rows(layout, height, width, step, is_bigendian, data), intensity)
    return pixels if layout.to_gray is None else cv2.cvtColor(pixels, layout.to_gray)


def checked_layout(
    encoding: str, height: int, width: int, step: int, data: Data
) -> Packed | Planar:
    """Return the layout of an encoding; raises `ValueError` as `bgr_image` does."""
    layout = _LAYOUTS.get(encoding)
    if layout is None:
        raise ValueError(_unknown(encoding))
    if not width or not height:
        raise ValueError(f'the image has {width} x {height} pixels')
    row = width * (1 if isinstance(layout, Planar) else layout.pixel_bytes)
    if step < row:
        raise ValueError(
            f'step {step} is less than the {row} bytes of {width} pixels in {encoding}'
        )
    rows = height + int(height * layout.chroma_rows) if isinstance(layout, Planar) else height
    # Some drivers omit the padding of the last row.
    required = step * (rows - 1) + row
    if len(data) < required:
        raise ValueError(
            f'data has {len(data)} bytes, but {width} x {height} pixels in {encoding} with step '
            f'{step} need {required}'
        )
    halved = isinstance(layout, Planar) and layout.chroma_rows < 1
    if width % 2 and (halved or (isinstance(layout, Packed) and layout.paired)):
        raise ValueError(f'width {width} is odd, but {encoding} needs pixel pairs')
    if halved and (height % 2 or step % 2):
        raise ValueError(f'height {height} or step {step} is odd, but {encoding} needs even ones')
    return layout


def rows_of(
    encoding: str, height: int, width: int, step: int, is_bigendian: bool, data: Data
) -> np.ndarray:
    """Return the values of an image in one of `PACKED`, `[H, W]` or `[H, W, C]`, as they are.

    The layout must have been checked by `checked_layout`.
    """
    return _rows(PACKED[encoding], height, width, step, is_bigendian, data)


def _unknown(encoding: str) -> str:
    """Return the reason why an encoding is not decoded, and what to do."""
    if re.fullmatch(r'(8|16|32|64)[USF]C\d+', encoding):
        return (
            f'encoding {encoding!r} is not an image: only 1, 3 or 4 channels of '
            f'{", ".join(_OPENCV_DTYPES)} are; name the pixel format, such as yuyv or bgr8'
        )
    if re.search(r'jpe?g|png|webp|h26[45]|hevc', encoding, re.IGNORECASE):
        return (
            f'encoding {encoding!r} is compressed: publish it as sensor_msgs/msg/CompressedImage'
        )
    close = difflib.get_close_matches(encoding.strip().lower(), ENCODINGS, n=1)
    hint = f', did you mean {close[0]}?' if close else ''
    return (
        f'encoding {encoding!r} is unknown{hint}: configure the driver to publish bgr8 or mono8, '
        'or convert the images with image_proc'
    )


def _gray_levels(pixels: np.ndarray, intensity: IntensityRange | None) -> np.ndarray:
    if pixels.dtype == np.uint8:
        return pixels
    return (intensity or IntensityRange()).rescale(pixels)


def _rows(
    layout: Packed, height: int, width: int, step: int, is_bigendian: bool, data: Data
) -> np.ndarray:
    """Return a view of the pixels, if possible without a copy: `[H, W]` or `[H, W, C]`."""
    dtype = np.dtype(layout.dtype).newbyteorder('>' if is_bigendian else '<')
    shape: tuple[int, ...] = (height, width)
    strides: tuple[int, ...] = (step, layout.pixel_bytes)
    if layout.channels > 1:
        shape, strides = (*shape, layout.channels), (*strides, dtype.itemsize)
    rows = np.ndarray(shape, dtype, buffer=data, strides=strides)
    # OpenCV misreads elements that are not aligned to their size, as after an odd step.
    usable = dtype.isnative and rows.flags.aligned
    return rows if usable else rows.astype(dtype.newbyteorder('='))


def _planar_to_bgr(layout: Planar, height: int, width: int, step: int, data: Data) -> np.ndarray:
    luma = np.ndarray((height, width), np.uint8, data, strides=(step, 1))
    if layout.to_bgr is None:
        chroma = np.ndarray((height, width, 2), np.uint8, data, step * height, (2 * step, 2, 1))
        yuv = np.dstack([luma, chroma]).astype(np.float32) - _YUV_ZERO
        yuv[..., 0] = yuv[..., 0].clip(0)
        return np.rint((yuv @ _BGR_OF_YUV.T).clip(0, 255)).astype(np.uint8)
    half = height // 2
    if layout.to_bgr in (cv2.COLOR_YUV2BGR_I420, cv2.COLOR_YUV2BGR_YV12):
        # Rows of chroma have half the step of those of luma; two of them fill a row for OpenCV.
        chroma = np.ndarray((height, width // 2), np.uint8, data, step * height, (step // 2, 1))
    else:
        chroma = np.ndarray((half, width), np.uint8, data, step * height, (step, 1))
    planes = np.concatenate([luma.ravel(), chroma.ravel()]).reshape(height + half, width)
    return cv2.cvtColor(planes, layout.to_bgr)
