# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Scenes made of photographs: pieces of some move over another, and each place is known.

A handful of clips shows few things. Any number of different things in motion, one to a dozen at
once, can be had from still images.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import cv2
import numpy as np

from sage_perception.core.latent import Roi
from sage_perception.training.data.crops import Image, log_uniform, read_rgb

WIDTH, HEIGHT = 640, 480  # pixels
MAX_MOVING_OBJECTS = 12
NOISE = 2.0  # standard deviation of the sensor's noise, gray levels


@dataclass(frozen=True, eq=False)
class Mover:
    """A piece of an image, and how it moves: to and fro between the frame's borders."""

    label: int
    picture: np.ndarray  # uint8 BGR [S, S, 3]
    cover: np.ndarray  # float32 [S, S, 1] in [0, 1]
    start: np.ndarray  # [2] pixels
    velocity: np.ndarray  # [2] pixels a second

    def corner(self, t: float) -> tuple[int, int]:
        """Return the upper left corner at `t` seconds, inside the frame."""
        room = np.array([WIDTH, HEIGHT]) - self.picture.shape[0]
        way = np.mod(self.start + self.velocity * t, 2 * room)
        x, y = np.minimum(way, 2 * room - way).astype(int)
        return int(x), int(y)


class Montage:
    """A scene that `seed` draws from image files: a background, and one to twelve movers."""

    def __init__(self, files: Sequence[Path], seed: int):
        rng = np.random.default_rng((seed, 17))
        self._noise = rng.normal(0, NOISE, (8, HEIGHT, WIDTH, 1)).astype(np.float32)
        behind = _image(files[rng.integers(len(files))])
        height, width = behind.shape
        wide = min(height * WIDTH // HEIGHT, width)
        high = wide * HEIGHT // WIDTH
        x, y = rng.integers(width - wide + 1), rng.integers(height - high + 1)
        cut = behind.levels[0][y : y + high, x : x + wide]
        self._background = cv2.resize(cut, (WIDTH, HEIGHT), interpolation=cv2.INTER_AREA)[
            ..., ::-1
        ]
        count = round(log_uniform(rng, 1, MAX_MOVING_OBJECTS))
        self.movers = [_mover(files, rng) for _ in range(count)]

    def render(self, t: float, index: int) -> tuple[np.ndarray, list[tuple[Roi, int]]]:
        """Return the image at `t` seconds, uint8 BGR `[480, 640, 3]`, and what is where."""
        image = self._background.astype(np.float32)
        places = []
        for mover in self.movers:
            x, y = mover.corner(t)
            side = mover.picture.shape[0]
            under = image[y : y + side, x : x + side]
            under += mover.cover * (mover.picture - under)
            places.append((Roi(x, y, side, side), mover.label))
        image += self._noise[index % len(self._noise)]
        return image.clip(0, 255).astype(np.uint8), places


@lru_cache(maxsize=64)
def _image(path: Path) -> Image:
    return Image(read_rgb(path))


def _mover(files: Sequence[Path], rng: np.random.Generator) -> Mover:
    label = int(rng.integers(len(files)))
    picture = _image(files[label])
    side = round(log_uniform(rng, 28, 140))
    source = log_uniform(rng, 64, min(picture.shape) - 1)
    height, width = picture.shape
    cut = picture.cut(
        rng.uniform(0, width - source), rng.uniform(0, height - source), source, side
    )
    across = np.abs(np.linspace(-1, 1, side))
    power = rng.choice([2.0, 4.0, 16.0])  # an ellipse, a rounded square, a square
    narrow = rng.uniform(0.45, 1.0)
    reach = across[:, None] ** power + (across[None, :] / narrow) ** power
    cover = (1.15 - reach).clip(0, 0.15) / 0.15
    return Mover(
        label,
        cut[..., ::-1].astype(np.float32),
        cover[..., None].astype(np.float32),
        rng.uniform(0, 2 * max(WIDTH, HEIGHT), 2),
        rng.choice([-1, 1], 2) * np.array([log_uniform(rng, 15, 160), log_uniform(rng, 5, 80)]),
    )
