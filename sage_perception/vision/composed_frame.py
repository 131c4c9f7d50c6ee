# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Compose a frame from its crops, for recordings without images."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from sage_perception.core.latent import Roi

MAX_SIDE = 640
"""Maximum side of a composed frame, pixels."""
BACKGROUND = 24


def composed_frame(
    width: int, height: int, crops: Sequence[tuple[Roi, np.ndarray]]
) -> tuple[np.ndarray, float]:
    """Return a frame that shows only its crops, and its scale relative to the source frame.

    For recordings without images. `width` and `height` are those of the source frame, `crops` are
    uint8 RGB. Raises `ValueError` for an empty frame.
    """
    if width < 1 or height < 1:
        raise ValueError(f'the source frame has {width} x {height} pixels')
    scale = min(1.0, MAX_SIDE / max(width, height))
    shape = max(1, round(height * scale)), max(1, round(width * scale))
    image = np.full((*shape, 3), BACKGROUND, np.uint8)
    for roi, crop in reversed(crops):  # the best crop is drawn last
        left, right = _span(roi.x, roi.width, scale, shape[1])
        top, bottom = _span(roi.y, roi.height, scale, shape[0])
        if right > left and bottom > top:
            tile = cv2.resize(np.ascontiguousarray(crop), (right - left, bottom - top))
            image[top:bottom, left:right] = tile
    return image, scale


def _span(start: int, length: int, scale: float, limit: int) -> tuple[int, int]:
    """Return the first pixel of a scaled side, and the one after its last, both in the frame."""
    ends = start * scale, (start + length) * scale
    first, last = (min(max(round(end), 0), limit) for end in ends)
    return first, last
