# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Montages: scenes in which cutouts of images move over another image, at known positions.

They add variety that a few clips lack: many different objects, one to twelve at the same time.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import cv2
import numpy as np

from sage_perception.core.latent import Roi
from sage_perception.training.contexts.virtual_camera import LabeledRegions
from sage_perception.training.data.crops import log_uniform
from sage_perception.training.data.images import ImagePyramid, read_rgb

WIDTH, HEIGHT = 640, 480  # pixels
MAX_OBJECTS = 12
NOISE = 2.0  # standard deviation of the sensor noise, gray levels


@dataclass(frozen=True, eq=False)
class MovingObject:
    """A cutout of an image that moves back and forth between the borders of the frame.

    `label` is the index of the image. `pixels` are BGR `[S, S, 3]` and `alpha` `[S, S, 1]` in
    [0, 1] is the opacity, both float32; `start` `[2]` is in pixels, `velocity` `[2]` in pixels per
    second.
    """

    label: int
    pixels: np.ndarray
    alpha: np.ndarray
    start: np.ndarray
    velocity: np.ndarray

    def corner(self, t: float) -> tuple[int, int]:
        """Return the upper left corner (x, y) at `t` seconds, inside the frame."""
        room = np.array([WIDTH, HEIGHT]) - self.pixels.shape[0]
        way = np.mod(self.start + self.velocity * t, 2 * room)
        x, y = np.minimum(way, 2 * room - way).astype(int)
        return int(x), int(y)


class Montage:
    """A scene drawn from image files: a background and one to twelve moving objects.

    The same `files` and `seed` give the same scene.
    """

    def __init__(self, files: Sequence[Path], seed: int):
        rng = np.random.default_rng((seed, 17))
        self._noise = rng.normal(0, NOISE, (8, HEIGHT, WIDTH, 1)).astype(np.float32)
        source = _load(files[int(rng.integers(len(files)))])
        height, width = source.shape
        wide = min(height * WIDTH // HEIGHT, width)
        high = wide * HEIGHT // WIDTH
        x, y = rng.integers(width - wide + 1), rng.integers(height - high + 1)
        cut = source.levels[0][y : y + high, x : x + wide]
        self._background = cv2.resize(cut, (WIDTH, HEIGHT), interpolation=cv2.INTER_AREA)[
            ..., ::-1
        ]
        count = round(log_uniform(rng, 1, MAX_OBJECTS))
        self.objects = [_draw_object(files, rng) for _ in range(count)]

    def render(self, t: float, index: int) -> tuple[np.ndarray, LabeledRegions]:
        """Return frame `index` at `t` seconds, uint8 BGR `[480, 640, 3]`, and its objects."""
        image = self._background.astype(np.float32)
        regions = []
        for item in self.objects:
            x, y = item.corner(t)
            side = item.pixels.shape[0]
            under = image[y : y + side, x : x + side]
            under += item.alpha * (item.pixels - under)
            regions.append((Roi(x, y, side, side), item.label))
        # Sensor noise never repeats; `CameraHealth` reports identical frames as a fault.
        number, shift = index % len(self._noise), index // len(self._noise)
        image += np.roll(self._noise[number], 37 * shift, axis=0)
        return image.clip(0, 255).astype(np.uint8), regions


@lru_cache(maxsize=64)
def _load(path: Path) -> ImagePyramid:
    return ImagePyramid(read_rgb(path))


def _draw_object(files: Sequence[Path], rng: np.random.Generator) -> MovingObject:
    label = int(rng.integers(len(files)))
    source = _load(files[label])
    side = round(log_uniform(rng, 28, 140))
    size = log_uniform(rng, 64, min(source.shape) - 1)
    height, width = source.shape
    cut = source.cut(rng.uniform(0, width - size), rng.uniform(0, height - size), size, side)
    across = np.abs(np.linspace(-1, 1, side))
    power = rng.choice([2.0, 4.0, 16.0])  # an ellipse, a rounded square, a square
    narrow = rng.uniform(0.45, 1.0)
    reach = across[:, None] ** power + (across[None, :] / narrow) ** power
    alpha = (1.15 - reach).clip(0, 0.15) / 0.15
    return MovingObject(
        label,
        cut[..., ::-1].astype(np.float32),
        alpha[..., None].astype(np.float32),
        rng.uniform(0, 2 * max(WIDTH, HEIGHT), 2),
        rng.choice([-1, 1], 2) * np.array([log_uniform(rng, 15, 160), log_uniform(rng, 5, 80)]),
    )
