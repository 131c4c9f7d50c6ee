# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Images as data URIs, bounded in size."""

from __future__ import annotations

import base64

import cv2
import numpy as np

JPEG_QUALITY = 82


def data_uri(image: np.ndarray, max_width: int, lossless: bool = False) -> str:
    """Return an image as a data URI: JPEG, or PNG if `lossless`.

    `image` is uint8 RGB `[H, W, 3]` or gray `[H, W]`; wider images are scaled to `max_width`
    pixels. Raises `ValueError` for other arrays.
    """
    if image.dtype != np.uint8 or image.ndim not in (2, 3) or 0 in image.shape:
        raise ValueError(f'{image.dtype} array of shape {list(image.shape)} is not an image')
    if image.ndim == 3 and image.shape[2] != 3:
        raise ValueError(f'an image of a report has 3 channels or none, not {image.shape[2]}')
    height, width = image.shape[:2]
    if width > max_width:
        size = max_width, max(1, round(height * max_width / width))
        image = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    if image.ndim == 3:
        image = cv2.cvtColor(image, cv2.COLOR_RGB2BGR)
    kind, options = ('png', []) if lossless else ('jpeg', [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])
    encoded = cv2.imencode('.png' if lossless else '.jpg', image, options)[1]
    return f'data:image/{kind};base64,{base64.b64encode(encoded.tobytes()).decode()}'
