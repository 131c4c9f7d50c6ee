# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Similarity weights of latent dimensions, fitted on pairs of views of the same scene."""

from __future__ import annotations

import cv2
import numpy as np

from sage_perception.training.data.crops import MIN_CONTRAST, CropConfig, Stills, log_uniform

SHIFT, ZOOM, SHEAR = 0.15, 1.25, 0.12
"""Largest shift as a share of the side, scale, and shear between two views."""
GAIN, TINT, OFFSET = 0.25, 0.07, 15.0
"""Largest change of brightness and of each color channel, relative, and of the gray level."""
MAX_SHARE = 0.8
"""Side of a crop, relative to the image, that leaves room for the second view."""


def two_views(stills: Stills, size: int, count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return crops and second views of the same scenes, both uint8 RGB `[count, S, S, 3]`.

    The second view is shifted, scaled, sheared, and differs in exposure and white balance. It
    simulates a second camera, because there is little footage of two cameras.
    """
    rng = np.random.default_rng(seed)
    firsts: list[np.ndarray] = []
    seconds: list[np.ndarray] = []
    while len(firsts) < count:
        image = stills.images[rng.integers(len(stills))]
        side = log_uniform(rng, CropConfig().smallest, MAX_SHARE * min(image.shape))
        x, y = (rng.uniform(0, length - side) for length in image.shape[::-1])
        first = image.cut(x, y, side, size)
        if first.std() < MIN_CONTRAST:
            continue
        other = side * log_uniform(rng, 1 / ZOOM, ZOOM)
        center = np.array([x, y]) + side / 2 + rng.uniform(-SHIFT, SHIFT, 2) * side
        corner_x, corner_y = center - other / 2
        second = image.cut(corner_x, corner_y, other, size)
        shape = np.eye(2) + rng.uniform(-SHEAR, SHEAR, (2, 2))
        middle = np.full(2, size / 2)
        affine = np.column_stack([shape, middle - shape @ middle])
        second = cv2.warpAffine(second, affine, (size, size), borderMode=cv2.BORDER_REFLECT)
        gain = rng.uniform(1 - GAIN, 1 + GAIN) * rng.uniform(1 - TINT, 1 + TINT, 3)
        second = second * gain + rng.uniform(-OFFSET, OFFSET)
        firsts.append(first)
        seconds.append(second.clip(0, 255).astype(np.uint8))
    return np.stack(firsts), np.stack(seconds)


def fit_similarity_weights(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Return the weight of each dimension in similarities, float64 `[D]`, above 0.

    `a` and `b` `[N, D]` are latents of two views of the same objects. With the total variance t of
    a dimension and the variance w between two views of one object, the squared weight is
    1/w - 1/t: the weight of a squared difference in the log-likelihood ratio of "different" to
    "same" object for independent Gaussian dimensions (probabilistic linear discriminant analysis;
    Ioffe, 2006). The mean of the squared weights is 1.
    """
    within = np.maximum(np.square(a - b, dtype=np.float64).mean(0) / 2, 1e-12)
    total = np.concatenate([a, b]).astype(np.float64).var(0)
    squares = np.maximum(1 / within - 1 / np.maximum(total, 1e-12), 1e-3 / within)
    return np.sqrt(squares / squares.mean())
