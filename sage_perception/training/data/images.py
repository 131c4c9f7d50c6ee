# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Read training images and cut squares out of them at any scale."""

from __future__ import annotations

import math
from pathlib import Path

import cv2
import numpy as np

from sage_perception.vision.image_file import read_bgr

MAX_SIDE_PX = 1280
"""Longer side that larger images are reduced to, about the width of a camera image."""
MIN_LEVEL_SIDE_PX = 128
"""Shorter side of a pyramid level, from which another, halved level is added."""


def read_rgb(path: Path) -> np.ndarray:
    """Return the image at `path`, uint8 RGB `[H, W, 3]`.

    Raises `ValueError` if the file is not an image, is truncated or is damaged.
    """
    return cv2.cvtColor(read_bgr(path), cv2.COLOR_BGR2RGB)


def to_model(crops: np.ndarray, channels: int) -> np.ndarray:
    """Return uint8 RGB crops `[..., S, S, 3]` as model input, float32 `[..., C, S, S]` in [0, 1].

    With one channel this is the luma of ITU-R BT.601.
    """
    x = crops.astype(np.float32) / 255
    if channels == 1:
        x = x @ np.array([[0.299], [0.587], [0.114]], np.float32)
    return np.ascontiguousarray(np.moveaxis(x, -1, -3))


class ImagePyramid:
    """An image, uint8 RGB `[H, W, 3]`, at successively halved sizes, so that crops are cheap.

    Images with a side above `MAX_SIDE_PX` are reduced first.
    """

    def __init__(self, image: np.ndarray):
        scale = MAX_SIDE_PX / max(image.shape[:2])
        if scale < 1:
            image = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
        self.levels = [image]
        while min(self.levels[-1].shape[:2]) >= MIN_LEVEL_SIDE_PX:
            half = [side // 2 for side in self.levels[-1].shape[1::-1]]
            self.levels.append(cv2.resize(self.levels[-1], half, interpolation=cv2.INTER_AREA))

    @property
    def shape(self) -> tuple[int, int]:
        """Return (height, width) in pixels."""
        height, width = self.levels[0].shape[:2]
        return height, width

    def cut(self, x: float, y: float, side: float, size: int) -> np.ndarray:
        """Return the square at (x, y), scaled to uint8 RGB `[size, size, 3]`.

        `x`, `y` and `side` are in pixels. A square that leaves the image is moved inside.
        """
        level = min(max(int(math.log2(side / size)), 0), len(self.levels) - 1)
        image = self.levels[level]
        height, width = image.shape[:2]
        extent = max(min(round(side / 2**level), height, width), 1)
        left = min(max(round(x / 2**level), 0), width - extent)
        top = min(max(round(y / 2**level), 0), height - extent)
        square = image[top : top + extent, left : left + extent]
        interpolation = cv2.INTER_AREA if extent > size else cv2.INTER_LINEAR
        return cv2.resize(square, (size, size), interpolation=interpolation)
