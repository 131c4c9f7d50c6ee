# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""A synthetic world of textured moving shapes with ground truth.

An image is a function of the seed and of the time: two processes that render the same world at the
same time get the same image, and the position of each object is known.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np

from sage_perception.core.latent import Roi
from sage_perception.vision.sprites import NoiseBank, Sprite, make_background, make_sprite

Rng = np.random.Generator

MIN_SIDE_PX, MAX_SIDE_PX = 32, 140
"""Range of the longer side of an object, pixels."""
MIN_GAP_PX = 24
"""Minimum distance between two objects, pixels; larger than their motion between samples."""
OVERHANG = 0.25
"""Fraction of an object's extent by which its path may leave the frame."""
PATH_SAMPLES = 960
"""Number of instants per period at which paths are checked."""
PATH_ATTEMPTS = 1000
"""Number of candidate paths before the placement restarts with smaller objects."""
PLACEMENT_ATTEMPTS = 10
"""Maximum number of placements."""
MIN_SPEED = 0.5
"""Minimum speed of an object, as a multiple of the frame's shorter side per period."""
MAX_FRAME_SIDE = 4096


@dataclass(frozen=True)
class TrackedObject:
    """The ground truth of one object at one time.

    Attributes:
        id: number of the object, from 1.
        roi: bounding box of the part inside the frame, pixels.
        velocity: velocity of the center, pixels per second (x to the right, y down).
        visible: fraction of the bounding box inside the frame, in [0, 1]. Objects never overlap.
    """

    id: int
    roi: Roi
    velocity: tuple[float, float]
    visible: float


@dataclass(frozen=True)
class _Path:
    """A Lissajous curve, traversed once per period."""

    center: np.ndarray  # [2] x, y, px
    amplitude: np.ndarray  # [2] px
    turns: np.ndarray  # [2] oscillations per period, integers, so that the curve is closed
    phase: np.ndarray  # [2] rad

    def position(self, turn: float | np.ndarray) -> np.ndarray:
        """Return the position `[..., 2]`, pixels, at `turn` `[...]`, in periods."""
        angle = 2 * np.pi * self.turns * np.asarray(turn)[..., None] + self.phase
        return self.center + self.amplitude * np.sin(angle)

    def velocity(self, turn: float | np.ndarray) -> np.ndarray:
        """Return the velocity `[..., 2]`, pixels per period, at `turn` `[...]`, in periods."""
        rate = 2 * np.pi * self.turns
        return self.amplitude * rate * np.cos(rate * np.asarray(turn)[..., None] + self.phase)


class SyntheticWorld:
    """Textured shapes that move on smooth closed paths over a static background.

    Objects are disks, rectangles and ellipses of 32 to 140 pixels. They never overlap, never stop,
    and leave the frame by at most a quarter of their size.

    Args:
        seed: seed of everything random, 0 or more.
        width: width of the frame, 32 to 4096 pixels.
        height: height of the frame, 32 to 4096 pixels.
        objects: number of objects.
        period_s: time after which the motion repeats, seconds.
        background: 'textured' or 'plain' (mid gray).
        noise: standard deviation of the pixel noise, gray levels, at most 64.
        flicker: strength of disturbances that are not motion, in [0, 1]: the brightness varies by
            this factor, and 400 · `flicker` bright streaks per frame resemble rain.

    Raises:
        ValueError: an argument is out of range, or the objects do not fit into the frame.
    """

    def __init__(
        self,
        seed: int = 0,
        width: int = 640,
        height: int = 480,
        objects: int = 3,
        period_s: float = 20.0,
        background: str = 'textured',
        noise: float = 2.0,
        flicker: float = 0.0,
    ) -> None:
        sides = f'in [{MIN_SIDE_PX}, {MAX_FRAME_SIDE}]'
        _check(seed >= 0, 'seed', seed, 'at least 0')
        _check(MIN_SIDE_PX <= width <= MAX_FRAME_SIDE, 'width', width, sides)
        _check(MIN_SIDE_PX <= height <= MAX_FRAME_SIDE, 'height', height, sides)
        _check(objects >= 0, 'objects', objects, 'at least 0')
        _check(0 < period_s < math.inf, 'period_s', period_s, 'positive')
        _check(background in ('textured', 'plain'), 'background', background, 'textured or plain')
        _check(0 <= noise <= 64, 'noise', noise, 'in [0, 64]')
        _check(0 <= flicker <= 1, 'flicker', flicker, 'in [0, 1]')
        self.seed = seed
        self.width = width
        self.height = height
        self.period_s = period_s
        self.flicker = flicker
        rng = np.random.default_rng(seed)
        self._background = make_background(rng, width, height, background)
        sizes, self._paths = _place(rng, np.array([width, height], float), objects)
        self._sprites = [make_sprite(rng, size, number) for number, size in enumerate(sizes)]
        self._noise = NoiseBank(rng, width, height, noise) if noise else None

    def render(self, t: float, frame_noise_seed: int | None = None) -> np.ndarray:
        """Return the image at `t` seconds, uint8 `[H, W, 3]` in BGR order.

        `frame_noise_seed`, usually the index of the frame, seeds the pixel noise and the streaks;
        None disables both.
        """
        image = self._background.copy()
        for sprite, center in zip(self._sprites, self._centers(t), strict=True):
            _blend(image, sprite, center)
        if self.flicker:
            # A slow drift (clouds, auto-exposure) and the beat of lamps with the shutter.
            variation = 0.6 * math.sin(2 * math.pi * 0.7 * t) + 0.4 * math.sin(
                2 * math.pi * 8.3 * t
            )
            cv2.convertScaleAbs(image, image, 1 + self.flicker * variation)
        if frame_noise_seed is not None:
            rng = np.random.default_rng((self.seed, frame_noise_seed))
            self._rain(image, rng)
            if self._noise:
                self._noise.add(image, rng)
        return image

    def truth(self, t: float) -> list[TrackedObject]:
        """Return the ground truth of the objects at `t` seconds, in the order of their ids."""
        turn = (t / self.period_s) % 1.0
        found = []
        for number, (sprite, path) in enumerate(zip(self._sprites, self._paths, strict=True), 1):
            height, width = sprite.opacity.shape
            left, top = path.position(turn) - (width / 2, height / 2)
            x0, x1 = max(round(left), 0), min(round(left + width), self.width)
            y0, y1 = max(round(top), 0), min(round(top + height), self.height)
            roi = Roi(x0, y0, x1 - x0, y1 - y0)
            speed = path.velocity(turn) / self.period_s
            visible = min(roi.area / (width * height), 1.0)
            found.append(TrackedObject(number, roi, (float(speed[0]), float(speed[1])), visible))
        return found

    def _centers(self, t: float) -> list[np.ndarray]:
        turn = (t / self.period_s) % 1.0
        return [path.position(turn) for path in self._paths]

    def _rain(self, image: np.ndarray, rng: Rng) -> None:
        for _ in range(round(400 * self.flicker)):
            x, y = int(rng.integers(self.width)), int(rng.integers(self.height))
            length, gray = int(rng.integers(5, 14)), int(rng.integers(170, 250))
            cv2.line(image, (x, y), (x + length // 4, y + length), (gray, gray, gray), 1)


def _check(ok: bool, name: str, value: object, allowed: str) -> None:
    if not ok:
        raise ValueError(f'{name} is {value}; it must be {allowed}')


def _place(rng: Rng, frame: np.ndarray, objects: int) -> tuple[list[np.ndarray], list[_Path]]:
    """Return a size `[2]` and a path for each object, such that no two objects come close.

    `frame` is `[width, height]`. If not all objects fit, the placement restarts with smaller ones.
    """
    for attempt in range(PLACEMENT_ATTEMPTS):
        sizes: list[np.ndarray] = []
        paths: list[_Path] = []
        for _ in range(PATH_ATTEMPTS):
            if len(paths) == objects:
                return sizes, paths
            size, path = _candidate(rng, frame, scale=0.85**attempt)
            # A coarse check rejects most candidates cheaply.
            if all(_is_clear(size, path, sizes, paths, frame, step) for step in (16, 1)):
                sizes.append(size)
                paths.append(path)
    raise ValueError(
        f'objects is {objects}; it must be smaller, to fit into '
        f'{frame[0]:.0f}x{frame[1]:.0f} pixels'
    )


def _candidate(rng: Rng, frame: np.ndarray, scale: float) -> tuple[np.ndarray, _Path]:
    largest = max(min(MAX_SIDE_PX, frame.min() / 3) * scale, MIN_SIDE_PX)
    size = np.full(2, rng.uniform(MIN_SIDE_PX, largest))
    size[rng.integers(2)] *= rng.uniform(0.6, 1)
    size = np.round(size)
    reach = frame / 2 + (OVERHANG - 0.5) * size
    amplitude = reach * rng.uniform(0.3, 0.95, 2) * scale
    return size, _Path(
        center=frame / 2 + (reach - amplitude) * rng.uniform(-1, 1, 2),
        amplitude=amplitude,
        turns=rng.integers(1, 5, 2),
        phase=rng.uniform(0, 2 * np.pi, 2),
    )


def _is_clear(
    size: np.ndarray,
    path: _Path,
    sizes: list[np.ndarray],
    paths: list[_Path],
    frame: np.ndarray,
    step: int,
) -> bool:
    """Return whether an object keeps moving and keeps its distance, at every `step`-th sample."""
    turn = np.arange(0, PATH_SAMPLES, step) / PATH_SAMPLES
    if np.linalg.norm(path.velocity(turn), axis=-1).min() < MIN_SPEED * frame.min():
        return False
    position = path.position(turn)
    return all(
        np.any(
            np.abs(position - other.position(turn)) > (size + other_size) / 2 + MIN_GAP_PX, axis=-1
        ).all()
        for other_size, other in zip(sizes, paths, strict=True)
    )


def _blend(image: np.ndarray, sprite: Sprite, center: np.ndarray) -> None:
    """Draw `sprite` at `center` (x, y) with subpixel accuracy, clipped at the frame."""
    height, width = sprite.opacity.shape
    corner = center - (width / 2, height / 2)
    x, y = (int(v) for v in np.floor(corner))
    # Shift by the fraction of a pixel into a patch one pixel larger: slow objects move smoothly.
    shift = np.array([[1, 0, corner[0] - x], [0, 1, corner[1] - y]])
    patch = (width + 1, height + 1)
    look = cv2.warpAffine(sprite.image, shift, patch, borderMode=cv2.BORDER_REPLICATE)
    cover = cv2.warpAffine(sprite.opacity, shift, patch)
    x0, y0 = max(x, 0), max(y, 0)
    x1, y1 = min(x + patch[0], image.shape[1]), min(y + patch[1], image.shape[0])
    inside = np.s_[y0 - y : y1 - y, x0 - x : x1 - x]
    under = image[y0:y1, x0:x1]
    image[y0:y1, x0:x1] = cv2.blendLinear(look[inside], under, cover[inside], 1 - cover[inside])
