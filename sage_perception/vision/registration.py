# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Align a frame with the background of a camera, in position and in brightness.

The position is a translation, estimated together with a gain and an offset by a robust
Gauss-Newton fit (Lucas and Kanade, 1981; with photometric terms, Bartoli, 2008). Images are
float32 in gray levels, lengths are in pixels of the given images.
"""

from __future__ import annotations

import cv2
import numpy as np

GAINS = (0.2, 5.0)
"""Minimum and maximum gain; outside this range a frame is too dark or too bright to compare."""
ITERATIONS = 3
"""Maximum number of Gauss-Newton steps."""
ROW_STEP = 2
"""The fit of the translation uses every second row."""
NEGLIGIBLE_SHIFT = 0.05
"""Shift below which an image is not resampled, pixels."""
SLOPE_LIMIT = 4.0
"""Slope of an edge above which its weight in the fit no longer grows, gray levels per pixel."""
FLAT_VARIANCE = 4.0
"""Variance below which an image does not constrain the gain, gray levels squared."""
DARK_SQUARE = 10.0**2
"""Mean square below which a row does not constrain its gain, gray levels squared."""


def register(
    frame: np.ndarray, reference: np.ndarray, confidence: np.ndarray, start: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return the shift `[2]` (x, y) from `reference` to `frame`, and the weight of each pixel.

    The model is frame(x + shift) = gain · reference(x) + offset, fitted by iteratively reweighted
    least squares with Cauchy weights.

    Args:
        frame: float32 `[h, w]`.
        reference: float32 `[h, w]`.
        confidence: float32 `[h, w]` in [0, 1], the prior weight of each pixel.
        start: `[2]`, the initial shift.

    Returns:
        The shift, float64 `[2]`, and the weights, float32 `[h, w]` in (0, 1]. A weight is small
        where `frame` differs from `reference`.
    """
    rows = np.s_[::ROW_STEP]
    dx = cv2.Sobel(reference, -1, 1, 0, scale=1 / 8)[rows].ravel()
    dy = cv2.Sobel(reference, -1, 0, 1, scale=1 / 8)[rows].ravel()
    centered = reference[rows].ravel() - reference.mean()
    columns = np.stack([dx, dy, centered, np.ones_like(centered)])
    # A few strong edges, possibly of one moving object, must not outweigh the rest of the image.
    slope = dx**2 + dy**2
    prior_weight = confidence[rows].ravel() * SLOPE_LIMIT**2 / (SLOPE_LIMIT**2 + slope)
    # Without texture the prior decides: no motion, and a gain of 1.
    texture = float(prior_weight @ slope) / slope.size
    stiffness = 0.3 * max(1 - texture, 0.01)
    prior = np.diag([stiffness, stiffness, 1.0, 1e-3]) * slope.size
    middle = slope.size // 16
    shift = np.array(start, float)
    weight = np.ones_like(centered)
    for _ in range(ITERATIONS):
        moved = shift_image(frame[None], shift, ROW_STEP).ravel()
        weighted = columns * (prior_weight * weight)
        target = weighted @ moved + prior @ (*shift, 1, 0)
        solution = np.linalg.solve(weighted @ columns.T + prior, target)
        error = np.abs(moved - solution.astype(np.float32) @ columns)
        median = float(np.partition(error[::8], middle)[middle])
        weight = 1 / (1 + (error / max(2 * median, 1.0)) ** 2)
        step = solution[:2] / max(solution[2], 0.1)
        shift -= step
        if np.abs(step).max() < NEGLIGIBLE_SHIFT:
            break
    weight = np.repeat(weight.reshape(-1, reference.shape[1]), ROW_STEP, axis=0)
    return shift, weight[: len(reference)]


def photometry(
    frame: np.ndarray, reference: np.ndarray, weight: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return gain and offset, `[C, 1, 1]` each, such that frame = gain · reference + offset.

    `frame` and `reference` are float32 `[C, h, w]`; `weight`, float32 `[h, w]`, weights the
    pixels.
    """
    x, y, w = reference.reshape(len(reference), -1), frame.reshape(len(frame), -1), weight.ravel()
    total = w.sum() + 1e-6
    mean_x, mean_y = x @ w / total, y @ w / total
    x, y = x - mean_x[:, None], y - mean_y[:, None]
    gain = ((x * y) @ w / total + FLAT_VARIANCE) / ((x * x) @ w / total + FLAT_VARIANCE)
    gain = np.clip(gain, *GAINS)
    return gain[:, None, None], (mean_y - gain * mean_x)[:, None, None]


def row_gain(frame: np.ndarray, reference: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Return the gain of each row of `frame`, float32 `[h, 1]`; all arguments are `[h, w]`.

    A rolling shutter renders flickering lamps as bands of rows.
    """
    observed = np.einsum('ij,ij,ij->i', weight, frame, reference)
    expected = np.einsum('ij,ij,ij->i', weight, reference, reference)
    floor = DARK_SQUARE * reference.shape[1]
    gain = ((observed + floor) / (expected + floor)).astype(np.float32)
    return cv2.blur(gain[:, None], (1, 3))


def shift_image(image: np.ndarray, shift: np.ndarray, row_step: int = 1) -> np.ndarray:
    """Return `image`, float32 `[C, h, w]`, sampled at x + shift.

    Beyond the border the outermost pixels repeat. Only every `row_step`-th row is returned.
    """
    if np.abs(shift).max() < NEGLIGIBLE_SHIFT:
        return image[:, ::row_step]
    height, width = image.shape[1:]
    matrix = np.array([[1, 0, shift[0]], [0, row_step, shift[1]]], np.float32)
    size, flags = (width, -(-height // row_step)), cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    border = cv2.BORDER_REPLICATE
    return np.stack(
        [cv2.warpAffine(c, matrix, size, flags=flags, borderMode=border) for c in image]
    )


def overlap(shape: tuple[int, int], shift: np.ndarray) -> np.ndarray:
    """Return where x + shift lies inside an image of `shape`, float32 `[h, w]`, 0 or 1."""
    x, y = np.arange(shape[1]) + shift[0], np.arange(shape[0]) + shift[1]
    columns = (x > -0.5) & (x < shape[1] - 0.5)
    rows = (y > -0.5) & (y < shape[0] - 0.5)
    return np.outer(rows, columns).astype(np.float32)
