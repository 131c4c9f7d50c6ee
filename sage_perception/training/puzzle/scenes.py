# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Rendered scenes of six objects as tokens: latents, semantic codes and positions of crops."""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path

import cv2
import numpy as np

from sage_perception.core.npz_file import read_or_compute
from sage_perception.models.codec import Codec
from sage_perception.models.semantic.semantic_text import SemanticText
from sage_perception.puzzle.tokens import positions
from sage_perception.training.data.objects.rendered import (
    COLORS,
    SHAPES,
    SIZES,
    Solid,
    random_light,
    render,
)
from sage_perception.training.data.objects.scene import Rng

OBJECTS = 6
SIDE = 128
"""Side of the image, pixels."""
MIN_PIXELS = 60
"""Minimum visible area of an object."""
JITTER = 0.08
"""Standard deviation of the edges of a box, relative to its side: regions are never exact."""


@dataclass(frozen=True, eq=False)
class SceneTokens:
    """N scenes of `OBJECTS` objects.

    Attributes:
        appearance, semantic: float32 `[N, 6, 64]`, latents and semantic codes of the crops.
        position: float32 `[N, 6, 4]`, see `puzzle.tokens.positions`.
        color, shape: int `[N, 6]`, indices into `sentences.COLORS` and `SHAPES`.

    """

    appearance: np.ndarray
    semantic: np.ndarray
    position: np.ndarray
    color: np.ndarray
    shape: np.ndarray

    def __len__(self) -> int:
        return len(self.color)

    @property
    def tokens(self) -> np.ndarray:
        """Return the object tokens, float32 `[N, 6, 132]`."""
        return np.concatenate((self.appearance, self.semantic, self.position), 2)


def read_or_render(
    path: Path, count: int, seed: int, codec: Codec, semantic: SemanticText
) -> SceneTokens:
    """Return the scenes of a file; render and write them if it is missing or damaged."""
    names = [field.name for field in fields(SceneTokens)]

    def rendered() -> list[np.ndarray]:
        scenes = render_scenes(count, seed, codec, semantic)
        return [getattr(scenes, name) for name in names]

    return SceneTokens(*read_or_compute(path, names, rendered))


def render_scenes(count: int, seed: int, codec: Codec, semantic: SemanticText) -> SceneTokens:
    """Render and encode random scenes; no two objects of a scene share color and shape."""
    crops, boxes, labels = [], [], []
    for number in range(count):
        rng = np.random.default_rng((seed, number))
        image, box, label = render_scene(rng)
        boxes.append(box)
        labels.append(label)
        crops.append(cut_crops(image, box, codec.input_size))
    every = np.concatenate(crops)
    x = every.transpose(0, 3, 1, 2).astype(np.float32) / 255
    shape = (count, OBJECTS, -1)
    label_array = np.array(labels)
    return SceneTokens(
        codec.encode(x).reshape(shape),
        semantic.encode(every).reshape(shape),
        np.stack([positions(box, (SIDE, SIDE)) for box in boxes]),
        label_array[..., 0],
        label_array[..., 1],
    )


def render_scene(rng: Rng) -> tuple[np.ndarray, np.ndarray, list[tuple[int, int]]]:
    """Return an image, the boxes of its objects `[6, 4]`, and color and shape of each.

    A box is x, y, width, height in pixels, with an error (`JITTER`).
    """
    while True:
        pairs = rng.permutation(len(COLORS) * len(SHAPES))[:OBJECTS]
        solids: list[Solid] = []
        for pair in pairs:
            solids += _placed(int(pair), solids, rng)
        if len(solids) < OBJECTS:
            continue
        scene = render(solids, random_light(rng), SIDE)
        areas = np.bincount(scene.labels.ravel(), minlength=OBJECTS + 1)[1:]
        if areas.min() < MIN_PIXELS:
            continue
        boxes = np.array([_box(scene.labels == i + 1, rng) for i in range(OBJECTS)])
        order = rng.permutation(OBJECTS)
        names = [(int(pair) // len(SHAPES), int(pair) % len(SHAPES)) for pair in pairs[order]]
        return scene.image, boxes[order], names


def cut_crops(image: np.ndarray, boxes: np.ndarray, size: int) -> np.ndarray:
    """Return squares around boxes, uint8 `[N, size, size, 3]`; the edge is repeated outside."""
    crops = []
    for x, y, width, height in boxes:
        side = max(width, height, 1.0)
        scale = size / side
        corner = np.array([x + width / 2, y + height / 2]) - side / 2
        affine = np.array([[scale, 0, -scale * corner[0]], [0, scale, -scale * corner[1]]])
        crops.append(cv2.warpAffine(image, affine, (size, size), borderMode=cv2.BORDER_REPLICATE))
    return np.stack(crops)


def _placed(pair: int, others: list[Solid], rng: Rng) -> list[Solid]:
    """Return a new object that intersects no other one; nothing if there is no room."""
    for _ in range(50):
        size = SIZES[rng.integers(len(SIZES))]
        x, y = rng.uniform((-2.6, -1.9), (2.6, 2.6))
        color, shape = COLORS[pair // len(SHAPES)], SHAPES[pair % len(SHAPES)]
        new = Solid(
            shape, np.array([x, y, size]), size, rng.uniform(0, np.pi / 2),
            color * np.float32(rng.uniform(0.85, 1.1)), bool(rng.random() < 0.5),
        )  # fmt: skip
        if all(
            np.linalg.norm((new.center - old.center)[:2]) > 1.25 * (new.size + old.size)
            for old in others
        ):
            return [new]
    return []


def _box(mask: np.ndarray, rng: Rng) -> np.ndarray:
    ys, xs = np.nonzero(mask)
    edges = np.array([xs.min(), ys.min(), xs.max() + 1, ys.max() + 1], float)
    side = max(edges[2] - edges[0], edges[3] - edges[1])
    edges += rng.normal(0, JITTER * side, 4)
    return np.array([*edges[:2], *np.maximum(edges[2:] - edges[:2], 2)])
