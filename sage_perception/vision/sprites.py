# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""The appearance of synthetic worlds: textured objects, backgrounds and pixel noise."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

Rng = np.random.Generator

NOISE_SHIFT = 64
"""Pixels by which the noise bank exceeds the frame in each direction."""


@dataclass(frozen=True)
class Sprite:
    """The appearance of an object: uint8 `[h, w, 3]`, and its opacity, float32 `[h, w]`."""

    image: np.ndarray
    opacity: np.ndarray


def clouds(rng: Rng, width: int, height: int, cell: int, wrap: bool = False) -> np.ndarray:
    """Return smooth random values, float32 `[height, width]`, about ±1.

    With `wrap`, which requires that `cell` divides both sides, the values repeat seamlessly.
    """
    if wrap:
        coarse = rng.standard_normal((height // cell, width // cell)).astype(np.float32)
        margin = 2  # cells; the cubic interpolation reaches two cells far
        around = np.pad(coarse, margin, mode='wrap')
        size = ((width // cell + 2 * margin) * cell, (height // cell + 2 * margin) * cell)
        fine = cv2.resize(around, size, interpolation=cv2.INTER_CUBIC)
        first = margin * cell
        return fine[first : first + height, first : first + width]
    coarse = rng.standard_normal((height // cell + 2, width // cell + 2)).astype(np.float32)
    return cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)


def make_background(
    rng: Rng, width: int, height: int, kind: str = 'textured', wrap: bool = False
) -> np.ndarray:
    """Return a 'textured' or 'plain' background, uint8 `[height, width, 3]`.

    With `wrap`, which requires that 64 divides both sides, it repeats seamlessly.
    """
    if kind == 'plain':
        return np.full((height, width, 3), 128, np.uint8)
    relief = np.sum(
        [clouds(rng, width, height, cell, wrap) * cell**0.5 for cell in (4, 16, 64)], axis=0
    )
    tint = rng.uniform(0.8, 1.2, 3) * (100 + 3.0 * relief)[..., None]
    return np.clip(tint, 10, 245).astype(np.uint8)


def make_sprite(rng: Rng, size: np.ndarray, number: int) -> Sprite:
    """Return a striped object of `size` (width, height); `number` selects hue and shape."""
    width, height = (int(side) for side in size)
    # Hues a golden angle apart: successive objects differ most.
    hue = int((number * 0.618 + rng.uniform(0, 0.1)) % 1 * 180)
    colors = [hue, 200, 235], [(hue + 30) % 180, 160, 70]
    first, second = (
        cv2.cvtColor(np.array([[c]], np.uint8), cv2.COLOR_HSV2BGR)[0, 0].astype(np.float32)
        for c in colors
    )
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    angle, pitch = rng.uniform(0, np.pi), rng.uniform(8, 20)
    stripes = np.sin(2 * np.pi * (x * np.cos(angle) + y * np.sin(angle)) / pitch)
    mix = np.clip(0.5 + 0.4 * stripes + 0.25 * clouds(rng, width, height, 6), 0, 1)[..., None]
    image = np.clip(first * mix + second * (1 - mix), 0, 255).astype(np.uint8)
    opacity = np.ones((height, width), np.float32)
    if number % 3 != 1:  # an ellipse or disk; every third object is a rectangle
        radius = np.hypot((x + 0.5) / width - 0.5, (y + 0.5) / height - 0.5) * 2
        opacity = np.clip((1 - radius) * min(width, height) / 2 + 0.5, 0, 1)
    return Sprite(image, opacity.astype(np.float32))


class NoiseBank:
    """Pixel noise of standard deviation `deviation` for frames of `width` × `height` pixels.

    Each frame uses a random window of a larger bank, because a million normal numbers per frame
    would take longer than the rest of the rendering.
    """

    def __init__(self, rng: Rng, width: int, height: int, deviation: float) -> None:
        shape = (height + NOISE_SHIFT, width + NOISE_SHIFT, 3)
        values = np.round(deviation * rng.standard_normal(shape, np.float32))
        self._above = np.maximum(values, 0).astype(np.uint8)
        self._below = np.maximum(-values, 0).astype(np.uint8)

    def add(self, image: np.ndarray, rng: Rng) -> None:
        """Add noise to `image`, uint8 `[height, width, 3]`, in place."""
        x, y = rng.integers(0, NOISE_SHIFT, 2)
        window = np.s_[y : y + image.shape[0], x : x + image.shape[1]]
        cv2.add(image, self._above[window], image)
        cv2.subtract(image, self._below[window], image)
