# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""CLEVR-like scenes: spheres, cylinders and cubes on a gray plane, rendered by ray casting.

After the public CLEVR6 (Johnson et al., 2017; Kabra et al., 2019): three to six objects of two
sizes, three shapes, eight colors and two materials, with a light that casts shadows.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from sage_perception.training.data.objects.scene import Rng, Scene

MIN_OBJECTS, MAX_OBJECTS = 3, 6
MIN_VISIBLE_PX = 12
"""Minimum number of visible pixels of an object at a side of 64 pixels."""
SIZES = (0.35, 0.7)
SHAPES = ('sphere', 'cylinder', 'cube')
COLORS = np.array(
    [
        (87, 87, 87),
        (173, 35, 35),
        (42, 75, 215),
        (29, 105, 20),
        (129, 74, 25),
        (129, 38, 192),
        (41, 208, 208),
        (255, 238, 51),
    ],
    np.float32,
) / 255  # fmt: skip
CAMERA = np.array([0.0, -6.5, 4.2])
TARGET = np.array([0.0, 0.3, 0.3])
FOCAL = 2.2
GROUND = 0.45
AMBIENT = 0.35


class Solid(NamedTuple):
    """An object that stands on the plane z = 0.

    Attributes:
        shape: one of `SHAPES`.
        center: `[3]`, of its volume.
        size: radius, or half the side of a cube.
        angle: rotation about the vertical, radians.
        color: `[3]`, RGB in [0, 1].
        shiny: whether it has a highlight.

    """

    shape: str
    center: np.ndarray
    size: float
    angle: float
    color: np.ndarray
    shiny: bool


def random_solid(rng: Rng) -> Solid:
    """Return a random object somewhere in the view."""
    size = SIZES[rng.integers(len(SIZES))]
    x, y = rng.uniform((-2.4, -1.8), (2.4, 2.4))
    return Solid(
        SHAPES[rng.integers(len(SHAPES))],
        np.array([x, y, size]),
        size,
        rng.uniform(0, np.pi / 2),
        COLORS[rng.integers(len(COLORS))],
        bool(rng.random() < 0.5),
    )


def random_solids(rng: Rng) -> list[Solid]:
    """Return three to six objects that do not intersect."""
    count = int(rng.integers(MIN_OBJECTS, MAX_OBJECTS + 1))
    solids: list[Solid] = []
    while len(solids) < count:
        new = random_solid(rng)
        if all(
            np.linalg.norm((new.center - old.center)[:2]) > 1.25 * (new.size + old.size)
            for old in solids
        ):
            solids.append(new)
    return solids


def rays(
    size: int, camera: np.ndarray = CAMERA, target: np.ndarray = TARGET, focal: float = FOCAL
) -> np.ndarray:
    """Return unit directions of the pixels, `[size², 3]`, of a camera that looks at `target`."""
    forward = (target - camera) / np.linalg.norm(target - camera)
    right = np.cross(forward, (0, 0, 1))
    right /= np.linalg.norm(right)
    down = np.cross(forward, right)
    line = (np.arange(size) + 0.5) / size * 2 - 1
    v, u = np.meshgrid(line, line, indexing='ij')
    directions = focal * forward + u[..., None] * right + v[..., None] * down
    directions = directions.reshape(-1, 3)
    return directions / np.linalg.norm(directions, axis=1, keepdims=True)


def intersect(solid: Solid, origin: np.ndarray, ray: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return distances `[N]`, infinite for a miss, and unit normals `[N, 3]` of rays.

    `origin` is `[3]` or `[N, 3]`, `ray` unit directions `[N, 3]`.
    """
    cosine, sine = np.cos(solid.angle), np.sin(solid.angle)
    turn = np.array([[cosine, sine, 0], [-sine, cosine, 0], [0, 0, 1]])
    o = np.broadcast_to((origin - solid.center) @ turn.T / solid.size, ray.shape)
    d = ray @ turn.T
    with np.errstate(divide='ignore', invalid='ignore'):
        t, normal = _UNIT[solid.shape](o, d)
    t = np.where(np.isfinite(t) & (t > 1e-4), t * solid.size, np.inf)
    return t, normal @ turn


def _sphere(o: np.ndarray, d: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    b = (o * d).sum(1)
    root = b * b - (o * o).sum(1) + 1
    t = np.where(root >= 0, -b - np.sqrt(np.maximum(root, 0)), np.inf)
    return t, o + np.where(np.isfinite(t), t, 0)[:, None] * d


def _cube(o: np.ndarray, d: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    first, second = (-1 - o) / d, (1 - o) / d
    near, far = np.minimum(first, second), np.maximum(first, second)
    axis = np.nanargmax(np.where(np.isnan(near), -np.inf, near), 1)
    t = near[np.arange(len(o)), axis]
    normal = np.zeros_like(o)
    normal[np.arange(len(o)), axis] = -np.sign(d[np.arange(len(o)), axis])
    return np.where(t <= np.nanmin(far, 1), t, np.inf), normal


def _cylinder(o: np.ndarray, d: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    a = (d[:, :2] ** 2).sum(1)
    b = (o[:, :2] * d[:, :2]).sum(1)
    root = b * b - a * ((o[:, :2] ** 2).sum(1) - 1)
    side = np.where(root >= 0, (-b - np.sqrt(np.maximum(root, 0))) / a, np.inf)
    side = np.where(np.abs(o[:, 2] + side * d[:, 2]) <= 1, side, np.inf)
    top = (1 - o[:, 2]) / d[:, 2]
    inside = ((o[:, :2] + top[:, None] * d[:, :2]) ** 2).sum(1) <= 1
    top = np.where(inside & (d[:, 2] < 0), top, np.inf)
    t = np.minimum(side, top)
    point = o + np.where(np.isfinite(t), t, 0)[:, None] * d
    normal = point * (1, 1, 0)
    normal[top < side] = (0, 0, 1)
    return t, normal


_UNIT = {'sphere': _sphere, 'cube': _cube, 'cylinder': _cylinder}


def render(solids: list[Solid], light: np.ndarray, size: int) -> Scene:
    """Render objects, labeled from 1, `size` × `size` pixels; `light` is a point, `[3]`."""
    ray = rays(size)
    depth = np.where(ray[:, 2] < 0, -CAMERA[2] / np.minimum(ray[:, 2], -1e-9), np.inf)
    far = ~np.isfinite(depth)
    depth = np.where(far, 1e3, depth)
    label = np.zeros(len(ray), np.uint8)
    normal = np.tile(np.array([0.0, 0.0, 1.0]), (len(ray), 1))
    for number, solid in enumerate(solids, 1):
        t, n = intersect(solid, CAMERA, ray)
        near = t < depth
        depth, label = np.where(near, t, depth), np.where(near, number, label).astype(np.uint8)
        normal = np.where(near[:, None], n, normal)
    point = CAMERA + depth[:, None] * ray
    to_light = light - point
    distance = np.linalg.norm(to_light, axis=1)
    to_light /= distance[:, None]
    lit = np.ones(len(ray))
    for solid in solids:
        t, _ = intersect(solid, point + 1e-3 * normal, to_light)
        lit[t < distance] = 0
    facing = np.clip((normal * to_light).sum(1), 0, 1) * lit
    colors = np.stack((np.full(3, GROUND), *(solid.color for solid in solids)))
    shiny = np.array([False, *(solid.shiny for solid in solids)])
    image = colors[label] * (AMBIENT + (1 - AMBIENT) * facing)[:, None]
    half = to_light - ray
    half /= np.linalg.norm(half, axis=1, keepdims=True)
    highlight = np.clip((normal * half).sum(1), 0, 1) ** 40 * lit
    image += (0.6 * highlight * shiny[label])[:, None]
    image[far] = GROUND * 0.8
    shape = (size, size)
    pixels = (image.clip(0, 1) * 255 + 0.5).astype(np.uint8)
    return Scene(pixels.reshape(*shape, 3), label.reshape(shape))


def random_light(rng: Rng) -> np.ndarray:
    """Return the position `[3]` of a light above and beside the camera."""
    return np.array([rng.uniform(-4, 4), rng.uniform(-6, -2), rng.uniform(5, 8)])


def solids(rng: Rng, size: int = 64) -> Scene:
    """Return a rendered scene in which every object is visible."""
    least = MIN_VISIBLE_PX * (size / 64) ** 2
    while True:
        objects = random_solids(rng)
        scene = render(objects, random_light(rng), size)
        visible = np.bincount(scene.labels.ravel(), minlength=len(objects) + 1)[1:]
        if visible.min() >= least:
            return scene
