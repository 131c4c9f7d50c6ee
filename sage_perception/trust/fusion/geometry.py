# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Epipolar and planar constraints on which regions of two cameras can show one object.

A geometry file is YAML with a 3×3 matrix that applies to pixels (x, y, 1) of the primary camera,
and a tolerance:

    homography: [[1, 0, -40], [0, 1, 0], [0, 0, 1]]   # objects on a plane: primary to other pixel
    fundamental: [[0, 0, 0], [0, 0, -1], [0, 1, 0]]   # any object: primary pixel to epipolar line
    tolerance_px: 20                                  # distance of a region's center, pixels

It has either `homography` or `fundamental`, as OpenCV's `findHomography` and `findFundamentalMat`
return them (Hartley and Zisserman, Multiple View Geometry, 2004). `PosedGeometry` needs no file,
but calibrations and poses of both cameras.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeGuard

import numpy as np

from sage_perception.core.latent import Roi
from sage_perception.core.yaml_file import read_mapping
from sage_perception.vision.positions import CalibratedCamera

FORMAT = (
    'a camera geometry file has homography or fundamental, 3 rows of 3 numbers, and tolerance_px'
)

SPREAD = 5.0
"""Distances of two objects that are near each other by chance, in tolerances."""
MAX_LOG_RATIO = 20.0
MIN_BASELINE_M = 1e-4
"""Distance of two cameras below which there are no epipolar lines, meters."""


class Geometry(ABC):
    """Which regions of another camera can show the object of a region of the primary camera.

    A region is possible within `tolerance_px` of the point or the line that the primary region
    predicts; `planar` tells that it is a point.
    """

    planar: bool
    tolerance_px: float

    def possible(self, ours: Sequence[Roi | None], theirs: Sequence[Roi | None]) -> np.ndarray:
        """Return which pairs of regions can show one object, bool `[N, M]`.

        `ours` are regions of the primary camera. A pair without a prediction is not excluded.
        """
        distance = self._distances(ours, theirs)
        return (distance <= self.tolerance_px) | np.isnan(distance)

    def log_ratio(self, ours: Sequence[Roi | None], theirs: Sequence[Roi | None]) -> np.ndarray:
        """Return the log-likelihood ratios that pairs of regions show one object, `[N, M]`.

        See `_log_ratio`. A pair without a prediction is no evidence.
        """
        return _log_ratio(self._distances(ours, theirs) / self.tolerance_px, self.planar)

    @abstractmethod
    def _distances(self, ours: Sequence[Roi | None], theirs: Sequence[Roi | None]) -> np.ndarray:
        """Return the distances of regions from their predictions, pixels, `[N, M]`.

        NaN without a prediction, which needs both regions.
        """


@dataclass(frozen=True, eq=False)
class CameraGeometry(Geometry):
    """Where an object in the primary image can appear in the image of another camera.

    `matrix` is float64 `[3, 3]`: a homography if `planar`, otherwise a fundamental matrix.
    `tolerance_px` is the largest distance of a region's center from the predicted point or line.
    """

    matrix: np.ndarray
    planar: bool
    tolerance_px: float

    @classmethod
    def read(cls, path: Path) -> CameraGeometry:
        """Read a geometry file; raise `ValueError` in one line if it is missing or invalid."""
        try:
            content = read_mapping(path)
        except OSError as error:
            raise ValueError(f'{path} cannot be read: {error.strerror}') from error
        except ValueError as error:
            raise ValueError(f'{error}; {FORMAT}') from error
        try:
            return cls.from_mapping(content)
        except ValueError as error:
            raise ValueError(f'{path}: {error}') from error

    @classmethod
    def from_mapping(cls, content: Mapping[Hashable, Any]) -> CameraGeometry:
        """Return the geometry that the content of a file defines; `ValueError` if invalid."""
        kinds = {'homography', 'fundamental'} & content.keys()
        if len(kinds) != 1 or content.keys() != {*kinds, 'tolerance_px'}:
            raise ValueError(
                'it needs the keys tolerance_px and either homography or fundamental, no others'
            )
        (kind,) = kinds
        matrix, tolerance = _matrix(content[kind]), content['tolerance_px']
        if matrix is None or not np.isfinite(matrix).all() or not matrix.any():
            raise ValueError(f'{kind} must be 3 rows of 3 finite numbers, not all of them 0')
        if not _is_number(tolerance) or not 0 < tolerance < np.inf:
            raise ValueError('tolerance_px must be a number above 0, in pixels')
        try:
            return cls(matrix, kind == 'homography', float(tolerance))
        except OverflowError:
            raise ValueError('tolerance_px is out of range') from None

    def _distances(self, ours: Sequence[Roi | None], theirs: Sequence[Roi | None]) -> np.ndarray:
        predicted = _centers(ours) @ self.matrix.T
        points = _centers(theirs)
        with np.errstate(divide='ignore', invalid='ignore'):
            if self.planar:
                offset = (predicted / predicted[:, 2:])[:, None, :2] - points[None, :, :2]
                distance = np.linalg.norm(offset, axis=2)
            else:
                lengths = np.linalg.norm(predicted[:, :2], axis=1)
                distance = abs(predicted @ points.T) / lengths[:, None]
        unknown = np.isnan(points[:, 0])[None] | np.isnan(predicted[:, 0])[:, None]
        # A point at infinity, or a line without a direction, is far from everything.
        return np.where(unknown, np.nan, np.nan_to_num(distance, nan=np.inf))


@dataclass(frozen=True, eq=False)
class PosedGeometry(Geometry):
    """Where an object in the primary image can appear in that of another calibrated camera.

    Both cameras are in one fixed frame. A region predicts its epipolar line, without distortion;
    cameras at one place predict nothing.
    """

    primary: CalibratedCamera
    other: CalibratedCamera
    tolerance_px: float
    planar: bool = False

    def _distances(self, ours: Sequence[Roi | None], theirs: Sequence[Roi | None]) -> np.ndarray:
        relative = np.linalg.inv(self.other.pose) @ self.primary.pose
        x, y, z = relative[:3, 3]
        if math.hypot(x, y, z) < MIN_BASELINE_M:
            return np.full((len(ours), len(theirs)), np.nan)
        essential = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]]) @ relative[:3, :3]
        lines = _rays(self.primary, ours) @ essential.T
        points = _rays(self.other, theirs)
        lengths = np.linalg.norm(lines[:, :2], axis=1)
        focal = float(np.sqrt(self.other.matrix[0, 0] * self.other.matrix[1, 1]))
        with np.errstate(divide='ignore', invalid='ignore'):
            return np.asarray(focal * abs(lines @ points.T) / lengths[:, None])


def _log_ratio(distance: np.ndarray, planar: bool) -> np.ndarray:
    """Return the log-likelihood ratios of distances, in tolerances, 0 where they are NaN.

    The distance of one object is normal, with 95% of it within the tolerance; that of two objects
    is uniform within `SPREAD` tolerances, which is less evidence than a whole image would give.
    """
    if planar:
        sigma = 1 / math.sqrt(-2 * math.log(0.05))  # of a Rayleigh distribution
        at_zero = math.log(SPREAD**2 / (2 * sigma**2))
    else:
        sigma = 1 / 1.96
        at_zero = math.log(2 * SPREAD / (math.sqrt(2 * math.pi) * sigma))
    ratio = at_zero - distance**2 / (2 * sigma**2)
    return np.nan_to_num(ratio.clip(-MAX_LOG_RATIO), nan=0.0)


def _rays(camera: CalibratedCamera, rois: Sequence[Roi | None]) -> np.ndarray:
    """Return (x/z, y/z, 1) of the centers of regions without distortion; NaN for unknown ones."""
    rays = [(*camera.normalized(roi.center), 1.0) if roi else (np.nan,) * 3 for roi in rois]
    return np.array(rays, np.float64).reshape(-1, 3)


def _matrix(value: object) -> np.ndarray | None:
    """Return 3 rows of 3 numbers as float64, None for anything else."""
    if not isinstance(value, list) or len(value) != 3:
        return None
    if not all(isinstance(row, list) and len(row) == 3 for row in value):
        return None
    if not all(_is_number(number) for row in value for number in row):
        return None
    try:
        return np.array(value, np.float64)
    except OverflowError:
        return None


def _is_number(value: object) -> TypeGuard[int | float]:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _centers(rois: Sequence[Roi | None]) -> np.ndarray:
    """Return the homogeneous centers (x, y, 1) of regions, `[N, 3]`; NaN for unknown ones."""
    points = [(*roi.center, 1.0) if roi else (np.nan,) * 3 for roi in rois]
    return np.array(points, np.float64).reshape(-1, 3)
