# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Several views of several places of each image: shifted, scaled, sheared and re-exposed crops."""

from __future__ import annotations

import cv2
import numpy as np

from sage_perception.training.data.crops import MIN_CONTRAST, CropConfig, Stills, log_uniform
from sage_perception.training.data.images import ImagePyramid

PLACES, VIEWS = 6, 4
"""Places of an image, and views of each place."""
APART = 0.75
"""Smallest distance of two places of an image, sides."""
MAX_SHARE = 0.35
"""Largest side of a place, relative to the shorter side of the image."""
SHIFT, LOG_SCALE, SHEAR = 0.12, 0.15, 0.06
"""Standard deviations of the shift (sides), the logarithm of the scale, and the shear."""
LOG_GAIN, LOG_TINT, OFFSET = 0.45, 0.12, 15.0
"""Largest change of the exposure and of each channel (logarithms), and of the gray level."""
PARALLAX_GRID = 4
"""Points a side of the grid of random displacements."""
BLUR_SHARE = 0.2
"""Share of the views that are blurred, as motion and focus do."""


def sample_views(
    stills: Stills, size: int, scenes: int, seed: int, parallax: float = 0.0
) -> np.ndarray:
    """Return the views of the places of `scenes` random images, uint8.

    The shape is `[scenes, PLACES, VIEWS, size, size, 3]`, RGB. The places of a scene are of one
    size and at least `APART` sides from one another. `parallax` is the standard deviation, in
    sides, of a smooth displacement within a view, as different distances cause it.
    """
    rng = np.random.default_rng(seed)
    found: list[np.ndarray] = []
    while len(found) < scenes:
        image = stills.pick(rng)
        largest = MAX_SHARE * min(image.shape)
        smallest = min(CropConfig().smallest, largest)
        places = _places(image, log_uniform(rng, smallest, largest), size, rng, parallax)
        if places is not None:
            found.append(places)
    return np.stack(found)


def _places(
    image: ImagePyramid, side: float, size: int, rng: np.random.Generator, parallax: float
) -> np.ndarray | None:
    """Return the views `[PLACES, VIEWS, S, S, 3]` of an image, None if it has too few places."""
    height, width = image.shape
    corners: list[np.ndarray] = []
    for _ in range(8 * PLACES):
        corner = np.array([rng.uniform(0, width - side), rng.uniform(0, height - side)])
        if any(np.abs(corner - other).max() < APART * side for other in corners):
            continue
        if image.cut(float(corner[0]), float(corner[1]), side, size).std() < MIN_CONTRAST:
            continue
        corners.append(corner)
        if len(corners) == PLACES:
            return np.stack(
                [
                    [_view(image, c, side, size, rng, parallax) for _ in range(VIEWS)]
                    for c in corners
                ]
            )
    return None


def _view(
    image: ImagePyramid,
    corner: np.ndarray,
    side: float,
    size: int,
    rng: np.random.Generator,
    parallax: float,
) -> np.ndarray:
    """Return one random view of a place, uint8 RGB `[S, S, 3]`."""
    own = side * np.exp(rng.normal(0, LOG_SCALE))
    x, y = corner + side / 2 + rng.normal(0, SHIFT, 2) * side - own / 2
    crop = image.cut(x, y, own, size)
    shape = np.eye(2) + rng.normal(0, SHEAR, (2, 2))
    middle = np.full(2, size / 2)
    affine = np.column_stack([shape, middle - shape @ middle])
    crop = cv2.warpAffine(crop, affine, (size, size), borderMode=cv2.BORDER_REFLECT)
    if parallax:
        crop = displaced(crop, rng.normal(0, parallax, (PARALLAX_GRID, PARALLAX_GRID, 2)))
    if rng.random() < BLUR_SHARE:
        crop = cv2.GaussianBlur(crop, (0, 0), rng.uniform(0.5, 2.0))
    gain = np.exp(rng.uniform(-LOG_GAIN, LOG_GAIN) + rng.uniform(-LOG_TINT, LOG_TINT, 3))
    changed = crop * gain + rng.uniform(-OFFSET, OFFSET)
    return changed.clip(0, 255).astype(np.uint8)


def displaced(crop: np.ndarray, shifts: np.ndarray) -> np.ndarray:
    """Return a crop `[S, S, C]` whose content is moved smoothly.

    `shifts` `[G, G, 2]` are displacements in sides on a grid; the vertical ones count a third,
    because cameras are usually side by side.
    """
    size = len(crop)
    fields = cv2.resize(shifts.astype(np.float32), (size, size), interpolation=cv2.INTER_CUBIC)
    y, x = np.mgrid[:size, :size].astype(np.float32)
    moved = x + size * fields[..., 0], y + size / 3 * fields[..., 1]
    return cv2.remap(crop, *moved, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT)
