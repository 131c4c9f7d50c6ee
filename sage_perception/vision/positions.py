# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Positions of objects from calibrated cameras: bearings, triangulation and depth images.

The camera model is that of OpenCV and `sensor_msgs/CameraInfo`; frames follow REP-103: the
optical frame of a camera has x to the right, y down and z forward. Errors are propagated to first
order (Hartley and Zisserman, Multiple View Geometry, 2004, chapters 5 and 12).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import cv2
import numpy as np
from numpy.typing import ArrayLike
from scipy.special import fdtri

DistortionModel = Literal['plumb_bob', 'rational_polynomial', 'equidistant']
MIN_PARALLAX_RAD = math.radians(0.25)
"""Smallest angle between the lines of two bearings of a triangulation."""
TAIL_FREEDOM = 3.0
"""Degrees of freedom of the errors of positions, fitted by bench/zspace_positions.py."""
MAX_ITERATIONS = 20
"""Maximum number of Gauss-Newton steps of a triangulation."""


class CalibrationError(ValueError):
    """A calibration or a pose of a camera cannot be used."""


@dataclass(frozen=True, eq=False)
class Position:
    """A position `[3]`, meters, and its covariance `[3, 3]`, square meters, in a fixed frame.

    The covariance describes the central part of the errors, without their tails.
    """

    point: np.ndarray
    covariance: np.ndarray

    @property
    def deviation_m(self) -> float:
        """Return the root of the trace of the covariance, meters."""
        return float(np.sqrt(np.trace(self.covariance)))

    @property
    def total_covariance(self) -> np.ndarray:
        """Return the covariance of all errors, with their tails, `[3, 3]`, square meters.

        It is that of the t distribution of `radius`.
        """
        return self.covariance * TAIL_FREEDOM / (TAIL_FREEDOM - 2)

    def radius(self, level: float) -> float:
        """Return the radius of the ellipsoid that contains the error with probability `level`.

        The ellipsoid is {e: eᵀ·C⁻¹·e ≤ radius²} with the covariance C. Errors of detected regions
        have heavier tails than a Gaussian distribution: they follow a multivariate t distribution
        with `TAIL_FREEDOM` degrees of freedom, for which eᵀ·C⁻¹·e / 3 has the distribution
        F(3, `TAIL_FREEDOM`) (Kotz and Nadarajah, 2004). Raises `ValueError` outside of (0, 1).
        """
        if not 0 < level < 1:
            raise ValueError(f'level is {level}; it must be in (0, 1)')
        return math.sqrt(3 * float(fdtri(3, TAIL_FREEDOM, level)))


@dataclass(frozen=True, eq=False)
class CalibratedCamera:
    """A camera with known intrinsics and pose.

    Attributes
    ----------
    matrix : numpy.ndarray
        K of `sensor_msgs/CameraInfo`, `[3, 3]`, pixels.
    distortion : numpy.ndarray
        D, the coefficients of the distortion model.
    pose : numpy.ndarray
        `[4, 4]`, from the optical frame of the camera to the fixed frame, as tf gives it.
    model : str
        'plumb_bob', 'rational_polynomial' or 'equidistant'.

    Raises `CalibrationError` if the camera is not calibrated or the pose is not rigid.

    """

    matrix: np.ndarray
    distortion: np.ndarray
    pose: np.ndarray
    model: DistortionModel = 'plumb_bob'

    def __post_init__(self) -> None:
        for name, size in (('matrix', 9), ('distortion', None), ('pose', 16)):
            try:
                value = np.asarray(getattr(self, name), np.float64)
            except (TypeError, ValueError):
                raise CalibrationError(f'{name} is not an array of numbers') from None
            if not np.isfinite(value).all() or (size and value.size != size):
                raise CalibrationError(
                    f'{name} has the shape {value.shape}; it must be '
                    f'{f"{size} finite numbers" if size else "finite"}'
                )
            side = {9: (3, 3), 16: (4, 4)}.get(size or 0, (-1,))
            object.__setattr__(self, name, value.reshape(side))
        if self.model not in get_args(DistortionModel):
            raise CalibrationError(
                f'distortion model {self.model!r} is unknown; use one of '
                f'{", ".join(get_args(DistortionModel))}'
            )
        if min(self.matrix[0, 0], self.matrix[1, 1]) <= 0:
            raise CalibrationError('the camera is not calibrated: the focal length in K is 0')
        sizes = (0, 4) if self.model == 'equidistant' else (0, 4, 5, 8, 12, 14)
        if self.distortion.size not in sizes:
            raise CalibrationError(
                f'{self.distortion.size} coefficients do not fit the model {self.model}'
            )
        rotation = self.pose[:3, :3]
        rigid = np.allclose(rotation @ rotation.T, np.eye(3), atol=1e-3)
        if not rigid or np.linalg.det(rotation) < 0 or not np.allclose(self.pose[3], (0, 0, 0, 1)):
            raise CalibrationError('the pose is not a rotation and a translation')

    @property
    def center(self) -> np.ndarray:
        """Return the optical center in the fixed frame, `[3]`, meters."""
        return self.pose[:3, 3]

    def normalized(self, pixel: ArrayLike) -> np.ndarray:
        """Return (x/z, y/z) `[2]` of the ray through a pixel (x, y), without distortion."""
        point = np.asarray(pixel, np.float64).reshape(1, 1, 2)
        if self.model == 'equidistant':
            found = cv2.fisheye.undistortPoints(point, self.matrix, self._fisheye)
        else:
            found = cv2.undistortPoints(point, self.matrix, self.distortion)
        return np.asarray(found, np.float64).reshape(2)

    def bearing(self, pixel: ArrayLike) -> np.ndarray:
        """Return the unit vector `[3]` in the fixed frame toward a pixel (x, y)."""
        ray = self.pose[:3, :3] @ np.append(self.normalized(pixel), 1.0)
        return ray / np.linalg.norm(ray)

    def bearing_deviation(self, pixel: ArrayLike, deviation_px: float) -> float:
        """Return the standard deviation of a bearing, radians, for that of a pixel."""
        x, y = self.normalized(pixel)
        focal = math.sqrt(self.matrix[0, 0] * self.matrix[1, 1])
        return deviation_px / (focal * (1 + x * x + y * y))

    def project(self, point: ArrayLike) -> np.ndarray | None:
        """Return the pixel (x, y) of a point `[3]` of the fixed frame; None behind the camera."""
        rotation = self.pose[:3, :3]
        local = rotation.T @ (np.asarray(point, np.float64) - self.center)
        if local[2] <= 1e-9:
            return None
        zero = np.zeros(3)
        if self.model == 'equidistant':
            pixels, _ = cv2.fisheye.projectPoints(
                local.reshape(1, 1, 3), zero, zero, self.matrix, self._fisheye
            )
        else:
            pixels, _ = cv2.projectPoints(
                local.reshape(1, 3), zero, zero, self.matrix, self.distortion
            )
        return np.asarray(pixels).reshape(2)

    @property
    def _fisheye(self) -> np.ndarray:
        return self.distortion if self.distortion.size else np.zeros(4)


def triangulate(
    cameras: Sequence[CalibratedCamera],
    pixels: Sequence[ArrayLike],
    deviations_px: Sequence[float],
) -> Position | None:
    """Return the position of an object that two or more cameras show, with its covariance.

    Args:
        cameras: the cameras, all in one fixed frame.
        pixels: the place (x, y) of the object in each image.
        deviations_px: standard deviation of each place, pixels, above 0.

    Returns:
        The position with the smallest sum of squared errors in the images, each in units of its
        deviation, found by Gauss-Newton from the point closest to all bearings. The covariance is
        (Jᵀ·W·J)⁻¹. None if the bearings are parallel within `MIN_PARALLAX_RAD`, or if the point
        is behind a camera.

    Raises:
        ValueError: fewer than two cameras, lengths that differ, a deviation that is not above 0,
            or a pixel that is not finite.
    """
    if len(cameras) < 2 or not len(cameras) == len(pixels) == len(deviations_px):
        raise ValueError(
            f'triangulation needs a pixel and a deviation for each of two or more cameras, not '
            f'{len(cameras)} cameras, {len(pixels)} pixels and {len(deviations_px)} deviations'
        )
    for pixel, deviation in zip(pixels, deviations_px, strict=True):
        _check(pixel, deviation)
    bearings = np.stack([c.bearing(p) for c, p in zip(cameras, pixels, strict=True)])
    cosines = abs(bearings @ bearings.T)  # opposite bearings are parallel too
    if math.acos(min(float(cosines.min()), 1.0)) < MIN_PARALLAX_RAD:
        return None
    point = _closest_point(np.stack([camera.center for camera in cameras]), bearings)
    # In normalized coordinates the projection has a simple derivative and no distortion.
    places = np.concatenate([c.normalized(p) for c, p in zip(cameras, pixels, strict=True)])
    weights = np.concatenate(
        [c.matrix.diagonal()[:2] / d for c, d in zip(cameras, deviations_px, strict=True)]
    )
    for _ in range(MAX_ITERATIONS):
        found = _linearized(cameras, point)
        if found is None:
            return None
        predicted, jacobian = found
        weighted = weights[:, None] * jacobian
        step, *_ = np.linalg.lstsq(weighted, weights * (places - predicted), rcond=None)
        point = point + step
        if np.linalg.norm(step) < 1e-9 * max(float(np.linalg.norm(point)), 1.0):
            break
    found = _linearized(cameras, point)
    if found is None or not np.isfinite(point).all():
        return None
    weighted = weights[:, None] * found[1]
    covariance = np.linalg.inv(weighted.T @ weighted)
    return Position(point, (covariance + covariance.T) / 2)


def position_from_depth(
    camera: CalibratedCamera,
    pixel: ArrayLike,
    depth_m: float,
    deviation_px: float,
    depth_deviation_m: float,
) -> Position | None:
    """Return the position of a pixel (x, y) of an aligned depth image, with its covariance.

    `depth_m` is the depth along the optical axis (REP-118). Returns None for a depth that is not
    finite or not above 0, as depth images mark unknown ones. Raises `ValueError` for deviations
    that are not above 0 or a pixel that is not finite.
    """
    _check(pixel, deviation_px)
    if not (math.isfinite(depth_deviation_m) and depth_deviation_m > 0):
        raise ValueError(f'depth deviation is {depth_deviation_m} m; it must be above 0')
    if not (math.isfinite(depth_m) and depth_m > 0):
        return None
    ray = np.append(camera.normalized(pixel), 1.0)
    rotation = camera.pose[:3, :3]
    lateral = depth_m * deviation_px / camera.matrix.diagonal()[:2]
    local = np.diag([*np.square(lateral), 0.0]) + depth_deviation_m**2 * np.outer(ray, ray)
    point = camera.center + rotation @ (depth_m * ray)
    return Position(point, rotation @ local @ rotation.T)


def _check(pixel: ArrayLike, deviation_px: float) -> None:
    place = np.asarray(pixel, np.float64)
    if place.shape != (2,) or not np.isfinite(place).all():
        raise ValueError(f'pixel {pixel!r} is not a place (x, y)')
    if not (math.isfinite(deviation_px) and deviation_px > 0):
        raise ValueError(f'deviation is {deviation_px} px; it must be above 0')


def _closest_point(centers: np.ndarray, bearings: np.ndarray) -> np.ndarray:
    """Return the point with the smallest sum of squared distances from lines `[N, 3]`."""
    across = np.eye(3) - bearings[:, :, None] * bearings[:, None, :]
    return np.linalg.solve(across.sum(axis=0), (across @ centers[:, :, None]).sum(axis=0)[:, 0])


def _linearized(
    cameras: Sequence[CalibratedCamera], point: np.ndarray
) -> tuple[np.ndarray, np.ndarray] | None:
    """Return normalized coordinates `[2N]` of a point and their derivatives `[2N, 3]`.

    None if the point is behind a camera.
    """
    predicted, jacobian = [], []
    for camera in cameras:
        rotation = camera.pose[:3, :3]
        x, y, z = rotation.T @ (point - camera.center)
        if not z > 1e-9:
            return None
        predicted += [x / z, y / z]
        local = np.array([[1 / z, 0, -x / z**2], [0, 1 / z, -y / z**2]])
        jacobian.append(local @ rotation.T)
    return np.array(predicted), np.concatenate(jacobian)
