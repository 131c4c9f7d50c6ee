# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Decode `sensor_msgs/CompressedImage`: JPEG, PNG, WebP, and the compressedDepth transport.

The format of a message is 'jpeg' or 'png', or as `compressed_image_transport` writes it, with the
encoding before compression: 'bayer_rggb8; jpeg compressed', '16UC1; compressedDepth png'.
"""

from __future__ import annotations

import struct
import sys

import numpy as np

from sage_perception.vision.encodings import PACKED, Data, bgr_image
from sage_perception.vision.image_file import decode_pixels, to_bgr
from sage_perception.vision.intensity_range import IntensityRange

DEPTH_TRANSPORT = 'compressedDepth'
# Enumeration of the format and the two parameters of the quantization, before the PNG.
_DEPTH_HEADER = struct.Struct('<iff')
_PNG = b'\x89PNG'


def bgr_from_compressed(
    format_name: str, data: Data, intensity: IntensityRange | None = None
) -> np.ndarray:
    """Return a compressed image as uint8 BGR `[H, W, 3]`.

    Args:
        format_name: the format of the message.
        data: the bytes of the message.
        intensity: the range of the stream, for pixels of more than 8 bits; None to measure the
            range of this image alone.

    Raises:
        ValueError: the data is no complete image, or in an unsupported format; the text names the
            fault.
    """
    encoding, _, transport = (part.strip() for part in format_name.partition(';'))
    try:
        if DEPTH_TRANSPORT in transport:
            return to_bgr(_depth(encoding, transport, data), intensity)
        pixels = decode_pixels(data)
    except ValueError as error:
        raise ValueError(f'the image in format {format_name!r} {error}') from error
    mosaic = f'{encoding.rstrip("0123456789")}{8 * pixels.itemsize}'
    if pixels.ndim == 2 and encoding.startswith('bayer_') and mosaic in PACKED:
        # The transport compresses a mosaic as it is.
        raw = pixels.view(np.uint8).ravel()
        height, width = pixels.shape
        is_big = sys.byteorder == 'big'
        return bgr_image(mosaic, height, width, pixels.strides[0], is_big, raw, intensity)
    return to_bgr(pixels, intensity)


def _depth(encoding: str, transport: str, data: Data) -> np.ndarray:
    """Return depth `[H, W]`: uint16 millimeters, or float32 meters with NaN where it is missing.

    32FC1 is stored as a / depth + b with the parameters a and b of the header.
    """
    if 'rvl' in transport.lower():
        raise ValueError("has RVL compression: set the publisher's parameter format to png")
    raw = bytes(data)
    start = _DEPTH_HEADER.size
    if len(raw) < start or not raw[start:].startswith(_PNG):
        raise ValueError(f'has no PNG after the {start} bytes of its header')
    pixels = decode_pixels(raw[start:])
    if pixels.dtype != np.uint16 or pixels.ndim != 2:
        raise ValueError(f'has {pixels.dtype} pixels of shape {list(pixels.shape)}, not uint16')
    if encoding != '32FC1':
        return pixels
    _, a, b = _DEPTH_HEADER.unpack(raw[:start])
    with np.errstate(all='ignore'):
        depth = np.float32(a) / (pixels.astype(np.float32) - np.float32(b))
    return np.where(pixels == 0, np.float32(np.nan), depth)
