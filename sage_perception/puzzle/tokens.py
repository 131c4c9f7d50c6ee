# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Positions of objects in an image, as parts of their tokens, and the way to turn to them."""

from __future__ import annotations

import math

import numpy as np


def positions(boxes: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Return the positions of boxes in an image, float32 `[N, 4]`.

    Boxes are x, y, width and height in pixels, `[N, 4]`; `size` is the width and the height of the
    image. A position is the center, from −1 at the left and the top to 1 at the right and the
    bottom, and the width and the height as parts of those of the image.
    """
    boxes = np.asarray(boxes, float).reshape(-1, 4)
    extent = np.array(size, float)
    center = (boxes[:, :2] + boxes[:, 2:] / 2) / extent * 2 - 1
    return np.concatenate((center, boxes[:, 2:] / extent), 1).astype(np.float32)


def turn_towards(position: np.ndarray, field_of_view: tuple[float, float]) -> tuple[float, float]:
    """Return the pan (to the left) and the tilt (downwards) that center a position, radians.

    `position` is one of `positions`, `field_of_view` the horizontal and the vertical one of the
    camera, radians. The camera is a pinhole: the tangent of an angle is proportional to the
    distance from the center of the image. Signs are those of REP-103: a positive rotation about z
    turns to the left, a positive rotation about y downwards.
    """
    u, v = (float(value) for value in position[:2])
    pan = -math.atan(u * math.tan(field_of_view[0] / 2))
    tilt = math.atan(v * math.tan(field_of_view[1] / 2))
    return pan, tilt
