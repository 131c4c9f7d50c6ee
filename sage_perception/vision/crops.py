# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Cut square regions out of frames and scale them to the input of a model."""

from __future__ import annotations

import cv2
import numpy as np

from sage_perception.core.latent import Roi

COLORS = ('rgb', 'gray')


def square_roi(center: tuple[float, float], side: float, width: int, height: int) -> Roi:
    """Return the square of `side` pixels around `center` (x, y), clipped to the frame.

    A square that leaves the frame of `width` × `height` pixels is shifted, not distorted. A square
    larger than the frame becomes the largest one that fits. Raises `ValueError` for an empty
    frame.
    """
    if width < 1 or height < 1:
        raise ValueError(
            f'a frame of {width}x{height} pixels is empty; both sides must be at least 1'
        )
    side = min(max(round(side), 1), width, height)
    x = min(max(round(center[0] - side / 2), 0), width - side)
    y = min(max(round(center[1] - side / 2), 0), height - side)
    return Roi(x, y, side, side)


def to_pixels(x: np.ndarray) -> np.ndarray:
    """Return decoded images, float `[…, C, S, S]` in [0, 1], as uint8 `[…, S, S, C]`.

    Values out of range are clipped; NaN becomes 0.
    """
    return np.rint(np.nan_to_num(np.moveaxis(x, -3, -1)).clip(0, 1) * 255).astype(np.uint8)


def crop_image(image: np.ndarray, roi: Roi, size: int, color: str = 'rgb') -> np.ndarray:
    """Return the region `roi` of `image`, scaled to `size` × `size` pixels.

    Args:
        image: uint8, `[H, W, 3]` in BGR order or `[H, W]` gray.
        roi: the region, inside of the image.
        size: side of the result, pixels.
        color: 'rgb' or 'gray'.

    Returns:
        uint8, `[size, size, 3]` in RGB order or `[size, size]` gray. Pixels are averaged if the
        region shrinks and interpolated linearly if it grows.

    Raises:
        ValueError: the region is empty or leaves the image, or an argument is out of range.
    """
    height, width = image.shape[:2]
    inside = 0 <= roi.x <= width - roi.width and 0 <= roi.y <= height - roi.height
    if roi.width < 1 or roi.height < 1 or not inside:
        raise ValueError(f'{roi} is empty or leaves the image of {width}x{height} pixels')
    if size < 1:
        raise ValueError(f'size is {size}; it must be at least 1 pixel')
    if color not in COLORS:
        raise ValueError(f'color is {color!r}; it must be one of {", ".join(COLORS)}')
    region = image[roi.y : roi.y + roi.height, roi.x : roi.x + roi.width]
    shrinks = roi.width * roi.height > size * size
    scaled = cv2.resize(
        region, (size, size), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    )
    if color == 'rgb':
        return cv2.cvtColor(scaled, cv2.COLOR_GRAY2RGB if image.ndim == 2 else cv2.COLOR_BGR2RGB)
    return scaled if image.ndim == 2 else cv2.cvtColor(scaled, cv2.COLOR_BGR2GRAY)
