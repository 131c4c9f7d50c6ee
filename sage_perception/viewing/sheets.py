# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Sheets of small images with labels."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from sage_perception.viewing.items import Color

TILE = 96
"""Side of an image in a sheet, pixels."""
GAP, BAR = 6, 18
MAX_COLUMNS = 8
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
