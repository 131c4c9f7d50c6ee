# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Images with captions side by side on one sheet."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

SHOWN = 128  # pixels; narrower images are enlarged by a whole factor in a grid
WIDEST = 1600  # pixels of a grid, unless one image is wider
GAP, LINE = 8, 18
GROUND, INK = 24, (225, 225, 225)


def grid(columns: Sequence[Sequence[np.ndarray]], captions: Sequence[Sequence[str]]) -> np.ndarray:
    """Return one image, uint8 RGB: columns of images, lines of text under each, row by row."""
    blocks = [
        column_of(pictures, lines) for pictures, lines in zip(columns, captions, strict=True)
    ]
    widest = max(WIDEST, *(block.shape[1] for block in blocks))
    rows: list[list[np.ndarray]] = [[]]
    for block in blocks:
        if sum(b.shape[1] for b in rows[-1]) + block.shape[1] > widest:
            rows.append([])
        rows[-1].append(block)
    rows = [beside(row) for row in rows]
    width = max(row.shape[1] for row in rows)
    sheet = np.vstack([padded(row, row.shape[0], width) for row in rows])
    return np.pad(sheet, ((GAP, 0), (GAP, 0), (0, 0)), constant_values=GROUND)


def column_of(pictures: Sequence[np.ndarray], lines: Sequence[str]) -> np.ndarray:
    """Return images above each other, text under them, on ground with a margin."""
    factor = -(-SHOWN // pictures[0].shape[1])
    width = pictures[0].shape[1] * factor + GAP
    parts = []
    for picture in pictures:
        large = picture.repeat(factor, axis=0).repeat(factor, axis=1)
        parts.append(padded(large, large.shape[0] + GAP // 2, width))
    text = np.full((LINE * len(lines) + GAP, width, 3), GROUND, np.uint8)
    for number, line in enumerate(lines):
        place = (2, LINE * number + 14)
        line = line[: width // 6]  # what fits
        cv2.putText(text, line, place, cv2.FONT_HERSHEY_SIMPLEX, 0.42, INK, 1, cv2.LINE_AA)
    return np.vstack([*parts, text])


def beside(blocks: Sequence[np.ndarray]) -> np.ndarray:
    """Return blocks in a row, as high as the highest."""
    height = max(block.shape[0] for block in blocks)
    return np.hstack([padded(block, height, block.shape[1]) for block in blocks])


def padded(picture: np.ndarray, height: int, width: int) -> np.ndarray:
    """Return an image with ground to its right and below."""
    result = np.full((height, width, 3), GROUND, np.uint8)
    result[: picture.shape[0], : picture.shape[1]] = picture
    return result
