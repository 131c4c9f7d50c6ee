# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Draw the slots of a frame: segments, what each slot holds, and the reconstruction."""

from __future__ import annotations

import cv2
import numpy as np

from sage_perception.slots.segmentation import segment
from sage_perception.slots.video import SlotFrame

TINT = 0.6
"""Share of the color of its slot in a pixel of the segmentation."""


def slot_colors(count: int) -> np.ndarray:
    """Return a color for each slot, uint8 RGB `[count, 3]`; hues a golden angle apart."""
    hues = (np.arange(count) * 0.618 % 1 * 180).astype(np.uint8)
    hsv = np.stack((hues, np.full(count, 190, np.uint8), np.full(count, 235, np.uint8)), -1)
    return cv2.cvtColor(hsv[None], cv2.COLOR_HSV2RGB)[0]


def draw_frame(frame: SlotFrame) -> list[np.ndarray]:
    """Return the images of a frame, uint8 RGB `[S, S, 3]` each.

    The frame, its segmentation, the frame within the mask of each slot, the reconstruction.
    """
    original = to_rgb(frame.image)
    colors = slot_colors(len(frame.masks))
    tinted = (1 - TINT) * original + TINT * colors[segment(frame.masks)]
    parts = [(mask[..., None] * original + 0.5).astype(np.uint8) for mask in frame.masks]
    return [original, (tinted + 0.5).astype(np.uint8), *parts, to_rgb(frame.reconstruction)]


def to_rgb(image: np.ndarray) -> np.ndarray:
    """Return an image of a model, float `[C, S, S]`, as uint8 RGB `[S, S, 3]`."""
    pixels = (image.clip(0, 1) * 255 + 0.5).astype(np.uint8).transpose(1, 2, 0)
    return np.repeat(pixels, 3, 2) if pixels.shape[2] == 1 else np.ascontiguousarray(pixels)
