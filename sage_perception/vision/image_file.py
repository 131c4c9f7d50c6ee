# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Read and write images in files and messages (JPEG, PNG, …), with one-line errors."""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import cv2
import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from sage_perception.core.files import write_atomically
from sage_perception.core.reading import read_bounded
from sage_perception.core.text import one_line
from sage_perception.vision.encodings import Data
from sage_perception.vision.intensity_range import IntensityRange

MAX_PIXELS = 100_000_000
"""Maximum number of pixels of an image, which a small file could exceed by far."""
MAX_FILE_BYTES = 1 << 29
BACKGROUND = (128, 128, 128)
"""The color behind transparent pixels, whose own colors are arbitrary."""

# Exceptions of Pillow for damaged files.
_DAMAGED = (
    OSError,
    ValueError,
    RuntimeError,
    SyntaxError,
    ArithmeticError,
    LookupError,
    TypeError,
)
# The ends of complete images by their first bytes, and the number of bytes that may follow them.
_ENDS = {b'\xff\xd8': b'\xff\xd9', b'\x89PNG': b'IEND'}
_MAX_TRAILER = 4096


def read_bgr(path: Path) -> np.ndarray:
    """Return the image at `path`, uint8 BGR `[H, W, 3]`.

    Pixels of more than 8 bits are scaled by the range of the image, transparent ones composed on
    `BACKGROUND`. Raises `ValueError` for a file that is not a complete image, and `OSError` if
    there is none.
    """
    if path.is_dir():
        raise IsADirectoryError(f'{path} is a folder: pass image files')
    if not path.is_file():
        raise FileNotFoundError(f'{path}: no such image')
    data = read_bounded(path, MAX_FILE_BYTES)
    try:
        _require_complete(data)
        return to_bgr(decode_pixels(data))
    except ValueError as error:
        raise ValueError(f'{path} {error}') from error


def decode_pixels(data: Data) -> np.ndarray:
    """Return the pixels of an encoded image: gray `[H, W]` or BGR `[H, W, 3]`.

    The dtype is that of the image: uint8, uint16 or float32. Transparent pixels are composed on
    `BACKGROUND`.

    Raises:
        ValueError: the data is not an image, is cut, or has more than `MAX_PIXELS` pixels. The
            text is a predicate, such as 'is not an image that Pillow can read'.
    """
    buffer = np.frombuffer(data, np.uint8)
    _require_end(buffer)
    with _damage_explained(), Image.open(io.BytesIO(buffer.data)) as image:
        _require_bounded(image)
        if 'transparency' in image.info or image.mode.lower().endswith('a'):
            canvas = Image.new('RGBA', image.size, BACKGROUND)
            composed = Image.alpha_composite(canvas, image.convert('RGBA')).convert('RGB')
            return _bgr(composed, image)
        pixels = _decode(buffer)
        return _bgr(image.convert('RGB'), image) if pixels is None else pixels


def to_bgr(pixels: np.ndarray, intensity: IntensityRange | None = None) -> np.ndarray:
    """Return pixels of `decode_pixels` as uint8 BGR `[H, W, 3]`.

    `intensity` is the range of the stream, for pixels of more than 8 bits; None to measure the
    range of this image alone.
    """
    if pixels.dtype != np.uint8:
        pixels = (intensity or IntensityRange()).rescale(pixels)
    return cv2.cvtColor(pixels, cv2.COLOR_GRAY2BGR) if pixels.ndim == 2 else pixels


def write_image(path: Path, image: np.ndarray) -> None:
    """Write uint8 RGB `[H, W, 3]` in the format of the file extension.

    Missing folders are created. Raises `ValueError` for an unknown extension, and `OSError`.
    """
    if not cv2.haveImageWriter(str(path)):
        raise ValueError(f'{path}: unknown image format, use .png, .jpg or .webp')
    _, data = cv2.imencode(path.suffix, image[..., ::-1])
    write_atomically(path, data.tobytes())


def _decode(buffer: np.ndarray) -> np.ndarray | None:
    """Return what OpenCV decodes, in the orientation of the Exif data; None for other formats."""
    try:
        return cv2.imdecode(buffer, cv2.IMREAD_ANYCOLOR | cv2.IMREAD_ANYDEPTH)
    except cv2.error:
        return None


def _bgr(rgb: Image.Image, source: Image.Image) -> np.ndarray:
    """Return an RGB image of Pillow as BGR, in the orientation of the image it is made of."""
    rgb.info['exif'] = source.info.get('exif', b'')
    return np.ascontiguousarray(np.asarray(ImageOps.exif_transpose(rgb))[..., ::-1])


def _require_complete(data: bytes) -> None:
    """Raise `ValueError` unless the whole image decodes; it takes as long as decoding.

    OpenCV fills missing parts of a JPEG with gray, and reports damage on the terminal instead of
    raising an exception.
    """
    with warnings.catch_warnings(), _damage_explained():
        warnings.simplefilter('ignore')  # warnings about tags do not concern the pixels
        with Image.open(io.BytesIO(data)) as image:
            _require_bounded(image)
            image.verify()  # checks checksums; the image cannot be loaded afterwards
        with Image.open(io.BytesIO(data)) as image:
            image.load()


def _require_end(buffer: np.ndarray) -> None:
    """Raise `ValueError` if the end of a JPEG or PNG is missing, which takes no decoding."""
    start = buffer[:4].tobytes()
    for signature, end in _ENDS.items():
        if start.startswith(signature):
            tail = buffer[-_MAX_TRAILER:].tobytes()
            if end not in tail and end not in buffer.tobytes().rstrip(b'\0')[-_MAX_TRAILER:]:
                raise ValueError(f'is truncated: it has {len(buffer)} bytes, but no end')


def _require_bounded(image: Image.Image) -> None:
    if image.width * image.height > MAX_PIXELS:
        raise ValueError(
            f'is too large: {image.width} x {image.height} pixels, at most {MAX_PIXELS}'
        )


@contextmanager
def _damage_explained() -> Iterator[None]:
    """Raise `ValueError` with the reason for the exceptions of Pillow."""
    try:
        yield
    except UnidentifiedImageError:
        raise ValueError('is not an image that Pillow can read') from None
    except Image.DecompressionBombError as error:
        raise ValueError(f'is too large: {error}') from None
    except _DAMAGED as error:
        if str(error).startswith('is too large'):
            raise
        raise ValueError(f'is damaged or truncated: {one_line(error)}') from error
