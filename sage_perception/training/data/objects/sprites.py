# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Multi-dSprites-like scenes: flat shapes that occlude each other on a colored background.

After the public Multi-dSprites (Burgess et al., 2019; Kabra et al., 2019): 64×64 pixels, two to
five ellipses, squares and hearts of any color, scale and rotation. Here each shape has a slight
gradient, so that the areas of one color do not solve the set.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from sage_perception.training.data.objects.scene import Layer, Rng, Scene, compose

SIZE = 64
MIN_SPRITES, MAX_SPRITES = 2, 5
MIN_VISIBLE_PX = 40
"""Minimum number of visible pixels of each sprite."""
GRADIENT = 0.18
"""Largest change of the color from the center of a sprite to its edge."""
SHAPES = ('ellipse', 'square', 'heart')


class Sprite(NamedTuple):
    """A shape: its kind, half its size in pixels, rotation in radians, color and gradient."""

    kind: str
    radius: float
    angle: float
    color: np.ndarray
    gradient: np.ndarray


def random_sprite(rng: Rng, smallest: float = 7, largest: float = 14) -> Sprite:
    """Return a sprite of random shape, size, rotation and color."""
    return Sprite(
        SHAPES[rng.integers(len(SHAPES))],
        rng.uniform(smallest, largest),
        rng.uniform(0, 2 * np.pi),
        rng.uniform(0, 1, 3).astype(np.float32),
        rng.uniform(-GRADIENT, GRADIENT, (2, 3)).astype(np.float32),
    )


def draw(sprite: Sprite, center: np.ndarray, size: int, label: int) -> Layer:
    """Return a sprite at `center` (x, y), pixels, as a layer of side `size`."""
    y, x = np.mgrid[0:size, 0:size].astype(np.float32)
    x, y = (x - center[0]) / sprite.radius, (y - center[1]) / sprite.radius
    cosine, sine = np.cos(sprite.angle), np.sin(sprite.angle)
    u, v = cosine * x + sine * y, cosine * y - sine * x
    opacity = np.clip(-distance(sprite.kind, u, v) * sprite.radius + 0.5, 0, 1)
    shade = np.stack((u, v), -1).clip(-1, 1) @ sprite.gradient
    return Layer((sprite.color + shade).astype(np.float32), opacity.astype(np.float32), label)


def distance(kind: str, u: np.ndarray, v: np.ndarray) -> np.ndarray:
    """Return about the signed distance from a shape of radius 1, negative inside."""
    if kind == 'ellipse':
        return np.hypot(u, v / 0.62) - 1
    if kind == 'square':
        return np.maximum(np.abs(u), np.abs(v)) - 0.75
    # A heart: a square standing on its corner with two half disks.
    u = np.abs(u)
    body = (u + np.abs(v - 0.1)) * np.sqrt(0.5) - 0.6
    lobe = np.hypot(u - 0.42, v + 0.32) - 0.6
    return np.minimum(body, lobe)


def sprites(rng: Rng) -> Scene:
    """Return a scene of two to five sprites, each of them visible."""
    while True:
        background = np.full((SIZE, SIZE, 3), rng.uniform(0, 1, 3), np.float32)
        count = int(rng.integers(MIN_SPRITES, MAX_SPRITES + 1))
        layers = [
            draw(random_sprite(rng), rng.uniform(6, SIZE - 6, 2), SIZE, label)
            for label in range(1, count + 1)
        ]
        scene = compose(background, layers)
        if np.bincount(scene.labels.ravel(), minlength=count + 1)[1:].min() >= MIN_VISIBLE_PX:
            return scene
