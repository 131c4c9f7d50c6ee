# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Arrange images with captions on one sheet."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

MIN_SIDE = 128
"""Smaller images are magnified by an integer factor to at least this width, pixels."""
MAX_WIDTH = 1600
"""Width of a sheet, unless one image is wider, pixels."""
GAP, LINE_HEIGHT = 8, 18
BACKGROUND, FOREGROUND = 24, (225, 225, 225)


def grid(columns: Sequence[Sequence[np.ndarray]], captions: Sequence[Sequence[str]]) -> np.ndarray:
    """Return one image, uint8 RGB `[H, W, 3]`, with the columns side by side.

    Args:
        columns: the images of each column, uint8 RGB, of one width; columns wrap to new rows.
        captions: the lines of text under each column.
    """
    blocks = [_column(images, lines) for images, lines in zip(columns, captions, strict=True)]
    max_width = max(MAX_WIDTH, *(block.shape[1] for block in blocks))
    rows: list[list[np.ndarray]] = [[]]
    for block in blocks:
        if sum(b.shape[1] for b in rows[-1]) + block.shape[1] > max_width:
            rows.append([])
        rows[-1].append(block)
    strips = [_row(row) for row in rows]
    width = max(strip.shape[1] for strip in strips)
    sheet = np.vstack([_pad(strip, strip.shape[0], width) for strip in strips])
    return np.pad(sheet, ((GAP, 0), (GAP, 0), (0, 0)), constant_values=BACKGROUND)


def _column(images: Sequence[np.ndarray], lines: Sequence[str]) -> np.ndarray:
    """Return images above each other, magnified, with lines of text below."""
    factor = -(-MIN_SIDE // images[0].shape[1])
    width = images[0].shape[1] * factor + GAP
    parts = []
    for image in images:
        large = image.repeat(factor, axis=0).repeat(factor, axis=1)
        parts.append(_pad(large, large.shape[0] + GAP // 2, width))
    text = np.full((LINE_HEIGHT * len(lines) + GAP, width, 3), BACKGROUND, np.uint8)
    for number, line in enumerate(lines):
        place = (2, LINE_HEIGHT * number + 14)
        line = line[: width // 6]  # longer lines do not fit
        cv2.putText(text, line, place, cv2.FONT_HERSHEY_SIMPLEX, 0.42, FOREGROUND, 1, cv2.LINE_AA)
    return np.vstack([*parts, text])


def _row(blocks: Sequence[np.ndarray]) -> np.ndarray:
    """Return blocks side by side, padded to the same height."""
    height = max(block.shape[0] for block in blocks)
    return np.hstack([_pad(block, height, block.shape[1]) for block in blocks])


def _pad(image: np.ndarray, height: int, width: int) -> np.ndarray:
    """Return an image padded on the right and at the bottom."""
    result = np.full((height, width, 3), BACKGROUND, np.uint8)
    result[: image.shape[0], : image.shape[1]] = image
    return result
