# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Square regions inside a frame, and the images cut out of them."""

from __future__ import annotations

import cv2
import numpy as np

from sage_perception.core.latent import Roi

COLORS = ('rgb', 'gray')


def square_roi(center: tuple[float, float], side: float, width: int, height: int) -> Roi:
    """Return the square of `side` pixels around `center` (x, y) that a frame can hold.

    A square that sticks out of the frame of `width` × `height` pixels is shifted inside, not
    distorted; one that is larger than the frame becomes the largest square the frame holds.
    """
    if width < 1 or height < 1:
        raise ValueError(f'a frame of {width}x{height} pixels holds no region')
    side = min(max(round(side), 1), width, height)
    x = min(max(round(center[0] - side / 2), 0), width - side)
    y = min(max(round(center[1] - side / 2), 0), height - side)
    return Roi(x, y, side, side)


def to_pixels(x: np.ndarray) -> np.ndarray:
    """Return what a model makes of latents, float `[…, C, S, S]`, as uint8 `[…, S, S, C]`.

    What lies outside of [0, 1] is clipped, what is not a number is black.
    """
    return np.rint(np.nan_to_num(np.moveaxis(x, -3, -1)).clip(0, 1) * 255).astype(np.uint8)


def crop_image(image: np.ndarray, roi: Roi, size: int, color: str = 'rgb') -> np.ndarray:
    """Return the region `roi` of `image`, scaled to `size` × `size` pixels.

    `image` is uint8, `[H, W, 3]` in OpenCV's order (blue, green, red) or `[H, W]` gray. The
    result is uint8: `[size, size, 3]` in the order red, green, blue for `color` 'rgb',
    `[size, size]` for 'gray'. Pixels are averaged when the region shrinks and interpolated
    linearly when it grows. ValueError when the region is empty or leaves the frame.
    """
    height, width = image.shape[:2]
    inside = 0 <= roi.x <= width - roi.width and 0 <= roi.y <= height - roi.height
    if roi.width < 1 or roi.height < 1 or not inside:
        raise ValueError(f'{roi} is not a region of a frame of {width}x{height} pixels')
    if size < 1:
        raise ValueError(f'size is {size}; a crop has a side of at least 1 pixel')
    if color not in COLORS:
        raise ValueError(f'color is {color!r}; it is one of {", ".join(COLORS)}')
    region = image[roi.y : roi.y + roi.height, roi.x : roi.x + roi.width]
    shrinks = roi.width * roi.height > size * size
    scaled = cv2.resize(
        region, (size, size), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    )
    if color == 'rgb':
        return cv2.cvtColor(scaled, cv2.COLOR_GRAY2RGB if image.ndim == 2 else cv2.COLOR_BGR2RGB)
    return scaled if image.ndim == 2 else cv2.cvtColor(scaled, cv2.COLOR_BGR2GRAY)
