# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Attention to still scenes: saliency and inhibition of return.

Saliency is the strength of blobs in scale space (Lindeberg, "Feature detection with automatic
scale selection", 1998). Inhibition of return moves attention from region to region (Itti, Koch
and Niebur, "A model of saliency-based visual attention", 1998).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import cv2
import numpy as np

from sage_perception.vision.ego_motion import mean_motion, transform_point

SCALES = (1 / 12, 1 / 8, 1 / 5)
"""Sides of the regions, as fractions of the image's shorter side."""
CENTER_WIDTH = 0.5
"""Standard deviation of the preference for the center, as a fraction of the image's sides."""
MIN_CONTRAST = 8.0
"""Blob strength below which no region of the image is salient, gray levels."""
MIN_SALIENCY = 0.2
"""Saliency below which a region is not selected."""
MIN_MOVE = 1.0
"""Motion of the camera below which the map of inhibition is not moved, pixels."""
PERSISTENCE = 1.3
"""Factor on the saliency of selected regions, so that attention does not flicker."""


@dataclass(frozen=True)
class SalientRegion:
    """A square of `side` around (x, y), pixels of the image, and its saliency in [0, 1]."""

    id: int
    x: float
    y: float
    side: float
    saliency: float


def blob_saliency(image: np.ndarray) -> np.ndarray:
    """Return the saliency of the square around each pixel, for each of `SCALES`.

    The measure is the square root of the determinant of the Hessian at the scale of the square,
    the maximum over the channels. It is high for blobs and low for straight edges of any contrast.
    The center of the image is preferred.

    Args:
        image: float32 `[C, h, w]`, gray levels.

    Returns:
        float32 `[len(SCALES), h, w]` in [0, 1]. The maximum is 1 unless the whole image has less
        contrast than `MIN_CONTRAST`.
    """
    height, width = image.shape[1:]
    maps = np.zeros((len(SCALES), height, width), np.float32)
    for scale, found in zip(SCALES, maps, strict=True):
        step = max(round(scale * min(height, width) / 2), 1)
        for channel in image:
            smooth = cv2.blur(cv2.blur(channel, (step, step)), (step, step))
            np.maximum(found, _blob_strength(smooth, step), out=found)
    y = np.linspace(-0.5, 0.5, height)[:, None] / CENTER_WIDTH
    x = np.linspace(-0.5, 0.5, width) / CENTER_WIDTH
    found = maps * np.exp(-(x**2 + y**2) / 2).astype(np.float32)
    return found / max(float(found.max()), MIN_CONTRAST)


def _blob_strength(smooth: np.ndarray, step: int) -> np.ndarray:
    """Return the root of the Hessian's determinant, by differences over `step` pixels."""
    height, width = smooth.shape
    padded = cv2.copyMakeBorder(smooth, step, step, step, step, cv2.BORDER_REPLICATE)

    def at(y: int, x: int) -> np.ndarray:
        top, left = (1 + y) * step, (1 + x) * step
        return padded[top : top + height, left : left + width]

    xx = at(0, 1) + at(0, -1) - 2 * smooth
    yy = at(1, 0) + at(-1, 0) - 2 * smooth
    xy = (at(1, 1) + at(-1, -1) - at(1, -1) - at(-1, 1)) / 4
    return np.sqrt(np.maximum(xx * yy - xy**2, 0))


class InhibitionOfReturn:
    """Tracks for each pixel how long attention has rested on it.

    `strength` in [0, 1] is the fraction of its score that a region loses in the limit;
    `time_constant_s` is the time constant of the loss, and of the recovery after attention has
    moved on, seconds.
    """

    def __init__(self, strength: float, time_constant_s: float) -> None:
        self._strength = strength
        self._time_constant_s = time_constant_s
        self.reset((1, 1))

    def reset(self, shape: tuple[int, int]) -> None:
        """Remove all inhibition and set the `shape` (h, w) of the map."""
        self._map = np.zeros(shape, np.float32)
        self._pending = np.eye(3)

    @property
    def factor(self) -> np.ndarray:
        """Return the factor to multiply scores with, float32 `[h, w]` in [0, 1]."""
        return 1 - self._strength * self._map

    def move(self, matrix: np.ndarray) -> None:
        """Move the map with the camera; `matrix` `[3, 3]` takes the last frame to this one."""
        self._pending = matrix @ self._pending
        shape = self._map.shape
        # Warping blurs: a camera that shakes comes back without it.
        if mean_motion(self._pending, shape) > MIN_MOVE:
            self._map = cv2.warpPerspective(self._map, self._pending, shape[::-1])
            self._pending = np.eye(3)

    def attend(self, squares: list[tuple[float, float, float]], dt: float) -> None:
        """Record that attention rested on `squares` (x, y, side) for `dt` seconds."""
        rate = 1 - np.exp(-dt / self._time_constant_s)
        self._map *= 1 - rate
        attended = np.zeros_like(self._map)
        for x, y, side in squares:
            attended[_square(x, y, side)] = rate
        self._map += attended


class StillAttention:
    """Selects the most salient regions of a still image and keeps them for a while."""

    def __init__(self, ids: Iterator[int]) -> None:
        self._ids = ids
        self._regions: list[SalientRegion] = []

    @property
    def regions(self) -> list[SalientRegion]:
        """Return the regions selected last, where the camera has moved them."""
        return self._regions

    def clear(self) -> None:
        """Drop all regions."""
        self._regions = []

    def move(self, matrix: np.ndarray) -> None:
        """Move the regions with the camera; `matrix` `[3, 3]` takes the last frame to this one."""
        self._regions = [
            replace(r, x=x, y=y)
            for r in self._regions
            for x, y in [transform_point(matrix, r.x, r.y)]
        ]

    def select(self, maps: np.ndarray, factor: np.ndarray, count: int) -> list[SalientRegion]:
        """Return up to `count` regions, the most salient first.

        `maps` is the result of `blob_saliency`, `factor` `[h, w]` the factor of the inhibition.
        A region that was selected before keeps its id and its square.
        """
        shortest = min(maps.shape[1:])
        remaining = maps * factor
        for region in self._regions:
            index = int(np.argmin([abs(s * shortest - region.side) for s in SCALES]))
            remaining[index][_square(region.x, region.y, region.side / 2)] *= PERSISTENCE
        chosen: list[SalientRegion] = []
        while len(chosen) < count:
            index, row, column = map(int, np.unravel_index(remaining.argmax(), remaining.shape))
            saliency = min(float(remaining[index, row, column]), 1.0)
            if saliency < MIN_SALIENCY:
                break
            region = self._region(column, row, SCALES[index] * shortest, saliency)
            chosen.append(region)
            rows, columns = _square(region.x, region.y, 1.5 * region.side)
            remaining[:, rows, columns] = 0
        self._regions = chosen
        return chosen

    def _region(self, x: int, y: int, side: float, saliency: float) -> SalientRegion:
        """Return the region at (x, y): one that was selected before if it is close enough."""
        for known in self._regions:
            near = max(abs(known.x - x), abs(known.y - y)) <= known.side / 4
            if near and known.side == side:
                return SalientRegion(known.id, known.x, known.y, side, saliency)
        return SalientRegion(next(self._ids), float(x), float(y), side, saliency)


def _square(x: float, y: float, side: float) -> tuple[slice, slice]:
    """Return the rows and columns of a square, clipped at the left and top of the image."""
    top, left = max(round(y - side / 2), 0), max(round(x - side / 2), 0)
    return (
        slice(top, max(round(y + side / 2), top + 1)),
        slice(left, max(round(x + side / 2), left + 1)),
    )
