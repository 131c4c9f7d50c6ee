# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Align a frame with the background of a camera, in position and in brightness.

The position is a similarity (shift, roll and zoom), estimated together with a gain and an offset
by a robust Gauss-Newton fit (Lucas and Kanade, 1981; with photometric terms, Bartoli, 2008).
Images are float32 in gray levels, lengths are in pixels of the given images. A pose is float64
`[2, 3]`: it takes a position in the background to that in the frame.
"""

from __future__ import annotations

from functools import lru_cache

import cv2
import numpy as np

GAINS = (0.2, 5.0)
"""Minimum and maximum gain; outside this range a frame is too dark or too bright to compare."""
ITERATIONS = 3
"""Maximum number of Gauss-Newton steps."""
ROW_STEP = 2
"""The fit of the pose uses every second row."""
NEGLIGIBLE_SHIFT = 0.05
"""Displacement everywhere below which an image is not resampled, pixels."""
SLOPE_LIMIT = 4.0
"""Slope of an edge above which its weight in the fit no longer grows, gray levels per pixel."""
FLAT_VARIANCE = 4.0
"""Variance below which an image does not constrain the gain, gray levels squared."""
DARK_SQUARE = 10.0**2
"""Mean square below which a row does not constrain its gain, gray levels squared."""
STIFFNESS = 0.3
"""Weight per pixel of the prior of no motion in an image without texture."""
PHOTOMETRIC_ITERATIONS = 2
"""Number of further steps that fit the brightness alone."""
DETAIL_WINDOW = (9, 9)
"""Window of the average that the registration leaves out, pixels."""
IDENTITY = np.eye(2, 3)
"""The pose of a frame in which every position is that in the background."""


def register(
    frame: np.ndarray, reference: np.ndarray, confidence: np.ndarray, start: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return the pose of `frame` relative to `reference`, and the weight of each pixel.

    The model of the details, which neither light nor shadows nor smoke change, is
    frame(pose(x)) = gain · reference(x) + offset, fitted by iteratively reweighted least squares
    with Cauchy weights.

    Args:
        frame: float32 `[h, w]`.
        reference: float32 `[h, w]`.
        confidence: float32 `[h, w]` in [0, 1], the prior weight of each pixel.
        start: the initial pose.

    Returns:
        The pose, and the weights, float32 `[h, w]` in (0, 1]. A weight is small where `frame`
        differs from `reference`.
    """
    rows = np.s_[::ROW_STEP]
    details, fine = _details(reference), _details(frame)
    dx = cv2.Sobel(details, -1, 1, 0, scale=1 / 8)[rows]
    dy = cv2.Sobel(details, -1, 0, 1, scale=1 / 8)[rows]
    x, y = _coordinates(reference.shape, ROW_STEP)
    columns = np.empty((6, *dx.shape), np.float32)
    columns[0], columns[1] = dx, dy
    np.add(dx * x, dy * y, out=columns[2])
    np.subtract(dy * x, dx * y, out=columns[3])
    columns[4], columns[5] = details[rows], 1
    columns = columns.reshape(6, -1)
    # A few strong edges, possibly of one moving object, must not outweigh the rest of the image.
    slope = columns[0] * columns[0] + columns[1] * columns[1]
    known = confidence[rows].ravel()
    prior_weight = known * SLOPE_LIMIT**2 / (SLOPE_LIMIT**2 + slope)
    # Without texture the prior decides: no motion, and a gain of 1.
    texture = float(prior_weight @ slope) / slope.size
    stiffness = STIFFNESS * max(1 - texture, 0.01)
    prior = np.diag([*[stiffness] * 4, 1.0, 1e-3]) * slope.size
    motion = _parameters(start, reference.shape)
    weight = np.ones_like(slope)
    for _ in range(ITERATIONS):
        moved = warp(fine[None], _pose(motion, reference.shape), ROW_STEP).ravel()
        solution, weight = _solve(
            columns, moved, prior_weight * weight, prior, np.array([*motion, 1, 0])
        )
        step = solution[:4] / max(solution[4], 0.1)
        motion -= step
        if np.abs(step).max() < NEGLIGIBLE_SHIFT:
            break
    pose = _pose(motion, reference.shape)
    # The photometry depends on the brightness, which the details lack.
    moved = warp(frame[None], pose, ROW_STEP).ravel()
    columns = columns[4:]
    np.subtract(reference[rows], reference.mean(), out=columns[0].reshape(dx.shape))
    for _ in range(PHOTOMETRIC_ITERATIONS):
        _, weight = _solve(columns, moved, known * weight, prior[4:, 4:], np.array([1.0, 0.0]))
    weight = np.repeat(weight.reshape(-1, reference.shape[1]), ROW_STEP, axis=0)
    return pose, weight[: len(reference)]


def _solve(
    columns: np.ndarray,
    target: np.ndarray,
    weight: np.ndarray,
    prior: np.ndarray,
    expected: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """Return the weighted least squares solution `[K]` and the weights `[N]` of the next step.

    `columns` is `[K, N]`, `target` `[N]`; `prior` `[K, K]` weights the distance from `expected`.
    """
    weighted = columns * weight
    solution = np.linalg.solve(weighted @ columns.T + prior, weighted @ target + prior @ expected)
    error = solution.astype(np.float32) @ columns
    error -= target
    np.abs(error, out=error)
    middle = target.size // 16
    median = float(np.partition(error[::8], middle)[middle])
    error *= np.float32(1 / max(2 * median, 1.0))
    error *= error
    error += 1
    return solution, np.reciprocal(error, out=error)


def _details(image: np.ndarray) -> np.ndarray:
    """Return an image without its slow variation, which light, shadows and smoke change."""
    return image - cv2.blur(image, DETAIL_WINDOW)


@lru_cache(maxsize=8)
def _coordinates(shape: tuple[int, ...], row_step: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """Return x `[w]` and y `[h, 1]` from the center of an image in units of half its width."""
    height, width = shape
    x = np.arange(width, dtype=np.float32) - (width - 1) / 2
    y = np.arange(0, height, row_step, dtype=np.float32)[:, None] - (height - 1) / 2
    return x * np.float32(2 / width), y * np.float32(2 / width)


def _pose(motion: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Return the pose of a motion `[4]`: the shift of the center, and of a border's middle.

    The last two are the displacements along and across that the zoom and the roll cause at half
    the width from the center.
    """
    height, width = shape
    zoom, roll = motion[2:] * 2 / width
    linear = np.array([[1 + zoom, -roll], [roll, 1 + zoom]])
    middle = np.array([(width - 1) / 2, (height - 1) / 2])
    return np.column_stack([linear, middle - linear @ middle + motion[:2]])


def _parameters(pose: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Return the motion `[4]` of a pose, the inverse of `_pose`."""
    height, width = shape
    middle = np.array([(width - 1) / 2, (height - 1) / 2])
    shift = pose[:, :2] @ middle + pose[:, 2] - middle
    return np.array([*shift, (pose[0, 0] - 1) * width / 2, pose[1, 0] * width / 2])


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
    y *= x
    x *= x
    gain = (y @ w / total + FLAT_VARIANCE) / (x @ w / total + FLAT_VARIANCE)
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


def is_negligible(pose: np.ndarray, shape: tuple[int, ...]) -> bool:
    """Return whether a pose displaces no pixel of an image of `shape` noticeably."""
    return bool(displacement(pose, shape) < NEGLIGIBLE_SHIFT)


def displacement(pose: np.ndarray, shape: tuple[int, ...]) -> float:
    """Return the largest displacement along x or y of the corners of an image, pixels."""
    right, bottom = shape[1] - 1, shape[0] - 1
    (a, b, x), (c, d, y) = pose.tolist()
    u, v = (a - 1) * right, (d - 1) * bottom
    b, c = b * bottom, c * right
    return float(max(map(abs, (x, x + u, x + b, x + u + b, y, y + c, y + v, y + c + v))))


def similarity(matrix: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Return the pose that moves an image of `shape` most like a homography `[3, 3]`."""
    height, width = shape
    x, y = np.meshgrid(np.linspace(0, width - 1, 3), np.linspace(0, height - 1, 3))
    u, v, depth = matrix @ np.stack([x.ravel(), y.ravel(), np.ones(x.size)])
    before, after = x.ravel() + 1j * y.ravel(), (u + 1j * v) / depth
    middle, to = before.mean(), after.mean()
    turn = np.vdot(before - middle, after - to) / np.vdot(before - middle, before - middle)
    shift = to - turn * middle
    return np.array([[turn.real, -turn.imag, shift.real], [turn.imag, turn.real, shift.imag]])


def near(
    pose: np.ndarray, expected: np.ndarray, limit: float, shape: tuple[int, ...]
) -> np.ndarray:
    """Return the pose nearest to `pose` whose motion differs from `expected` by `limit` pixels."""
    wanted = _parameters(expected, shape)
    change = np.clip(_parameters(pose, shape) - wanted, -limit, limit)
    return _pose(wanted + change, shape)


def compose(second: np.ndarray, first: np.ndarray) -> np.ndarray:
    """Return the pose that applies `first` and then `second`."""
    linear = second[:, :2]
    return np.column_stack([linear @ first[:, :2], linear @ first[:, 2] + second[:, 2]])


def invert(pose: np.ndarray) -> np.ndarray:
    """Return the pose that takes a position in the frame to that in the background."""
    return np.asarray(cv2.invertAffineTransform(pose), float)


def warp(image: np.ndarray, pose: np.ndarray, row_step: int = 1) -> np.ndarray:
    """Return `image`, float32 `[C, h, w]`, sampled at pose(x).

    Beyond the border the outermost pixels repeat. Only every `row_step`-th row is returned.
    """
    height, width = image.shape[1:]
    if is_negligible(pose, (height, width)):
        return image[:, ::row_step]
    matrix = pose * (1, row_step, 1)
    size, flags = (width, -(-height // row_step)), cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    border = cv2.BORDER_REPLICATE
    moved = np.empty((len(image), *size[::-1]), np.float32)
    for channel, to in zip(image, moved, strict=True):
        cv2.warpAffine(channel, matrix, size, dst=to, flags=flags, borderMode=border)
    return moved


def overlap(shape: tuple[int, int], pose: np.ndarray) -> np.ndarray:
    """Return where pose(x) lies inside an image of `shape`, float32 `[h, w]`, 0 or 1."""
    height, width = shape
    if displacement(pose, shape) < 0.5:
        return np.ones(shape, np.float32)
    x, y = np.arange(width), np.arange(height)[:, None]
    u, v = (a * x + b * y + c for a, b, c in pose)
    inside = (u > -0.5) & (u < width - 0.5) & (v > -0.5) & (v < height - 0.5)
    return inside.astype(np.float32)
