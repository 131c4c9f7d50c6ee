# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Geometry of axis-aligned boxes (left, top, right, bottom), pixels."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

Box = tuple[float, float, float, float]
"""Left, top, right, bottom, pixels."""


def center(box: Box) -> tuple[float, float]:
    """Return the center (x, y)."""
    return (box[0] + box[2]) / 2, (box[1] + box[3]) / 2


def size(box: Box) -> tuple[float, float]:
    """Return width and height."""
    return box[2] - box[0], box[3] - box[1]


def area(box: Box) -> float:
    """Return the area; 0 for an empty box."""
    return max(box[2] - box[0], 0) * max(box[3] - box[1], 0)


def intersection(a: Box, b: Box) -> float:
    """Return the area of the intersection of two boxes."""
    return area((max(a[0], b[0]), max(a[1], b[1]), min(a[2], b[2]), min(a[3], b[3])))


def iou(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Return intersection over union of boxes `[..., 4]`, broadcast against each other."""
    sides = np.minimum(a[..., 2:], b[..., 2:]) - np.maximum(a[..., :2], b[..., :2])
    np.maximum(sides, 0, out=sides)
    shared = sides[..., 0] * sides[..., 1]
    of_a, of_b = ((c[..., 2] - c[..., 0]) * (c[..., 3] - c[..., 1]) for c in (a, b))
    return np.asarray(shared / (of_a + of_b - shared))


def clip(box: Box, width: float, height: float) -> Box:
    """Return the part of the box inside of a frame; of a box outside, the nearest edge."""
    return (
        min(max(box[0], 0), width),
        min(max(box[1], 0), height),
        min(max(box[2], 0), width),
        min(max(box[3], 0), height),
    )


def scaled(box: Box, factor: float) -> Box:
    """Return the box with the same center and sides that are `factor` times as long."""
    (x, y), (width, height) = center(box), size(box)
    dx, dy = factor * width / 2, factor * height / 2
    return x - dx, y - dy, x + dx, y + dy


def union(boxes: Sequence[Box]) -> Box:
    """Return the smallest box around all `boxes`."""
    left, top, right, bottom = zip(*boxes, strict=True)
    return min(left), min(top), max(right), max(bottom)


def contains(box: Box, x: float, y: float) -> bool:
    """Return whether (x, y) lies in the box."""
    return box[0] <= x <= box[2] and box[1] <= y <= box[3]


def clamp(center: float, low: float, high: float, side: float) -> float:
    """Return the center nearest to `center` at which `side` fits between `low` and `high`."""
    if high - low <= side:
        return (low + high) / 2
    return min(max(center, low + side / 2), high - side / 2)
