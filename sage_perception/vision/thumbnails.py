# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Thumbnails: the appearance of a box in a few numbers, for tracking."""

from __future__ import annotations

import math

import cv2
import numpy as np

from sage_perception.vision.boxes import Box

SIDE = 12
"""Width and height of a thumbnail, pixels."""


def thumbnail(image: np.ndarray, box: Box) -> np.ndarray | None:
    """Return the thumbnail of `box` (left, top, right, bottom), float32 with mean 0 and norm 1.

    `image` is uint8 `[h, w, 3]` or `[h, w]`. The part of the box outside of the image is left
    out; less than 2×2 pixels inside give None.
    """
    height, width = image.shape[:2]
    left, top = max(round(box[0]), 0), max(round(box[1]), 0)
    right, bottom = min(round(box[2]), width), min(round(box[3]), height)
    if right - left < 2 or bottom - top < 2:
        return None
    patch = cv2.resize(image[top:bottom, left:right], (SIDE, SIDE), interpolation=cv2.INTER_AREA)
    values = patch.reshape(SIDE * SIDE, -1).astype(np.float32)
    values -= values.sum(axis=0) / len(values)
    return values / max(math.sqrt(np.vdot(values, values)), 1e-3)
