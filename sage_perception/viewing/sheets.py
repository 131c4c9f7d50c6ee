# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Sheets of small images with labels, and frames composed from crops."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from sage_perception.core.latent import Roi
from sage_perception.viewing.items import Color

TILE = 96
"""Side of an image in a sheet, pixels."""
GAP, BAR = 6, 18
MAX_COLUMNS = 8
MAX_SIDE = 640
"""Maximum side of a composed frame, pixels."""
BACKGROUND, FOREGROUND = 24, (225, 225, 225)


def sheet(
    columns: Sequence[Sequence[np.ndarray | None]],
    labels: Sequence[str],
    colors: Sequence[Color],
) -> np.ndarray:
    """Return a sheet, uint8 RGB: each column has images below each other, and a label.

    Images are uint8 RGB `[H, W, 3]` of any size; None is an empty place. At most `MAX_COLUMNS`
    columns are drawn, and the width does not depend on their number.
    """
    rows = max((len(column) for column in columns), default=1)
    width = GAP + MAX_COLUMNS * (TILE + GAP)
    image = np.full((BAR + rows * (TILE + GAP), width, 3), BACKGROUND, np.uint8)
    for i, (column, label, color) in enumerate(
        list(zip(columns, labels, colors, strict=True))[:MAX_COLUMNS]
    ):
        x = GAP + i * (TILE + GAP)
        cv2.putText(
            image, label, (x, BAR - 5), cv2.FONT_HERSHEY_SIMPLEX, 0.4, FOREGROUND, 1, cv2.LINE_AA
        )
        for j, each in enumerate(column):
            y = BAR + j * (TILE + GAP)
            if each is not None:
                tile = cv2.resize(np.ascontiguousarray(each), (TILE, TILE))
                image[y : y + TILE, x : x + TILE] = tile
            cv2.rectangle(image, (x - 1, y - 1), (x + TILE, y + TILE), color, 1)
    return image


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
