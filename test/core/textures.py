# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Textured images for the tests of registration and motion."""

import cv2
import numpy as np


def smooth_noise(seed, height, width):
    """Return smooth random colors, uint8 `[height, width, 3]`."""
    rng = np.random.default_rng(seed)
    noise = rng.normal(0, 1, (height, width, 3)).astype(np.float32)
    smooth = cv2.GaussianBlur(noise, (0, 0), 2)
    return np.clip(110 + 25 * smooth / smooth.std(), 0, 255).astype(np.uint8)


def shift_by(image, x, y):
    """Return `image` shifted by (x, y) pixels, reflected at the border."""
    matrix = np.array([[1, 0, x], [0, 1, y]], np.float32)
    size = image.shape[1::-1]
    return cv2.warpAffine(image, matrix, size, borderMode=cv2.BORDER_REFLECT)
