# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""The motion of the camera from frame to frame: a homography fitted to dense optical flow.

The flow is DIS (Kroeger et al., "Fast Optical Flow using Dense Inverse Search", 2016). A rotation,
a zoom and the motion past a plane are homographies; RANSAC ignores the objects that move.
Coordinates are pixels of the working image; the flow is computed at up to twice its size.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

MIN_SIDE = 48
"""Minimum side of the flow image; the motion in smaller ones is not estimated, pixels."""
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
    def background_flow(self) -> np.ndarray:
        """Return the flow of a background that moves with the camera, float32 `[h, w, 2]`."""
        return homography_flow(self.matrix, self.flow.shape[:2])

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
        # The second finest scale of a twice as large image is as fine as the working image.
        self._flow = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_ULTRAFAST)
        self._flow.setFinestScale(1)
        self._flow.setPatchSize(8)
        self._flow.setPatchStride(5)
        self._flow.setGradientDescentIterations(8)
        self._flow.setVariationalRefinementIterations(1)

    def estimate(
        self,
        image: np.ndarray,
        previous: np.ndarray,
        shape: tuple[int, int],
        hint: np.ndarray | None = None,
    ) -> CameraMotion:
        """Return the motion from `previous` to `image`, uint8 `[H, W]` of the same shape.

        `shape` (h, w) is that of the working image. `hint`, `[3, 3]`, is a homography like
        `CameraMotion.matrix` from another source; it is used if more points agree with it.
        """
        height, width = shape
        scale = np.array([width / image.shape[1], height / image.shape[0]], np.float32)
        # The stub lacks None, which stands for no initial flow.
        flow: np.ndarray = self._flow.calc(image, previous, None)  # type: ignore[call-overload]
        if flow.shape[:2] != shape:
            flow = cv2.resize(flow, (width, height), interpolation=cv2.INTER_AREA) * scale
        small = cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA)
        start, end = _samples(small, flow)
        matrix = _fit(start, end) if self._fits else np.eye(3)
        agrees, noise = _agreement(matrix, start, end)
        if hint is not None:
            agrees_too, noise_too = _agreement(hint, start, end)
            if agrees_too.sum() > agrees.sum() or not self._fits:
                matrix, agrees, noise = hint, agrees_too, noise_too
        inliers = float(agrees.mean()) if len(agrees) else 0.0
        blocks = np.unique((3 * start[agrees] / (width, height)).astype(int) @ (1, 3))
        textured = len(start) * GRID**2 / (width * height)
        valid = (
            textured >= MIN_POINTS
            and inliers >= MIN_INLIERS
            and len(blocks) >= MIN_BLOCKS
            and _is_plausible(matrix, shape)
        )
        return CameraMotion(matrix if valid else np.eye(3), flow, inliers, noise, valid)


def homography_flow(matrix: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Return the displacement of each pixel by a homography, float32 `[h, w, 2]`."""
    height, width = shape
    x = np.arange(width, dtype=np.float32)
    y = np.arange(height, dtype=np.float32)[:, None]
    m = matrix.astype(np.float32)
    depth = m[2, 0] * x + m[2, 1] * y + m[2, 2]
    flow = np.empty((height, width, 2), np.float32)
    flow[..., 0] = (m[0, 0] * x + m[0, 1] * y + m[0, 2]) / depth - x
    flow[..., 1] = (m[1, 0] * x + m[1, 1] * y + m[1, 2]) / depth - y
    return flow


def transform_point(matrix: np.ndarray, x: float, y: float) -> tuple[float, float]:
    """Return the position to which a homography `[3, 3]` moves (x, y)."""
    u, v, depth = matrix @ (x, y, 1.0)
    return float(u / depth), float(v / depth)


def mean_motion(matrix: np.ndarray, shape: tuple[int, int]) -> float:
    """Return the mean displacement by a homography of nine points of an image, pixels."""
    points = [(x * shape[1], y * shape[0]) for x in (0.1, 0.5, 0.9) for y in (0.1, 0.5, 0.9)]
    moved = [transform_point(matrix, *point) for point in points]
    return float(np.mean(np.linalg.norm(np.subtract(moved, points), axis=1)))


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
    rows, columns = np.mgrid[
        grid[0].start : image.shape[0] : GRID, grid[1].start : image.shape[1] : GRID
    ]
    start = np.stack([columns.ravel(), rows.ravel()], axis=1).astype(np.float32)
    end = start + flow[grid].reshape(-1, 2)
    keep = texture > max(float(np.percentile(texture, MIN_TEXTURE)), MIN_TEXTURE_ENERGY)
    return start[keep], end[keep]


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
    moved = np.column_stack([start, np.ones(len(start))]) @ matrix.T
    with np.errstate(divide='ignore', invalid='ignore'):
        error = np.linalg.norm(moved[:, :2] / moved[:, 2:] - end, axis=1)
    agrees = error < TOLERANCE
    return agrees, float(np.median(error[agrees])) if agrees.any() else 0.0


def _is_plausible(matrix: np.ndarray, shape: tuple[int, int]) -> bool:
    """Return whether a homography keeps the image's corners in order and its size roughly."""
    height, width = shape
    corners = np.array([(0, 0, 1), (width, 0, 1), (width, height, 1), (0, height, 1)], float)
    moved = corners @ matrix.T
    if not np.isfinite(moved).all() or moved[:, 2].min() <= 0:
        return False
    area = cv2.contourArea((moved[:, :2] / moved[:, 2:]).astype(np.float32), oriented=True)
    return bool(1 / MAX_STRETCH**2 < area / (width * height) < MAX_STRETCH**2)
