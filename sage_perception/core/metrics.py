# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""How like two images are, without torch: PSNR and SSIM."""

from __future__ import annotations

import cv2
import numpy as np


def psnr(a: np.ndarray, b: np.ndarray) -> float:
    """Return the peak signal-to-noise ratio of uint8 images, dB, at most 100."""
    error = np.square(a / 255.0 - b / 255.0).mean()
    return float(-10 * np.log10(max(error, 1e-10)))


def ssim(a: np.ndarray, b: np.ndarray) -> float:
    """Return the structural similarity of uint8 images `[H, W, C]`, sides of 11 or more.

    Wang, Bovik, Sheikh and Simoncelli, 2004: Gaussian window of 11 pixels, σ = 1.5, only where it
    fits; the same figure as `sage_perception.training.losses.images.ssim`, without torch.
    """

    def blur(image):
        return cv2.GaussianBlur(image, (11, 11), 1.5)[5:-5, 5:-5]

    a, b = a / 255.0, b / 255.0
    mean_a, mean_b = blur(a), blur(b)
    c1, c2 = 0.01**2, 0.03**2
    luminance = (2 * mean_a * mean_b + c1) / (mean_a**2 + mean_b**2 + c1)
    covariance = blur(a * b) - mean_a * mean_b
    variances = blur(a * a) - mean_a**2 + blur(b * b) - mean_b**2
    return float((luminance * (2 * covariance + c2) / (variances + c2)).mean())
