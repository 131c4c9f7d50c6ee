# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""What two cameras can see together, where the relation between their images is known.

A file holds one of two matrices of 3×3 numbers, for pixels (x, y, 1) of the primary camera:

    homography: [[1, 0, -40], [0, 1, 0], [0, 0, 1]]   # of things on a plane: to what pixel
    fundamental: [[0, 0, 0], [0, 0, -1], [0, 1, 0]]   # of any: to what (epipolar) line
    tolerance_px: 20                                  # how far off a region's middle may be

Both are what OpenCV's `findHomography` and `findFundamentalMat` return (Hartley and Zisserman,
Multiple View Geometry, 2004).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import yaml

from sage_perception.core.latent import Roi


@dataclass(frozen=True, eq=False)
class CameraGeometry:
    """Where what the primary camera sees can be in the image of another one.

    `matrix` is float64 `[3, 3]`: a homography if `planar`, else a fundamental matrix.
    """

    matrix: np.ndarray
    planar: bool
    tolerance_px: float

    @classmethod
    def read(cls, path: Path) -> CameraGeometry:
        """Read a file as above; `ValueError` for anything else."""
        try:
            content = yaml.safe_load(path.read_text())
            kinds = {'homography', 'fundamental'} & set(content)
            if len(kinds) != 1 or set(content) != {*kinds, 'tolerance_px'}:
                raise ValueError('it must have homography or fundamental, and tolerance_px')
            (kind,) = kinds
            matrix = np.array(content[kind], np.float64)
            tolerance = float(content['tolerance_px'])
        except (OSError, yaml.YAMLError, ValueError, TypeError) as error:
            raise ValueError(f'{path} is no relation of two cameras: {error}') from error
        if matrix.shape != (3, 3) or not np.isfinite(matrix).all() or not matrix.any():
            raise ValueError(f'{path}: {kind} is not 3 rows of 3 finite numbers')
        if not 0 < tolerance < np.inf:
            raise ValueError(f'{path}: tolerance_px is {tolerance}, it must be above 0')
        return cls(matrix, kind == 'homography', tolerance)

    def possible(self, ours: Sequence[Roi | None], theirs: Sequence[Roi | None]) -> np.ndarray:
        """Return which regions can be of one thing, bool `[N, M]`; unknown ones can always."""
        seen = _middles(ours) @ self.matrix.T
        points = _middles(theirs)
        with np.errstate(divide='ignore', invalid='ignore'):
            if self.planar:
                offset = (seen / seen[:, 2:])[:, None, :2] - points[None, :, :2]
                distance = np.linalg.norm(offset, axis=2)
            else:
                distance = abs(seen @ points.T) / np.linalg.norm(seen[:, :2], axis=1)[:, None]
        near = distance <= self.tolerance_px
        return near | np.isnan(points[:, 0])[None] | np.isnan(seen[:, 0])[:, None]


def _middles(rois: Sequence[Roi | None]) -> np.ndarray:
    """Return the middles of regions (x, y, 1), `[N, 3]`; NaN for those that are not known."""
    points = [(*roi.center, 1.0) if roi else (np.nan,) * 3 for roi in rois]
    return np.array(points, np.float64).reshape(-1, 3)
