# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""A synthetic world of moving objects seen by a camera that moves itself, with ground truth.

The world is a seamless tile that repeats in both directions, so that the camera can move without
end. Objects circle inside the cells of a grid on the tile. Layers at different depths move by
different amounts: their parallax is not motion.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, get_args

import cv2
import numpy as np

from sage_perception.core.latent import Roi
from sage_perception.vision.sprites import NoiseBank, Sprite, make_background, make_sprite
from sage_perception.vision.synthetic import TrackedObject

CameraMotion = Literal['pan', 'tilt', 'roll', 'zoom', 'drive']
"""Motion of the camera; 'drive' translates it past layers of different depth."""

TILE = (1280, 960)
"""Width and height of the world's tile, pixels."""
CELLS = (5, 4)
"""Columns and rows of the grid on the tile; one object at most moves in a cell."""
SIDES_PX = (36, 110)
"""Range of the longer side of an object, pixels at scale 1."""
SPEEDS_PX = (1.5, 4.0)
"""Range of the speed of the objects relative to the world, pixels per frame."""
FAR, MIDDLE, NEAR = 0.4, 0.7, 1.0
"""Proximity of the layers when the camera drives: the fraction of its motion that they show."""
MAX_SCALE = 1.7
"""Scale at which a zoom or a drive reverses; it starts at 1."""
BUSHES, POSTS = 4, 3
"""Number of still objects in the middle and in the near layer when the camera drives."""


@dataclass(frozen=True)
class _Body:
    """A sprite in the world: it circles with `radius` around `center` at `rate` rad per frame."""

    sprite: Sprite
    proximity: float
    center: np.ndarray
    radius: float = 0.0
    rate: float = 0.0
    phase: float = 0.0

    def position(self, index: float) -> np.ndarray:
        """Return the position `[2]` on the tile in frame `index`, pixels."""
        angle = self.rate * index + self.phase
        return self.center + self.radius * np.array([math.cos(angle), math.sin(angle)])

    def velocity(self, index: float) -> np.ndarray:
        """Return the velocity `[2]` relative to the world, pixels per frame."""
        angle = self.rate * index + self.phase
        return self.radius * self.rate * np.array([-math.sin(angle), math.cos(angle)])


class MovingCameraWorld:
    """Textured shapes that circle in a world past which the camera moves.

    The objects always move by 1.5 to 4 pixels per frame relative to the world, whatever the camera
    does. `render` and `truth` are functions of the arguments and the index of the frame.

    Args:
        seed: seed of everything random, 0 or more.
        motion: motion of the camera.
        px: motion of the image, pixels per frame: everywhere for 'pan' and 'tilt', at the left
            border for 'roll' and 'zoom', in the nearest layer for 'drive'. 0 stands still.
        width: width of the frame, 64 to 640 pixels.
        height: height of the frame, 64 to 480 pixels.
        objects: number of moving objects on the tile, which is four frames of 640×480 large.
        noise: standard deviation of the pixel noise, gray levels.

    Raises:
        ValueError: an argument is out of range.
    """

    def __init__(
        self,
        seed: int = 0,
        motion: CameraMotion = 'pan',
        px: float = 4.0,
        width: int = 640,
        height: int = 480,
        objects: int = 10,
        noise: float = 2.0,
    ) -> None:
        if motion not in get_args(CameraMotion):
            raise ValueError(
                f'motion is {motion!r}; it must be one of {", ".join(get_args(CameraMotion))}'
            )
        cells = CELLS[0] * CELLS[1]
        for name, value, low, high in (
            ('px', px, 0, 64),
            ('width', width, 64, TILE[0] // 2),
            ('height', height, 64, TILE[1] // 2),
            ('objects', objects, 0, cells),
            ('noise', noise, 0, 64),
            ('seed', seed, 0, math.inf),
        ):
            if not low <= value <= high:
                raise ValueError(f'{name} is {value}; it must be in [{low}, {high}]')
        self.seed, self.width, self.height = seed, width, height
        self._motion, self._px = motion, px
        rng = np.random.default_rng(seed)
        self._tile = make_background(rng, *TILE, wrap=True)
        self._moving = [
            _moving_body(rng, cell, number, MIDDLE if motion == 'drive' else 1.0)
            for number, cell in enumerate(rng.permutation(cells)[:objects])
        ]
        self._still = _still(rng) if motion == 'drive' else []
        self._noise = NoiseBank(rng, width, height, noise) if noise else None

    def render(self, index: int) -> np.ndarray:
        """Return frame `index`, uint8 `[H, W, 3]` in BGR order."""
        far = FAR if self._motion == 'drive' else 1.0
        offset, spin, scale = self._pose(index, far)
        center = np.array([self.width / 2, self.height / 2])
        linear = _rotation(spin, scale)
        matrix = np.column_stack([linear, center - linear @ np.mod(offset, TILE)])
        image = cv2.warpAffine(
            self._tile, matrix, (self.width, self.height), borderMode=cv2.BORDER_WRAP
        )
        for body in sorted([*self._still, *self._moving], key=lambda body: body.proximity):
            place = self._place(body, index)
            if place:
                window, look, cover = place
                under = image[window]
                under[:] = cv2.blendLinear(look, under.copy(), cover, 1 - cover)
        if self._noise:
            self._noise.add(image, np.random.default_rng((self.seed, index)))
        return image

    def truth(self, index: int) -> list[TrackedObject]:
        """Return the moving objects that are in frame `index`, in the order of their ids.

        The region of an object is the bounding box of its visible part, its velocity is relative
        to the world, pixels per frame; `visible` is the fraction that is neither outside of the
        frame nor behind a nearer still object.
        """
        hidden = np.zeros((self.height, self.width), bool)
        for body in self._still:
            place = self._place(body, index) if body.proximity > MIDDLE else None
            if place:
                hidden[place[0]] |= place[2] > 0.5
        found = []
        for number, body in enumerate(self._moving, 1):
            place = self._place(body, index)
            if not place:
                continue
            window, _, cover = place
            shown = (cover > 0.5) & ~hidden[window]
            if not shown.any():
                continue
            rows, columns = np.flatnonzero(shown.any(axis=1)), np.flatnonzero(shown.any(axis=0))
            roi = Roi(
                window[1].start + int(columns[0]),
                window[0].start + int(rows[0]),
                int(columns[-1] - columns[0]) + 1,
                int(rows[-1] - rows[0]) + 1,
            )
            _, spin, scale = self._pose(index, body.proximity)
            total = float((body.sprite.opacity > 0.5).sum()) * scale**2
            velocity = _rotation(spin, scale) @ body.velocity(index)
            visible = min(float(shown.sum()) / total, 1.0)
            found.append(
                TrackedObject(number, roi, (float(velocity[0]), float(velocity[1])), visible)
            )
        return found

    def _pose(self, index: float, proximity: float) -> tuple[np.ndarray, float, float]:
        """Return the position `[2]` on the tile, rotation (rad) and scale of a layer."""
        way = self._px * index
        offset, spin, scale = np.array([TILE[0] / 2, TILE[1] / 2]), 0.0, 1.0
        half = self.width / 2
        if self._motion == 'pan':
            offset[0] += way
        elif self._motion == 'tilt':
            offset[1] += way
        elif self._motion == 'roll':
            spin = way / half
        elif self._motion == 'zoom':
            scale = _bounce(way / half)
        else:
            offset[0] += proximity * way
            # All layers turn at the same time: the near ones are enlarged more.
            scale = _bounce(0.3 * way / half) ** proximity
        return offset, spin, scale

    def _place(
        self, body: _Body, index: float
    ) -> tuple[tuple[slice, slice], np.ndarray, np.ndarray] | None:
        """Return window (rows, columns), appearance and opacity of `body` in the frame."""
        offset, spin, scale = self._pose(index, body.proximity)
        tile = np.array(TILE, float)
        away = np.mod(body.position(index) - offset + tile / 2, tile) - tile / 2
        linear = _rotation(spin, scale)
        height, width = body.sprite.opacity.shape
        center = linear @ away + (self.width / 2, self.height / 2)
        reach = np.abs(linear) @ (width / 2, height / 2) + 1
        low = np.maximum(np.floor(center - reach), 0).astype(int)
        high = np.minimum(np.ceil(center + reach), (self.width, self.height)).astype(int)
        if np.any(high <= low):
            return None
        shift = center - linear @ (width / 2, height / 2) - low
        matrix = np.column_stack([linear, shift])
        size = (int(high[0] - low[0]), int(high[1] - low[1]))
        look = cv2.warpAffine(body.sprite.image, matrix, size, borderMode=cv2.BORDER_REPLICATE)
        cover = cv2.warpAffine(body.sprite.opacity, matrix, size)
        window = (slice(int(low[1]), int(high[1])), slice(int(low[0]), int(high[0])))
        return window, look, cover


def _moving_body(rng: np.random.Generator, cell: int, number: int, proximity: float) -> _Body:
    """Return an object that circles inside of cell number `cell`."""
    side = np.array(TILE) / CELLS
    size = rng.uniform(*SIDES_PX) * np.array([1.0, rng.uniform(0.6, 1.0)])
    if rng.random() < 0.5:
        size = size[::-1]
    center = (np.array([cell % CELLS[0], cell // CELLS[0]]) + 0.5) * side
    radius = (side.min() - size.max()) / 2 - 8
    rate = rng.uniform(*SPEEDS_PX) / radius * rng.choice([-1, 1])
    sprite = make_sprite(rng, size, number)
    return _Body(sprite, proximity, center, radius, rate, rng.uniform(0, 2 * np.pi))


def _still(rng: np.random.Generator) -> list[_Body]:
    """Return still objects of the middle and the near layer."""
    bodies = []
    for number in range(BUSHES + POSTS):
        bush = number < BUSHES
        size = np.array([rng.uniform(80, 160)] * 2 if bush else [rng.uniform(24, 48), 420])
        width, height = (int(v) for v in size)
        look = make_background(rng, width, height) // 2 + (20 if bush else 90)
        opacity = make_sprite(rng, size, 0 if bush else 1).opacity
        place = rng.uniform((0, 0), TILE)
        sprite = Sprite(look.astype(np.uint8), opacity)
        bodies.append(_Body(sprite, MIDDLE if bush else NEAR, place))
    return bodies


def _rotation(angle: float, scale: float) -> np.ndarray:
    """Return the matrix `[2, 2]` of a rotation by `angle`, rad, and a scale."""
    c, s = scale * math.cos(angle), scale * math.sin(angle)
    return np.array([[c, -s], [s, c]])


def _bounce(growth: float) -> float:
    """Return a scale that starts at 1, grows exponentially to `MAX_SCALE`, shrinks, and so on."""
    top = math.log(MAX_SCALE)
    return math.exp(top - abs(growth % (2 * top) - top))
