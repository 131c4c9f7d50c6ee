# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Image similarity and divergence in numpy: PSNR, SSIM and the KL term of a VAE.

`sage_perception.training.losses` and `sage_perception.models.networks.divergence` have the same
measures as differentiable torch functions.
"""

from __future__ import annotations

import cv2
import numpy as np

MIN_SQUARED_ERROR = 1e-10
"""Mean squared error at which PSNR is capped, for pixels in [0, 1]: 100 dB."""


def psnr_from_mse(error: np.ndarray | float) -> np.ndarray:
    """Return the peak signal-to-noise ratio of mean squared errors, dB, at most 100.

    `error` has any shape; pixels are in [0, 1].
    """
    return -10 * np.log10(np.maximum(error, MIN_SQUARED_ERROR))


def psnr(a: np.ndarray, b: np.ndarray) -> float:
    """Return the peak signal-to-noise ratio of two images of equal shape, dB, at most 100.

    Pixels are uint8, or floating point in [0, 1].
    """
    return float(psnr_from_mse(np.square(unit_range(a) - unit_range(b)).mean()))


def batch_psnr(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Return the peak signal-to-noise ratio `[B]` of images `[B, C, H, W]`, dB, at most 100.

    Pixels are uint8, or floating point in [0, 1]; `a` and `b` may broadcast.
    """
    return psnr_from_mse(np.square(unit_range(a) - unit_range(b)).mean((1, 2, 3)))


def ssim(a: np.ndarray, b: np.ndarray) -> float:
    """Return the structural similarity of uint8 images `[H, W, C]` in [-1, 1].

    Both sides have at least 11 pixels. Wang, Bovik, Sheikh and Simoncelli, 2004: a Gaussian window
    of 11 pixels, σ = 1.5, only at positions where it fits into the image.
    """

    def blur(image: np.ndarray) -> np.ndarray:
        return cv2.GaussianBlur(image, (11, 11), 1.5)[5:-5, 5:-5]

    a, b = unit_range(a), unit_range(b)
    mean_a, mean_b = blur(a), blur(b)
    c1, c2 = 0.01**2, 0.03**2
    luminance = (2 * mean_a * mean_b + c1) / (mean_a**2 + mean_b**2 + c1)
    covariance = blur(a * b) - mean_a * mean_b
    variances = blur(a * a) - mean_a**2 + blur(b * b) - mean_b**2
    return float((luminance * (2 * covariance + c2) / (variances + c2)).mean())


def unit_range(image: np.ndarray) -> np.ndarray:
    """Return pixels as float64, uint8 scaled to [0, 1]."""
    return image / 255.0 if image.dtype == np.uint8 else np.asarray(image, np.float64)


def kl_per_dim(mean: np.ndarray, log_var: np.ndarray) -> np.ndarray:
    """Return the mean KL divergence of codes `[..., D]` from the unit Gaussian, `[...]`.

    In nats per dimension: half the mean of μ² + σ² - 1 - ln σ² (Kingma and Welling, Auto-Encoding
    Variational Bayes, 2013, appendix B).
    """
    return (np.square(mean) + np.exp(log_var) - 1 - log_var).mean(-1) / 2
