# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Where to look when nothing moves: what stands out, and what was looked at long enough.

Blobs in scale space (Lindeberg, "Feature detection with automatic scale selection", 1998), and
inhibition of return (Itti, Koch and Niebur, "A model of saliency-based visual attention", 1998).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import numpy as np

SCALES = (1 / 12, 1 / 8, 1 / 5)
"""Sides of the places looked for, as shares of the image's shorter side."""
CENTER_WIDTH = 0.5
"""Standard deviation of the preference for the middle, as a share of the image's sides."""
FAINT = 8.0
"""Contrast in gray levels up to which an image has no place that stands out."""
DULL = 0.2
"""Saliency below which a place is not worth a look."""
KEEP = 1.3
"""What a place that is attended to gains, so that attention rests instead of flitting."""


@dataclass(frozen=True)
class Place:
    """A square of `side` around (x, y), pixels of the image, and its saliency in [0, 1]."""

    id: int
    x: float
    y: float
    side: float
    saliency: float


def blob_saliency(picture: np.ndarray) -> np.ndarray:
    """Return how much a square around each pixel stands out, for each of `SCALES`.

    The measure is the square root of the determinant of the Hessian at the scale of the square,
    the largest of the channels: that is in gray levels and high for a blob, but not for the edge
    of a road or a roof, however strong. The middle of the image is preferred.

    `image` is float32 `[C, h, w]`, gray levels; the result is float32 `[len(SCALES), h, w]` in
    [0, 1]; the most salient place of an image of some contrast has 1.
    """
    height, width = picture.shape[1:]
    maps = np.zeros((len(SCALES), height, width), np.float32)
    for scale, found in zip(SCALES, maps, strict=True):
        step = max(round(scale * min(height, width) / 2), 1)
        for channel in picture:
            smooth = cv2.blur(cv2.blur(channel, (step, step)), (step, step))
            np.maximum(found, _blobness(smooth, step), out=found)
    y = np.linspace(-0.5, 0.5, height)[:, None] / CENTER_WIDTH
    x = np.linspace(-0.5, 0.5, width) / CENTER_WIDTH
    found = maps * np.exp(-(x**2 + y**2) / 2).astype(np.float32)
    return found / max(float(found.max()), FAINT)


def _blobness(smooth: np.ndarray, step: int) -> np.ndarray:
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
    """Remembers for each pixel how long attention rested on it.

    `strength` in [0, 1] is the share of its score that a place loses in the end; `time_constant_s`
    is that of the loss and of the recovery once attention has moved on, seconds.
    """

    def __init__(self, strength: float, time_constant_s: float):
        self._strength = strength
        self._time_constant_s = time_constant_s
        self.reset((1, 1))

    def reset(self, shape: tuple[int, int]) -> None:
        """Forget everything; maps are `[h, w]` of this `shape` from here on."""
        self._map = np.zeros(shape, np.float32)

    @property
    def factor(self) -> np.ndarray:
        """Return what scores are to be multiplied with, float32 `[h, w]` in [0, 1]."""
        return 1 - self._strength * self._map

    def attend(self, squares: list[tuple[float, float, float]], dt: float) -> None:
        """Let attention rest on `squares` (x, y, side) for `dt` seconds."""
        rate = 1 - np.exp(-dt / self._time_constant_s)
        self._map *= 1 - rate
        attended = np.zeros_like(self._map)
        for x, y, side in squares:
            attended[_square(x, y, side)] = rate
        self._map += attended


class StillAttention:
    """Chooses the most salient places of a still image and stays with them for a while."""

    def __init__(self, ids: Iterator[int]):
        self._ids = ids
        self._places: list[Place] = []

    def clear(self) -> None:
        """Give up all places."""
        self._places = []

    def look(self, maps: np.ndarray, factor: np.ndarray, count: int) -> list[Place]:
        """Return up to `count` places, the most salient first.

        `maps` is what `blob_saliency` returns, `factor` `[h, w]` what inhibition leaves of it.
        A place that was chosen before keeps its id and its square.
        """
        shortest = min(maps.shape[1:])
        left = maps * factor
        for place in self._places:
            scale = int(np.argmin([abs(s * shortest - place.side) for s in SCALES]))
            left[(scale, *_square(place.x, place.y, place.side / 2))] *= KEEP
        chosen = []
        while len(chosen) < count:
            scale, y, x = np.unravel_index(int(np.argmax(left)), left.shape)
            saliency = min(float(left[scale, y, x]), 1.0)
            if saliency < DULL:
                break
            side = SCALES[scale] * shortest
            held = [
                p
                for p in self._places
                if max(abs(p.x - x), abs(p.y - y)) <= p.side / 4 and p.side == side
            ]
            if held:
                x, y, identity = held[0].x, held[0].y, held[0].id
            else:
                identity = next(self._ids)
            chosen.append(Place(identity, float(x), float(y), side, saliency))
            left[(slice(None), *_square(x, y, 1.5 * side))] = 0
        self._places = chosen
        return chosen


def _square(x: float, y: float, side: float) -> tuple[slice, slice]:
    """Return the rows and columns of a square, cut off where it would leave on the left or top."""
    top, left = max(round(y - side / 2), 0), max(round(x - side / 2), 0)
    return (
        slice(top, max(round(y + side / 2), top + 1)),
        slice(left, max(round(x + side / 2), left + 1)),
    )
