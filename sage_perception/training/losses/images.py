# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Pixel errors and structural similarity in torch: PSNR, logarithmic error, SSIM, MS-SSIM."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d, conv2d

TYPICAL_ERROR = 5e-3
"""Mean squared error of a crop of ordinary detail, 23 dB."""
NEGLIGIBLE_ERROR = 1e-4
"""Mean squared error that `log_error` treats as negligible, 40 dB."""
MS_SSIM_WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
MS_SSIM_WINDOW_PX = 3
MS_SSIM_MIN_SIDE_PX = 48
"""Smallest image side at which the window fits into the fifth scale of MS-SSIM."""


def psnr(a: Tensor, b: Tensor) -> Tensor:
    """Return the peak signal-to-noise ratio `[B]`, dB, at most 100, of images in [0, 1]."""
    error = (a - b).square().mean((1, 2, 3))
    return -10 * error.clamp_min(1e-10).log10()


def log_error(a: Tensor, b: Tensor, negligible: float = NEGLIGIBLE_ERROR) -> Tensor:
    """Return the logarithmic error `[B]`, non-negative, of images `[B, C, H, W]` in [0, 1].

    The mean squared error m of each crop becomes (t + n)·ln(1 + m/n), where t is `TYPICAL_ERROR`
    and n is `negligible`. Near t its slope is that of m. With a small n, a decibel of a smooth
    crop weighs as much as a decibel of a busy crop; with n = 1 the error is approximately m, which
    gives smooth crops almost no weight.
    """
    error = (a - b).square().mean((1, 2, 3))
    return (TYPICAL_ERROR + negligible) * (error / negligible).log1p()


def ssim(a: Tensor, b: Tensor, window: int = 11) -> Tensor:
    """Return the structural similarity `[B]` in [-1, 1] of images `[B, C, H, W]` in [0, 1].

    Wang, Bovik, Sheikh and Simoncelli, 2004: a Gaussian window with σ = 1.5 pixels where it fits
    into the image, averaged over positions and channels.
    """
    luminance, contrast = similarity_maps(a, b, window)
    return (luminance * contrast).mean((1, 2, 3))


def ms_ssim(a: Tensor, b: Tensor) -> Tensor:
    """Return the multi-scale structural similarity `[B]` in [0, 1] of images in [0, 1].

    Wang, Simoncelli and Bovik, 2003, five scales; sides of at least `MS_SSIM_MIN_SIDE_PX`. The
    window of `MS_SSIM_WINDOW_PX` is the largest that fits into the fifth scale of a 64-pixel crop;
    figures with another window are not comparable.
    """
    product = torch.ones((), dtype=a.dtype, device=a.device)
    for scale, weight in enumerate(MS_SSIM_WEIGHTS):
        luminance, contrast = similarity_maps(a, b, MS_SSIM_WINDOW_PX)
        last = scale == len(MS_SSIM_WEIGHTS) - 1
        value = (luminance * contrast if last else contrast).mean((2, 3))
        product = product * value.clamp_min(0) ** weight
        a, b = avg_pool2d(a, 2), avg_pool2d(b, 2)
    return product.mean(1)


def similarity_maps(a: Tensor, b: Tensor, window: int) -> tuple[Tensor, Tensor]:
    """Return the luminance term and the contrast-and-structure term of SSIM at each position."""
    channels = a.shape[1]
    offsets = torch.arange(window, dtype=a.dtype, device=a.device) - (window - 1) / 2
    gauss = (-(offsets**2) / (2 * 1.5**2)).exp()
    gauss = (gauss / gauss.sum()).repeat(5 * channels, 1, 1, 1)
    maps = torch.cat((a, b, a * a, b * b, a * b), 1)
    maps = conv2d(maps, gauss, groups=5 * channels)
    maps = conv2d(maps, gauss.transpose(2, 3), groups=5 * channels)
    mean_a, mean_b, square_a, square_b, product = maps.chunk(5, 1)
    c1, c2 = 0.01**2, 0.03**2
    luminance = (2 * mean_a * mean_b + c1) / (mean_a**2 + mean_b**2 + c1)
    covariance = product - mean_a * mean_b
    variances = square_a - mean_a**2 + square_b - mean_b**2
    return luminance, (2 * covariance + c2) / (variances + c2)
