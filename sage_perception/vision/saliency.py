# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Attention to still scenes: saliency and inhibition of return.

Saliency is the image signature (Hou, Harel and Koch, "Image signature: highlighting sparse salient
regions", 2012), averaged over squares of several sizes. Inhibition of return moves attention from
region to region (Itti, Koch and Niebur, "A model of saliency-based visual attention", 1998).
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace

import cv2
import numpy as np

from sage_perception.vision.ego_motion import mean_motion, transform_point

SCALES = (1 / 8, 1 / 5, 1 / 3)
"""Sides of the regions, as fractions of the image's shorter side."""
CENTER_WIDTH = 0.5
"""Standard deviation of the preference for the center, as a fraction of the image's sides."""
MIN_CONTRAST = 4.0
"""Standard deviation of an image below which its saliency is reduced, gray levels."""
SIGNATURE_SIZE = (64, 48)
"""Size of the image whose signature is computed, pixels."""
SMOOTHING = 2.0
"""Standard deviation of the smoothing of the signature, pixels of `SIGNATURE_SIZE`."""
MIN_SALIENCY = 0.25
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


def signature_saliency(image: np.ndarray) -> np.ndarray:
    """Return the saliency of the square around each pixel, for each of `SCALES`.

    The signs of an image's cosine transform keep the places of what is small against its
    background and suppress the background itself. The center of the image is preferred.

    Args:
        image: uint8 `[h, w, 3]` in BGR order or `[h, w]` gray.

    Returns:
        float32 `[len(SCALES), h, w]` in [0, 1]. The maximum is 1 unless the whole image has less
        contrast than `MIN_CONTRAST`.
    """
    height, width = image.shape[:2]
    small = cv2.resize(image, SIGNATURE_SIZE, interpolation=cv2.INTER_AREA)
    if small.ndim == 3:
        small = cv2.cvtColor(small, cv2.COLOR_BGR2LAB)
    channels = [np.asarray(channel, np.float32) for channel in cv2.split(small)]
    signature = np.zeros(channels[0].shape, np.float32)
    for channel in channels:
        signature += np.square(cv2.idct(np.sign(cv2.dct(channel))))
    maps = square_saliency(cv2.GaussianBlur(signature, (0, 0), SMOOTHING), width, height)
    contrast = min(max(float(channel.std()) for channel in channels) / MIN_CONTRAST, 1.0)
    return maps * np.float32(contrast)


def square_saliency(evidence: np.ndarray, width: int, height: int) -> np.ndarray:
    """Return the saliency of the square around each pixel, for each of `SCALES`.

    Args:
        evidence: float32 `[h, w]`, how salient each place of the image is by itself, not negative;
            resized to the image.
        width: that of the image, pixels.
        height: that of the image, pixels.

    Returns:
        float32 `[len(SCALES), height, width]` in [0, 1], with the maximum 1. The center of the
        image is preferred.
    """
    evidence = np.asarray(cv2.resize(evidence, (width, height)), np.float32)
    maps = np.empty((len(SCALES), height, width), np.float32)
    for scale, found in zip(SCALES, maps, strict=True):
        side = max(round(scale * min(height, width)) | 1, 3)
        # The sum over the square divided by the root of its area: neither the smallest nor the
        # largest square always wins.
        found[:] = cv2.blur(evidence, (side, side)) * math.sqrt(side)
    y = np.linspace(-0.5, 0.5, height)[:, None] / CENTER_WIDTH
    x = np.linspace(-0.5, 0.5, width) / CENTER_WIDTH
    maps *= np.exp(-(x**2 + y**2) / 2).astype(np.float32)
    # The root brings the places closer to each other, so that inhibition can exchange them.
    return np.sqrt(maps / max(float(maps.max()), 1e-9))


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

    def factor_at(self, x: float, y: float) -> float:
        """Return the factor at (x, y), or at the pixel of the map that is nearest to it."""
        height, width = self._map.shape
        row, column = min(max(int(y), 0), height - 1), min(max(int(x), 0), width - 1)
        return float(1 - self._strength * self._map[row, column])

    def move(self, matrix: np.ndarray) -> None:
        """Move the map with the camera; `matrix` `[3, 3]` takes the last frame to this one."""
        self._pending = matrix @ self._pending
        shape = self._map.shape
        # Warping blurs: a camera that shakes comes back without it.
        if mean_motion(self._pending, shape) > MIN_MOVE:
            moved = cv2.warpPerspective(self._map, self._pending, shape[::-1])
            self._map = np.asarray(moved, np.float32)
            self._pending = np.eye(3)

    def attend(self, squares: list[tuple[float, float, float]], dt: float) -> None:
        """Record that attention rested on `squares` (x, y, side) for `dt` seconds."""
        rate = 1 - np.exp(-dt / self._time_constant_s)
        self._map *= 1 - rate
        attended = np.zeros_like(self._map)
        for x, y, side in squares:
            attended[square_around(x, y, side)] = rate
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

        `maps` is the result of `signature_saliency`, `factor` `[h, w]` that of the inhibition. A
        region that was selected before keeps its id and its square.
        """
        shortest = min(maps.shape[1:])
        remaining = maps * factor
        for region in self._regions:
            index = int(np.argmin([abs(s * shortest - region.side) for s in SCALES]))
            remaining[index][square_around(region.x, region.y, region.side / 2)] *= PERSISTENCE
        chosen: list[SalientRegion] = []
        while len(chosen) < count:
            index, row, column = map(int, np.unravel_index(remaining.argmax(), remaining.shape))
            saliency = min(float(remaining[index, row, column]), 1.0)
            if saliency < MIN_SALIENCY:
                break
            region = self._region(column, row, SCALES[index] * shortest, saliency)
            chosen.append(region)
            rows, columns = square_around(region.x, region.y, 1.5 * region.side)
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


def square_around(x: float, y: float, side: float) -> tuple[slice, slice]:
    """Return the rows and columns of a square, clipped at the left and top of the image."""
    top, left = max(round(y - side / 2), 0), max(round(x - side / 2), 0)
    return (
        slice(top, max(round(y + side / 2), top + 1)),
        slice(left, max(round(x + side / 2), left + 1)),
    )
