# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Videos of moving objects that occlude each other, with the same label in all frames."""

from __future__ import annotations

import numpy as np

from sage_perception.training.data.objects.rendered import random_light, random_solids, render
from sage_perception.training.data.objects.scene import Layer, Rng, Scene, compose
from sage_perception.training.data.objects.sprites import draw, random_sprite
from sage_perception.vision.sprites import clouds

FRAMES = 24
SIZE = 64
MIN_SPRITES, MAX_SPRITES = 2, 4
MAX_SPEED = 2.2
"""Largest speed of a sprite, pixels per frame."""
BAR_SHARE = 0.5
"""Share of the videos with a bar that hides what passes behind it."""
BAR_WIDTH = (14, 22)
OCCLUDED_FRAMES, HIDDEN_FRAMES = 52, 12
MIN_CONTRAST = 0.4
"""Least distance in RGB of the color of the hidden sprite from the background and from the bar."""


def moving_sprites(rng: Rng) -> Scene:
    """Return a video of sprites that cross a textured background, bounce, and pass behind a bar.

    The bar belongs to the background: it does not move.
    """
    texture = 0.06 * clouds(rng, SIZE, SIZE, 8)[..., None]
    background = (rng.uniform(0.15, 0.85, 3) + texture).astype(np.float32)
    count = int(rng.integers(MIN_SPRITES, MAX_SPRITES + 1))
    sprites = [random_sprite(rng, 6, 11) for _ in range(count)]
    starts = rng.uniform(8, SIZE - 8, (count, 2))
    speed = rng.uniform(0.6, MAX_SPEED, count)
    angle = rng.uniform(0, 2 * np.pi, count)
    steps = speed[:, None] * np.stack((np.cos(angle), np.sin(angle)), 1)
    bar = _bar(rng) if rng.random() < BAR_SHARE else None
    frames = []
    for frame in range(FRAMES):
        centers = _bounce(starts + frame * steps, 4, SIZE - 4)
        layers = [
            draw(sprite, center, SIZE, label)
            for label, (sprite, center) in enumerate(zip(sprites, centers, strict=True), 1)
        ]
        frames.append(compose(background, [*layers, *([bar] if bar else [])]))
    return _video(frames)


def occluded_sprites(rng: Rng) -> Scene:
    """Return a video of `OCCLUDED_FRAMES` frames in which a wide bar hides object 1 for twelve.

    Object 1 crosses the image behind the bar, and is whole for about eight frames before and after
    it; its color differs from what is behind and before it. One or two others move above and
    below it.
    """
    texture = 0.06 * clouds(rng, SIZE, SIZE, 8)[..., None]
    base, cover = rng.uniform(0.15, 0.85, 3), rng.uniform(0, 1, 3)
    background = (base + texture).astype(np.float32)
    radius, speed = rng.uniform(4.5, 5.5), rng.uniform(1.0, 1.1)
    sprites = [random_sprite(rng, radius, radius)]
    while min(np.linalg.norm(sprites[0].color - c) for c in (base, cover)) < MIN_CONTRAST:
        sprites = [random_sprite(rng, radius, radius)]
    row = rng.uniform(26, 38)
    for _ in range(int(rng.integers(1, 3))):
        sprites.append(random_sprite(rng, 6, 9))
    heights = (row, *rng.permutation((9, 55)))
    rates = (speed, *rng.uniform(-1, 1, 2))
    starts = (radius + 1, *rng.uniform(10, SIZE - 10, 2))
    shown = draw(sprites[0], np.array([SIZE / 2, row]), SIZE, 1).opacity.max(0) >= 0.5
    width = int(np.count_nonzero(shown) + HIDDEN_FRAMES * speed + 1)
    left = (SIZE - width) // 2
    opacity = np.zeros((SIZE, SIZE), np.float32)
    opacity[round(row) - 10 : round(row) + 11, left : left + width] = 1
    bar = Layer(cover.astype(np.float32), opacity, 0)
    mirrored = rng.random() < 0.5
    frames = []
    for frame in range(OCCLUDED_FRAMES):
        layers = []
        for label, sprite in enumerate(sprites, 1):
            x = starts[label - 1] + rates[label - 1] * frame
            center = np.array([_bounce(np.array(x), 4, SIZE - 4), heights[label - 1]])
            layers.append(draw(sprite, center, SIZE, label))
        scene = compose(background, [*layers, bar])
        frames.append(Scene(*(part[:, ::-1] for part in scene)) if mirrored else scene)
    return _video(frames)


def _bar(rng: Rng) -> Layer:
    """Return a vertical bar in front of everything."""
    width = int(rng.integers(*BAR_WIDTH))
    left = int(rng.integers(10, SIZE - 10 - width))
    opacity = np.zeros((SIZE, SIZE), np.float32)
    opacity[:, left : left + width] = 1
    return Layer(rng.uniform(0, 1, 3).astype(np.float32), opacity, 0)


def _bounce(position: np.ndarray, low: float, high: float) -> np.ndarray:
    """Reflect positions at the borders `low` and `high`."""
    span = high - low
    folded = np.abs((position - low) % (2 * span) - span)
    return high - folded


def moving_solids(rng: Rng, size: int = SIZE) -> Scene:
    """Return a video of rendered objects that slide over the ground on small circles."""
    solids, light = random_solids(rng), random_light(rng)
    radii, phases = rng.uniform(0.1, 0.5, len(solids)), rng.uniform(0, 2 * np.pi, len(solids))
    rates = rng.choice((-1, 1), len(solids)) * rng.uniform(0.08, 0.25, len(solids))
    frames = []
    for frame in range(FRAMES):
        moved = []
        for solid, radius, phase, rate in zip(solids, radii, phases, rates, strict=True):
            angle = phase + rate * frame
            offset = radius * np.array([np.cos(angle), np.sin(angle), 0])
            moved.append(solid._replace(center=solid.center + offset, angle=solid.angle + angle))
        frames.append(render(moved, light, size))
    return _video(frames)


def _video(frames: list[Scene]) -> Scene:
    images, labels = zip(*frames, strict=True)
    return Scene(np.stack(images), np.stack(labels))
