# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""The motion of the camera from frame to frame: a homography fitted to dense optical flow.

The flow is DIS (Kroeger et al., "Fast Optical Flow using Dense Inverse Search", 2016). A rotation,
a zoom and the motion past a plane are homographies; RANSAC ignores the objects that move.
Coordinates are pixels of the working image.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np

MIN_SIDE = 24
"""Minimum side of the image; the motion in smaller ones is not estimated, pixels."""
GRID = 4
"""Distance of the points that the homography is fitted to, pixels."""
MIN_TEXTURE = 20.0
"""Percentile of the gradient energy below which a point does not constrain the homography."""
TOLERANCE = 0.35
"""Distance from the homography up to which the flow of a point agrees with it, pixels."""
MIN_POINTS = 0.2
"""Minimum fraction of the grid's points with texture: fewer may all be on moving objects."""
MIN_INLIERS = 0.2
"""Fraction of agreeing points below which there is no homography."""
MIN_TEXTURE_ENERGY = 60.0
"""Gradient energy of an untextured point, which pixel noise causes, gray levels squared."""
MIN_BLOCKS = 5
"""Blocks of the image, of 3×3, that must contain agreeing points: the camera moves everything."""
PLACES = np.array([(x, y) for x in (0.1, 0.5, 0.9) for y in (0.1, 0.5, 0.9)])
"""Points at which the motion of the camera is averaged, fractions of the image."""
MAX_STRETCH = 2.0
"""Factor between two frames beyond which a homography is not a motion of a camera."""


@dataclass(frozen=True, eq=False)
class CameraMotion:
    """The motion of the camera between the previous and the present frame.

    Attributes:
        matrix: float64 `[3, 3]`, from a position in the present frame to that in the previous
            one, pixels of the working image; the identity without a valid estimate.
        flow: float32 `[h, w, 2]` (x, y), from each pixel of the present frame to its position in
            the previous one.
        inliers: fraction of the textured points that move with the camera, in [0, 1].
        noise: median distance of these points from the homography, pixels.
        valid: whether the homography describes the frame.
    """

    matrix: np.ndarray
    flow: np.ndarray
    inliers: float
    noise: float
    valid: bool

    @property
    def speed(self) -> float:
        """Return the mean motion of the image, pixels per frame."""
        return mean_motion(self.matrix, self.flow.shape[:2])


class EgoMotion:
    """Estimates the motion of the camera from successive images.

    Without `fit`, the homography is always that of the other source, or none.
    """

    def __init__(self, fit: bool = True) -> None:
        self._fits = fit
        self._flow = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_ULTRAFAST)
        self._flow.setFinestScale(0)
        self._flow.setPatchSize(8)
        self._flow.setPatchStride(5)
        self._flow.setGradientDescentIterations(8)
        # The refinement takes a third of the time of the flow and changes the figures little.
        self._flow.setVariationalRefinementIterations(0)

    def estimate(
        self,
        image: np.ndarray,
        previous: np.ndarray,
        hint: np.ndarray | None = None,
    ) -> CameraMotion:
        """Return the motion from `previous` to `image`, uint8 `[h, w]` of the same shape.

        `hint`, `[3, 3]`, is a homography like `CameraMotion.matrix` from another source; it is
        used if more points agree with it.
        """
        height, width = shape = image.shape
        # The stub lacks None, which stands for no initial flow.
        flow: np.ndarray = self._flow.calc(image, previous, None)  # type: ignore[call-overload]
        start, end = _samples(image, flow)
        matrix = _fit(start, end) if self._fits else np.eye(3)
        agrees, noise = _agreement(matrix, start, end)
        if hint is not None:
            agrees_too, noise_too = _agreement(hint, start, end)
            if agrees_too.sum() > agrees.sum() or not self._fits:
                matrix, agrees, noise = hint, agrees_too, noise_too
        inliers = float(agrees.mean()) if len(agrees) else 0.0
        column, row = (start[agrees] * (3 / width, 3 / height)).astype(int).T
        blocks = np.bincount(column + 3 * row, minlength=9)
        textured = len(start) * GRID**2 / (width * height)
        valid = (
            textured >= MIN_POINTS
            and inliers >= MIN_INLIERS
            and int(np.count_nonzero(blocks)) >= MIN_BLOCKS
            and _is_plausible(matrix, shape)
        )
        return CameraMotion(matrix if valid else np.eye(3), flow, inliers, noise, valid)


def homography_flow(matrix: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Return the displacement of each pixel by a homography, float32 `[h, w, 2]`."""
    x, y = homography_positions(matrix, shape)
    x -= np.arange(shape[1], dtype=np.float32)
    y -= np.arange(shape[0], dtype=np.float32)[:, None]
    return np.stack([x, y], axis=2)


def homography_positions(
    matrix: np.ndarray, shape: tuple[int, ...]
) -> tuple[np.ndarray, np.ndarray]:
    """Return the coordinates x, y, float32 `[h, w]`, to which a homography moves each pixel."""
    x = np.arange(shape[1], dtype=np.float32)
    y = np.arange(shape[0], dtype=np.float32)[:, None]
    m = matrix.astype(np.float32)
    depth = np.reciprocal((m[2, 0] * x + m[2, 2]) + m[2, 1] * y)
    to_x, to_y = ((row[0] * x + row[2]) + row[1] * y for row in m[:2])
    to_x *= depth
    to_y *= depth
    return to_x, to_y


def transform_point(matrix: np.ndarray, x: float, y: float) -> tuple[float, float]:
    """Return the position to which a homography `[3, 3]` moves (x, y)."""
    # Scalars: NumPy takes several times as long for a single point.
    (a, b, c), (d, e, f), (g, h, i) = matrix.tolist()
    depth = g * x + h * y + i or math.nan
    return (a * x + b * y + c) / depth, (d * x + e * y + f) / depth


def transform_points(matrix: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Return the positions `[N, 2]` to which a homography `[3, 3]` moves `points` `[N, 2]`."""
    moved = points @ matrix[:, :2].T + matrix[:, 2]
    with np.errstate(divide='ignore', invalid='ignore'):
        return np.asarray(moved[:, :2] / moved[:, 2:], float)


def displacements(matrix: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Return the displacement `[9, 2]` by a homography of nine points of an image, pixels."""
    points = PLACES * shape[::-1]
    return transform_points(matrix, points) - points


def mean_motion(matrix: np.ndarray, shape: tuple[int, int]) -> float:
    """Return the mean displacement by a homography of nine points of an image, pixels."""
    steps = displacements(matrix, shape)
    return float(np.hypot(steps[:, 0], steps[:, 1]).mean())


def rotation_homography(rotation: np.ndarray, camera: np.ndarray) -> np.ndarray:
    """Return the homography `K R K⁻¹` of a rotating camera.

    `rotation` `[3, 3]` takes directions in the present optical frame to the previous one, `camera`
    `[3, 3]` is the intrinsic matrix K (Hartley and Zisserman, "Multiple View Geometry", 8.4).
    Raises `ValueError` if `camera` is singular.
    """
    if abs(np.linalg.det(camera)) < 1e-9:
        raise ValueError('the camera matrix is singular; its focal lengths must not be 0')
    return np.asarray(camera @ rotation @ np.linalg.inv(camera), float)


def _samples(image: np.ndarray, flow: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return textured points `[N, 2]` of a grid and where the flow takes them."""
    dx, dy = cv2.Sobel(image, cv2.CV_32F, 1, 0), cv2.Sobel(image, cv2.CV_32F, 0, 1)
    grid = np.s_[GRID // 2 :: GRID, GRID // 2 :: GRID]
    texture = cv2.boxFilter(dx * dx + dy * dy, -1, (5, 5))[grid].ravel()
    start = _grid_points(image.shape[0], image.shape[1])
    end = start + flow[grid].reshape(-1, 2)
    rank = int(MIN_TEXTURE / 100 * (texture.size - 1))
    keep = texture > max(float(np.partition(texture, rank)[rank]), MIN_TEXTURE_ENERGY)
    return start[keep], end[keep]


@lru_cache(maxsize=4)
def _grid_points(height: int, width: int) -> np.ndarray:
    """Return the points (x, y) of the grid, float32 `[N, 2]`."""
    rows, columns = np.mgrid[GRID // 2 : height : GRID, GRID // 2 : width : GRID]
    return np.stack([columns.ravel(), rows.ravel()], axis=1).astype(np.float32)


def _fit(start: np.ndarray, end: np.ndarray) -> np.ndarray:
    """Return the homography that most points agree with; the identity if there is none."""
    if len(start) < 4:
        return np.eye(3)
    matrix, _ = cv2.findHomography(
        start, end, cv2.RANSAC, TOLERANCE, maxIters=300, confidence=0.99
    )
    return np.eye(3) if matrix is None else matrix


def _agreement(matrix: np.ndarray, start: np.ndarray, end: np.ndarray) -> tuple[np.ndarray, float]:
    """Return which points agree with a homography, bool `[N]`, and their median distance."""
    error = transform_points(matrix, start) - end
    distance = np.hypot(error[:, 0], error[:, 1])
    agrees = distance < TOLERANCE
    own = distance[agrees]
    middle = own.size // 2
    return agrees, float(np.partition(own, middle)[middle]) if own.size else 0.0


def _is_plausible(matrix: np.ndarray, shape: tuple[int, int]) -> bool:
    """Return whether a homography keeps the image's corners in order and its size roughly."""
    height, width = shape
    corners = np.array([(0, 0, 1), (width, 0, 1), (width, height, 1), (0, height, 1)], float)
    moved = corners @ matrix.T
    if not np.isfinite(moved).all() or moved[:, 2].min() <= 0:
        return False
    area = cv2.contourArea((moved[:, :2] / moved[:, 2:]).astype(np.float32), oriented=True)
    return bool(1 / MAX_STRETCH**2 < area / (width * height) < MAX_STRETCH**2)
