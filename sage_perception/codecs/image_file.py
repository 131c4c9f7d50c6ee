# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Read and write single image files, with one-line errors for damaged ones."""

from __future__ import annotations

import io
import warnings
from pathlib import Path

import cv2
import numpy as np
from PIL import Image, UnidentifiedImageError

# Exceptions of Pillow for damaged files.
_DAMAGED = (OSError, ValueError, RuntimeError, SyntaxError)


def read_bgr(path: Path) -> np.ndarray:
    """Return the image at `path`, uint8 BGR `[H, W, 3]`.

    Raises `ValueError` for a file that is not a complete image, and `OSError` if there is none.
    """
    if path.is_dir():
        raise IsADirectoryError(f'{path} is a folder: pass image files')
    if not path.is_file():
        raise FileNotFoundError(f'{path}: no such image')
    data = path.read_bytes()
    require_complete(path, data)
    image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    if image is None:
        raise ValueError(f'{path} is not an image that OpenCV can read')
    return image


def require_complete(path: Path, data: bytes) -> None:
    """Raise `ValueError` unless `data`, the content of `path`, decodes completely.

    OpenCV fills missing parts of a JPEG with gray, and reports damage on the terminal instead of
    raising an exception.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter('ignore')  # warnings about tags do not concern the pixels
            with Image.open(io.BytesIO(data)) as image:
                image.verify()  # checks checksums; the image cannot be loaded afterwards
            with Image.open(io.BytesIO(data)) as image:
                image.load()
                mode = image.mode
    except UnidentifiedImageError:
        raise ValueError(f'{path} is not an image that Pillow can read') from None
    except Image.DecompressionBombError as error:
        raise ValueError(f'{path} is too large: {error}') from None
    except _DAMAGED as error:
        raise ValueError(f'{path} is damaged or truncated: {error}') from error
    if mode == 'F':
        raise ValueError(f'{path} has float pixels: convert it to 8 or 16 bits')


def write_image(path: Path, image: np.ndarray) -> None:
    """Write uint8 RGB `[H, W, 3]` in the format of the file extension.

    Raises `ValueError` for an unknown extension.
    """
    if not cv2.haveImageWriter(str(path)):
        raise ValueError(f'{path}: unknown image format, use .png, .jpg or .webp')
    _, data = cv2.imencode(path.suffix, image[..., ::-1])
    path.write_bytes(data.tobytes())
