# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Videos of rendered objects that tumble over a checkered ground, seen from all sides.

Each object consists of one to four boxes, cylinders and ellipsoids of one color. Its silhouette,
its shading and what is behind it change from frame to frame, and only the object stays the same.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy.spatial.transform import Rotation

from sage_perception.training.data.objects.rendered import rays
from sage_perception.training.data.objects.scene import Rng, Scene

SIZE, FRAMES = 128, 4
MIN_OBJECTS, MAX_OBJECTS, MAX_PARTS = 3, 5, 4
SHAPES = ('box', 'cylinder', 'ellipsoid')
REACH = 1.9
"""Largest distance of a surface from the center of its object, in the object's sizes."""
TARGET = np.array([0.0, 0.0, 0.3])
DISTANCE, HEIGHTS, FOCAL = 4.0, (3.0, 5.0), (2.6, 4.6)
AMBIENT, SKY = 0.45, 0.8


class Part(NamedTuple):
    """A part of an object: its shape, center `[3]`, rotation `[3, 3]` and half axes `[3]`."""

    shape: str
    center: np.ndarray
    turn: np.ndarray
    half: np.ndarray


class Body(NamedTuple):
    """An object: its parts in units of its `size`, and its color, RGB in [0, 1]."""

    parts: list[Part]
    color: np.ndarray
    size: float


class Pose(NamedTuple):
    """Where an object is, `[3]`, and how it is turned, `[3, 3]`."""

    center: np.ndarray
    turn: np.ndarray


def tumbling(rng: Rng) -> Scene:
    """Return a video of `FRAMES` frames, `SIZE` pixels a side, of three to five objects."""
    count = int(rng.integers(MIN_OBJECTS, MAX_OBJECTS + 1))
    bodies = [random_body(rng) for _ in range(count)]
    angle = rng.uniform(0, 2 * np.pi)
    camera = np.array([*(DISTANCE * np.array([np.cos(angle), np.sin(angle)])),
                       rng.uniform(*HEIGHTS)])  # fmt: skip
    ray = rays(SIZE, camera, TARGET, rng.uniform(*FOCAL))
    first = rng.uniform(0.05, 0.95, 3)
    tiles = np.stack((first, (first + rng.normal(0, 0.25, 3)).clip(0, 1)))
    tile = rng.uniform(0.8, 3)
    light = np.array([*rng.uniform(-4, 4, 2), rng.uniform(4, 8)])
    step = rng.uniform(1.5, 4)  # how much happens between two frames
    axes = rng.standard_normal((count, 3))
    axes *= step * rng.uniform(0.15, 0.5, (count, 1)) / np.linalg.norm(axes, axis=1)[:, None]
    turns = [_random_turn(rng) for _ in bodies]
    starts = np.column_stack([rng.uniform(-1.3, 1.3, (count, 2)), rng.uniform(0.4, 1, count)])
    speeds = step * rng.normal(0, (0.05, 0.05, 0.015), (count, 3))
    frames = []
    for frame in range(FRAMES):
        centers = np.maximum(starts + frame * speeds, (-np.inf, -np.inf, 0.2))
        poses = [
            Pose(center, Rotation.from_rotvec(frame * axis).as_matrix() @ turn)
            for center, axis, turn in zip(centers, axes, turns, strict=True)
        ]
        frames.append(_render(bodies, poses, camera, ray, light, tiles, tile))
    images, labels = zip(*frames, strict=True)
    return Scene(np.stack(images), np.stack(labels))


def random_body(rng: Rng) -> Body:
    """Return an object of random parts and color."""
    parts = []
    for number in range(int(rng.integers(1, MAX_PARTS + 1))):
        half = rng.uniform(0.18, 0.9, 3) * rng.uniform(0.5, 1)
        center = rng.uniform(-0.7, 0.7, 3) if number else np.zeros(3)
        turn = _random_turn(rng) if rng.random() < 0.5 else np.eye(3)
        parts.append(Part(SHAPES[rng.integers(len(SHAPES))], center, turn, half))
    return Body(parts, rng.uniform(0.02, 1, 3), rng.uniform(0.4, 0.75))


def _random_turn(rng: Rng) -> np.ndarray:
    """Return a random rotation `[3, 3]`, all equally likely."""
    turn: np.ndarray = Rotation.from_quat(rng.standard_normal(4)).as_matrix()
    return turn


def _render(
    bodies: list[Body],
    poses: list[Pose],
    camera: np.ndarray,
    ray: np.ndarray,
    light: np.ndarray,
    tiles: np.ndarray,
    tile: float,
) -> tuple[np.ndarray, np.ndarray]:
    """Return an image and its labels; `tiles` `[2, 3]` are the colors of the ground."""
    depth, label, normal = _cast(bodies, poses, camera, ray)
    ground = np.where(ray[:, 2] < 0, -camera[2] / np.minimum(ray[:, 2], -1e-9), np.inf)
    below = ground < depth
    depth = np.minimum(depth, ground)
    label[below], normal[below] = 0, (0, 0, 1)
    sky = ~np.isfinite(depth)
    point = camera + np.where(sky, 0, depth)[:, None] * ray
    to_light = light - point
    to_light /= np.linalg.norm(to_light, axis=1, keepdims=True)
    facing = np.clip((normal * to_light).sum(1), 0, 1)
    color = np.stack((np.zeros(3), *(body.color for body in bodies)))[label]
    cells = np.floor(point[:, :2] / tile).sum(1).astype(int) % 2
    color[label == 0] = tiles[cells[label == 0]]
    image = color * (AMBIENT + (1 - AMBIENT) * facing)[:, None]
    image[sky] = SKY
    pixels = (image.clip(0, 1) * 255 + 0.5).astype(np.uint8)
    return pixels.reshape(SIZE, SIZE, 3), label.reshape(SIZE, SIZE)


def _cast(
    bodies: list[Body], poses: list[Pose], origin: np.ndarray, ray: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the distance, label and normal of what each ray hits first, infinite for nothing."""
    depth, label = np.full(len(ray), np.inf), np.zeros(len(ray), np.uint8)
    normal = np.zeros((len(ray), 3))
    for number, (body, pose) in enumerate(zip(bodies, poses, strict=True), 1):
        away = origin - pose.center
        along = ray @ away
        near = np.flatnonzero(along**2 > away @ away - (REACH * body.size) ** 2)
        for part in body.parts:
            turn, half = pose.turn @ part.turn, part.half * body.size
            start = (away - pose.turn @ part.center * body.size) @ turn / half
            t, n = _hit(part.shape, start, ray[near] @ turn / half)
            t = np.where(np.isfinite(t) & (t > 1e-4), t, np.inf)
            n = (n / half) @ turn.T
            closer = t < depth[near]
            rows = near[closer]
            depth[rows], label[rows] = t[closer], number
            normal[rows] = n[closer] / np.linalg.norm(n[closer], axis=1, keepdims=True)
    return depth, label, normal


def _hit(shape: str, o: np.ndarray, d: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return distances and normals on the unit shape, of rays from `o` `[3]` along `d` `[N, 3]`.

    Distances are in lengths of `d`, and not finite for a miss.
    """
    with np.errstate(divide='ignore', invalid='ignore'):
        if shape == 'box':
            first, second = (-1 - o) / d, (1 - o) / d
            near, far = np.fmin(first, second), np.fmax(first, second)
            rows, axis = np.arange(len(d)), near.argmax(1)
            t, normal = near[rows, axis], np.zeros_like(d)
            normal[rows, axis] = -np.sign(d[rows, axis])
            return np.where(t <= far.min(1), t, np.inf), normal
        dims = 3 if shape == 'ellipsoid' else 2
        a, b = (d[:, :dims] ** 2).sum(1), d[:, :dims] @ o[:dims]
        root = b * b - a * (o[:dims] @ o[:dims] - 1)
        t = np.where(root >= 0, (-b - np.sqrt(np.maximum(root, 0))) / a, np.inf)
        if shape == 'ellipsoid':
            return t, o + np.where(np.isfinite(t), t, 0)[:, None] * d
        side = np.where(np.abs(o[2] + t * d[:, 2]) <= 1, t, np.inf)
        end = np.where(d[:, 2] < 0, 1.0, -1.0)
        cap = (end - o[2]) / d[:, 2]
        inside = ((o[:2] + cap[:, None] * d[:, :2]) ** 2).sum(1) <= 1
        cap = np.where(inside, cap, np.inf)
        t = np.minimum(side, cap)
        normal = (o + np.where(np.isfinite(t), t, 0)[:, None] * d) * (1, 1, 0)
        capped = cap < side
        normal[capped] = 0
        normal[capped, 2] = end[capped]
        return t, normal
