# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Tetrominoes-like scenes: three tetrominoes on black, 35×35 pixels.

After the public Tetrominoes (Greff et al., 2019; Kabra et al., 2019). There, each piece has one of
six pure colors, so that the connected areas of one color almost solve the set. Here, hue is
continuous, and every tile has a shade and a slight hue of its own, so that a tolerance which joins
the tiles of a piece also joins touching pieces of similar hue.
"""

from __future__ import annotations

import numpy as np

from sage_perception.training.data.objects.scene import Rng, Scene, hsv

TILE, GRID = 5, 7
SIZE = TILE * GRID
PIECES = 3
HUE_SPREAD = 0.07
"""Largest difference of the hue of a tile from that of its piece, turns."""
MIN_SHADE = 0.55

_BASE = ('1111', '11/11', '111/010', '110/011', '011/110', '111/100', '111/001')


def _orientations() -> list[np.ndarray]:
    """Return the 19 fixed tetrominoes, bool `[h, w]`."""
    shapes: dict[bytes, np.ndarray] = {}
    for text in _BASE:
        shape = np.array([[c == '1' for c in row] for row in text.split('/')])
        for turns in range(4):
            turned = np.ascontiguousarray(np.rot90(shape, turns))
            shapes[bytes(turned.shape) + turned.tobytes()] = turned
    return list(shapes.values())


ORIENTATIONS = _orientations()


def tetrominoes(rng: Rng) -> Scene:
    """Return a scene of three tetrominoes that do not overlap, and often touch."""
    owner = np.zeros((GRID, GRID), np.uint8)
    for label in range(1, PIECES + 1):
        while True:
            shape = ORIENTATIONS[rng.integers(len(ORIENTATIONS))]
            height, width = shape.shape
            y, x = rng.integers(GRID - height + 1), rng.integers(GRID - width + 1)
            cells = owner[y : y + height, x : x + width]
            if not cells[shape].any():
                cells[shape] = label
                break
    hues = np.concatenate(([0.0], rng.uniform(0, 1, PIECES)))[owner]
    hues = hues + rng.uniform(-HUE_SPREAD, HUE_SPREAD, owner.shape)
    shades = rng.uniform(MIN_SHADE, 1, owner.shape) * (owner > 0)
    tiles = hsv(hues, 1.0, shades)
    image = tiles.repeat(TILE, 0).repeat(TILE, 1)
    labels = owner.repeat(TILE, 0).repeat(TILE, 1)
    return Scene((image * 255 + 0.5).astype(np.uint8), labels)
