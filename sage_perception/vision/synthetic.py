# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""A small world of textured moving shapes whose ground truth is known at every instant.

Everything is a function of the seed and of the time: two processes that render the same world at
the same instant get the same image, and a test knows where each object is.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np

from sage_perception.core.latent import Roi

MIN_SIDE_PX, MAX_ABS = 32, 140  # px, the longer side of an object
GAP = 24  # px that at least lie between two objects; more than they approach between PATH_SAMPLES
OVERHANG = 0.25  # part of an object's extent by which its path may leave the frame
PATH_SAMPLES = 960  # instants of a period at which paths are checked
PATH_ATTEMPTS = 1000  # candidates drawn before all is drawn again, smaller
CROWDINGS = 10  # times that this is tried
SLOWEST = 0.5  # part of the frame's shorter side that an object moves in a period at least
NOISE_SHIFT = 64  # px by which the bank of noise exceeds the frame in each direction
MAX_SIDE = 4096  # px, of a frame


@dataclass(frozen=True)
class TrackedObject:
    """Where one object is at one instant.

    `roi` bounds the part inside the frame. `velocity` is that of the center, pixels a second (x to
    the right, y down). `visible` is the part of the object's bounding box that lies inside the
    frame, in [0, 1]; objects never cover each other.
    """

    id: int
    roi: Roi
    velocity: tuple[float, float]
    visible: float


@dataclass(frozen=True)
class _Path:
    """A Lissajous figure: a smooth closed curve, run through once a period."""

    center: np.ndarray  # [2] x, y, px
    amplitude: np.ndarray  # [2] px
    turns: np.ndarray  # [2] oscillations a period, whole numbers so that the curve closes
    phase: np.ndarray  # [2] rad

    def position(self, turn: np.ndarray) -> np.ndarray:
        """Return [..., 2] px at `turn` [...], in periods."""
        angle = 2 * np.pi * self.turns * np.asarray(turn)[..., None] + self.phase
        return self.center + self.amplitude * np.sin(angle)

    def velocity(self, turn: np.ndarray) -> np.ndarray:
        """Return [..., 2] px a period."""
        rate = 2 * np.pi * self.turns
        return self.amplitude * rate * np.cos(rate * np.asarray(turn)[..., None] + self.phase)


@dataclass(frozen=True)
class _Sprite:
    """The look of an object: image uint8 [h, w, 3] and coverage float32 [h, w] in [0, 1]."""

    picture: np.ndarray
    coverage: np.ndarray


class SyntheticWorld:
    """Textured shapes on smooth closed paths over a textured, static background.

    Objects are 32 to 140 pixels long (disks, rectangles, ellipses), keep apart from each other,
    never stand still, and overhang the frame's edge by a quarter of their size at most.

    `period_s` is the time after which the motion repeats, seconds. `background` is 'textured' or
    'plain' (mid gray). `noise` is the standard deviation of the pixel noise in gray levels.
    `flicker` in [0, 1] disturbs the image without motion: the brightness swings by that factor,
    and rain-like bright streaks fall, 400 of them a frame at 1.

    Raises ValueError for a parameter out of range, and where the objects find no room.
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
    ):
        _check(seed >= 0, 'seed', seed, 'at least 0')
        _check(MIN_SIDE_PX <= width <= MAX_SIDE, 'width', width, f'in [{MIN_SIDE_PX}, {MAX_SIDE}]')
        _check(
            MIN_SIDE_PX <= height <= MAX_SIDE, 'height', height, f'in [{MIN_SIDE_PX}, {MAX_SIDE}]'
        )
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
        self._background = _background(rng, width, height, background)
        sizes, self._paths = _place(rng, np.array([width, height], float), objects)
        self._sprites = [_sprite(rng, size, number) for number, size in enumerate(sizes)]
        self._noise = _noise_bank(rng, width, height, noise) if noise else None

    def render(self, t: float, frame_noise_seed: int | None = None) -> np.ndarray:
        """Return the image at `t` seconds, a new uint8 [H, W, 3] in the order BGR.

        `frame_noise_seed`, usually the frame's index, draws what differs from frame to frame at
        random (pixel noise and streaks); None leaves it out.
        """
        picture = self._background.copy()
        for sprite, center in zip(self._sprites, self._centers(t), strict=True):
            _blend(picture, sprite, center)
        if self.flicker:
            # A slow drift (clouds, auto-exposure) and the fast beat of lamps against the shutter.
            swing = 0.6 * math.sin(2 * math.pi * 0.7 * t) + 0.4 * math.sin(2 * math.pi * 8.3 * t)
            cv2.convertScaleAbs(picture, picture, 1 + self.flicker * swing)
        if frame_noise_seed is not None:
            rng = np.random.default_rng((self.seed, frame_noise_seed))
            self._rain(picture, rng)
            self._add_noise(picture, rng)
        return picture

    def truth(self, t: float) -> list[TrackedObject]:
        """Return where the objects are at `t` seconds; ids count from 1."""
        turn = (t / self.period_s) % 1.0
        found = []
        for number, (sprite, path) in enumerate(zip(self._sprites, self._paths, strict=True), 1):
            height, width = sprite.coverage.shape
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

    def _rain(self, picture: np.ndarray, rng) -> None:
        for _ in range(round(400 * self.flicker)):
            x, y = int(rng.integers(self.width)), int(rng.integers(self.height))
            length, gray = int(rng.integers(5, 14)), int(rng.integers(170, 250))
            cv2.line(picture, (x, y), (x + length // 4, y + length), (gray, gray, gray), 1)

    def _add_noise(self, picture: np.ndarray, rng) -> None:
        if self._noise is None:
            return
        x, y = rng.integers(0, NOISE_SHIFT, 2)
        above, below = (part[y : y + self.height, x : x + self.width] for part in self._noise)
        cv2.add(picture, above, picture)
        cv2.subtract(picture, below, picture)


def _check(ok: bool, name: str, value: object, allowed: str) -> None:
    if not ok:
        raise ValueError(f'{name}={value} is not allowed; it must be {allowed}')


def _place(rng, frame: np.ndarray, objects: int) -> tuple[list[np.ndarray], list[_Path]]:
    """Draw a size [2] and a path for each object so that none ever come close to each other.

    `frame` is [width, height]. Where they do not all fit, all is drawn again, smaller.
    """
    for crowding in range(CROWDINGS):
        sizes: list[np.ndarray] = []
        paths: list[_Path] = []
        for _ in range(PATH_ATTEMPTS):
            if len(paths) == objects:
                return sizes, paths
            size, path = _candidate(rng, frame, scale=0.85**crowding)
            # A coarse look rejects most of them cheaply.
            if all(_is_clear(size, path, sizes, paths, frame, step) for step in (16, 1)):
                sizes.append(size)
                paths.append(path)
    raise ValueError(
        f'objects={objects} is not allowed: they find no room in {frame[0]:.0f}x{frame[1]:.0f} '
        'pixels; it must be fewer'
    )


def _candidate(rng, frame: np.ndarray, scale: float) -> tuple[np.ndarray, _Path]:
    largest = max(min(MAX_ABS, frame.min() / 3) * scale, MIN_SIDE_PX)
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


def _is_clear(size, path, sizes, paths, frame, step: int) -> bool:
    """Whether the object keeps moving and keeps its distance, at every `step`-th sample."""
    turn = np.arange(0, PATH_SAMPLES, step) / PATH_SAMPLES
    if np.linalg.norm(path.velocity(turn), axis=-1).min() < SLOWEST * frame.min():
        return False
    position = path.position(turn)
    return all(
        np.any(
            np.abs(position - other.position(turn)) > (size + other_size) / 2 + GAP, axis=-1
        ).all()
        for other_size, other in zip(sizes, paths, strict=True)
    )


def _clouds(rng, width: int, height: int, cell: int) -> np.ndarray:
    """Return smooth random values, float32 [height, width], mean 0, about ±1."""
    coarse = rng.standard_normal((height // cell + 2, width // cell + 2)).astype(np.float32)
    return cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)


def _background(rng, width: int, height: int, kind: str) -> np.ndarray:
    if kind == 'plain':
        return np.full((height, width, 3), 128, np.uint8)
    relief = sum(_clouds(rng, width, height, cell) * cell**0.5 for cell in (4, 16, 64))
    tint = rng.uniform(0.8, 1.2, 3) * (100 + 3.0 * relief)[..., None]
    return np.clip(tint, 10, 245).astype(np.uint8)


def _sprite(rng, size: np.ndarray, identity: int) -> _Sprite:
    width, height = (int(side) for side in size)
    # Hues a golden angle apart: neighbors in number differ most.
    hue = int((identity * 0.618 + rng.uniform(0, 0.1)) % 1 * 180)
    light = (np.uint8([[[hue, 200, 235]]]), np.uint8([[[(hue + 30) % 180, 160, 70]]]))
    first, second = (cv2.cvtColor(c, cv2.COLOR_HSV2BGR)[0, 0].astype(np.float32) for c in light)
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    angle, pitch = rng.uniform(0, np.pi), rng.uniform(8, 20)
    stripes = np.sin(2 * np.pi * (x * np.cos(angle) + y * np.sin(angle)) / pitch)
    mix = np.clip(0.5 + 0.4 * stripes + 0.25 * _clouds(rng, width, height, 6), 0, 1)[..., None]
    picture = np.clip(first * mix + second * (1 - mix), 0, 255).astype(np.uint8)
    coverage = np.ones((height, width), np.float32)
    if (
        identity % 3 != 1
    ):  # ellipses (disks, where the sides are equal) and every third a rectangle
        radius = np.hypot((x + 0.5) / width - 0.5, (y + 0.5) / height - 0.5) * 2
        coverage = np.clip((1 - radius) * min(width, height) / 2 + 0.5, 0, 1)
    return _Sprite(picture, coverage.astype(np.float32))


def _blend(picture: np.ndarray, sprite: _Sprite, center: np.ndarray) -> None:
    """Draw `sprite` around `center` (x, y, fractions of a pixel count), clipped by the frame."""
    height, width = sprite.coverage.shape
    corner = center - (width / 2, height / 2)
    x, y = (int(v) for v in np.floor(corner))
    # Sub-pixel shift into a patch one pixel larger: slow objects glide instead of stepping.
    shift = np.array([[1, 0, corner[0] - x], [0, 1, corner[1] - y]])
    patch = (width + 1, height + 1)
    look = cv2.warpAffine(sprite.picture, shift, patch, borderMode=cv2.BORDER_REPLICATE)
    cover = cv2.warpAffine(sprite.coverage, shift, patch)
    x0, y0 = max(x, 0), max(y, 0)
    x1, y1 = min(x + patch[0], picture.shape[1]), min(y + patch[1], picture.shape[0])
    inside = np.s_[y0 - y : y1 - y, x0 - x : x1 - x]
    under = picture[y0:y1, x0:x1]
    picture[y0:y1, x0:x1] = cv2.blendLinear(look[inside], under, cover[inside], 1 - cover[inside])


def _noise_bank(rng, width: int, height: int, deviation: float) -> tuple[np.ndarray, np.ndarray]:
    """Return what noise adds and what it takes, uint8 [H + shift, W + shift, 3] each.

    Drawing a million normal numbers a frame would cost more than all else; a frame takes a window
    of this bank at a random place instead.
    """
    shape = (height + NOISE_SHIFT, width + NOISE_SHIFT, 3)
    values = np.round(deviation * rng.standard_normal(shape, np.float32))
    return np.maximum(values, 0).astype(np.uint8), np.maximum(-values, 0).astype(np.uint8)
