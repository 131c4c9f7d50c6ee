# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Parallax: still objects nearer than the plane that the homography of the camera follows.

What the homography leaves over of their flow points away from one point of the image, the epipole,
or has one direction everywhere (Irani and Anandan, "A unified approach to moving object detection
in 2D and 3D scenes", 1998). Several scattered areas that agree on an epipole are still objects;
their component along the epipolar lines is no evidence of motion.
"""

from __future__ import annotations

import cv2
import numpy as np

from sage_perception.vision.motion import connected_areas

MIN_RESIDUAL = 1.5
"""Evidence of an area that takes part in the search of the epipole."""
MIN_AREA = 12
"""Minimum number of pixels of such an area."""
MAX_AREAS = 10
"""Maximum number of areas in the search, the largest ones."""
MIN_COSINE = 0.97
"""Cosine between a residual and its epipolar line from which they agree."""
TOLERANCE = 0.15
"""Tangent of the angle to its epipolar line up to which a residual is parallax."""
MEMORY = 0.8
"""Weight of the epipolar lines of the frames so far in the fit."""
UNIT = 100.0
"""Length that balances positions and directions in the fit, pixels."""
MIN_AGREEING = 3
"""Number of areas that must agree on an epipole."""
MIN_HULL = 0.25
"""Minimum area of their convex hull, fractions of the image."""
MAX_SHARE = 0.65
"""Fraction of all their pixels that the largest area may have: an object with small parts."""
MAX_FILL = 0.35
"""Fraction of their convex hull that the areas may fill: parts of one object fill more."""
CONFIRMATIONS = 3
"""Number of frames in which an epipole must be found before it is used."""
MEMORY_S = 1.0
"""Time for which an epipole is used without being found again, seconds."""


class Parallax:
    """Finds the epipole of a camera that translates."""

    def __init__(self) -> None:
        self._epipole: np.ndarray | None = None
        self._confirmations = 0
        self._age_s = 0.0
        self._lines = np.zeros((3, 3))
        self._pixels = 1

    @property
    def epipole(self) -> np.ndarray | None:
        """Return the epipole `[3]`, homogeneous, in pixels; None without parallax.

        The residual of a near still object at (x, y) points along (e0 - e2 x, e1 - e2 y).
        """
        return self._epipole if self._confirmations >= CONFIRMATIONS else None

    def update(self, residual: np.ndarray, evidence: np.ndarray, dt: float) -> None:
        """Search the epipole in a frame.

        `residual` `[2, h, w]` is the flow that the camera leaves over, pixels, `evidence` `[h, w]`
        its significance, `dt` the time since the last frame, seconds.
        """
        self._age_s += dt
        self._pixels = evidence.size
        centers, vectors, areas = _areas(residual, evidence)
        found = None
        if len(centers) >= 2:
            found = self._search(centers, vectors, areas)
        if found is not None:
            self._epipole, self._age_s = self._refine(found, centers, vectors, areas), 0.0
            self._confirmations += 1
        elif self._age_s > (MEMORY_S if self._confirmations >= CONFIRMATIONS else 0.0):
            self._epipole, self._confirmations = None, 0
            self._lines[:] = 0

    def remove(self, residual: np.ndarray) -> np.ndarray:
        """Return the length of the residual without parallax, `[h, w]`, pixels."""
        epipole = self.epipole
        if epipole is None:
            return cv2.magnitude(*residual)
        height, width = residual.shape[1:]
        x = epipole[0] - epipole[2] * np.arange(width, dtype=np.float32)
        y = epipole[1] - epipole[2] * np.arange(height, dtype=np.float32)[:, None]
        x, y = np.array(np.broadcast_arrays(x, y), np.float32).reshape(2, height, width)
        length = np.maximum(cv2.magnitude(x, y), 1e-6)
        x /= length
        y /= length
        along = residual[0] * x + residual[1] * y
        across = np.abs(residual[0] * y - residual[1] * x)
        across -= TOLERANCE * np.maximum(along, 0)
        return cv2.magnitude(np.maximum(across, 0), np.minimum(along, 0))

    def _refine(
        self,
        epipole: np.ndarray,
        centers: np.ndarray,
        vectors: np.ndarray,
        areas: list[np.ndarray],
    ) -> np.ndarray:
        """Return the epipole that fits all agreeing areas of the last frames best."""
        agreeing = _cosines(epipole[None], centers, vectors)[0] > MIN_COSINE
        lines = np.cross(_homogeneous(centers), _homogeneous(centers + vectors))[agreeing]
        lines /= np.linalg.norm(lines[:, :2], axis=1, keepdims=True) + 1e-9
        weights = np.array([len(area) for area in areas])[agreeing]
        # Distances in units of the image: the third coordinate of a line is in pixels.
        unit = np.diag([1, 1, 1 / UNIT])
        lines = lines @ unit
        self._lines = MEMORY * self._lines + (weights[:, None] * lines).T @ lines
        best = unit @ np.linalg.eigh(self._lines)[1][:, 0]
        best /= np.linalg.norm(best)
        sign = np.sign(np.sum(weights * _cosines(best[None], centers, vectors)[0, agreeing]))
        return best * (sign or 1.0)

    def _search(
        self, centers: np.ndarray, vectors: np.ndarray, areas: list[np.ndarray]
    ) -> np.ndarray | None:
        """Return the epipole that most areas agree on, if they are enough and scattered."""
        lines = np.cross(_homogeneous(centers), _homogeneous(centers + vectors))
        first, second = np.triu_indices(len(lines), 1)
        candidates = np.cross(lines[first], lines[second])
        if self._epipole is not None:
            candidates = np.vstack([self._epipole, candidates])
        norms = np.linalg.norm(candidates, axis=1)
        candidates = candidates[norms > 1e-9] / norms[norms > 1e-9, None]
        cosines = _cosines(candidates, centers, vectors)
        agreeing = np.stack([cosines, -cosines], axis=1).reshape(-1, len(areas)) > MIN_COSINE
        counts = agreeing.sum(axis=1)
        tried = set()
        for index in np.argsort(-counts, kind='stable'):
            if counts[index] < MIN_AGREEING:
                break
            chosen = agreeing[index].tobytes()
            if chosen not in tried and self._scattered(areas, agreeing[index]):
                return np.asarray((1 - 2 * (index % 2)) * candidates[index // 2], float)
            tried.add(chosen)
        return None

    def _scattered(self, areas: list[np.ndarray], chosen: np.ndarray) -> bool:
        """Return whether the chosen areas lie far apart, as parts of one object do not."""
        own = [area for area, agrees in zip(areas, chosen, strict=True) if agrees]
        pixels = np.concatenate(own)
        if max(map(len, own)) > MAX_SHARE * len(pixels):
            return False
        hull = cv2.contourArea(cv2.convexHull(pixels.astype(np.int32)))
        return hull > MIN_HULL * self._pixels and len(pixels) < MAX_FILL * hull


def _areas(
    residual: np.ndarray, evidence: np.ndarray
) -> tuple[np.ndarray, np.ndarray, list[np.ndarray]]:
    """Return center `[N, 2]`, mean residual `[N, 2]` and pixels of the areas with evidence."""
    mask = (evidence > MIN_RESIDUAL).view(np.uint8)
    labels, stats = connected_areas(mask)
    order = 1 + np.argsort(-stats[1:, cv2.CC_STAT_AREA], kind='stable')
    places, vectors, areas = [], [], []
    for label in order[:MAX_AREAS]:
        x, y, width, height, area = stats[label].tolist()
        if area < MIN_AREA:
            break
        rows, columns = np.nonzero(labels[y : y + height, x : x + width] == label)
        rows, columns = rows + y, columns + x
        places.append((columns.mean(), rows.mean()))
        vectors.append(np.median(residual[:, rows, columns], axis=1))
        areas.append(np.stack([columns, rows], axis=1))
    return np.array(places).reshape(-1, 2), np.array(vectors).reshape(-1, 2), areas


def _homogeneous(points: np.ndarray) -> np.ndarray:
    return np.column_stack([points, np.ones(len(points))])


def _cosines(epipoles: np.ndarray, centers: np.ndarray, vectors: np.ndarray) -> np.ndarray:
    """Return the cosines `[K, N]` between each residual and its direction to each epipole."""
    directions = epipoles[:, None, :2] - epipoles[:, None, 2:] * centers
    lengths = np.hypot(directions[..., 0], directions[..., 1]) * np.linalg.norm(vectors, axis=1)
    along = np.einsum('kij,ij->ki', directions, vectors)
    return np.asarray(along / np.maximum(lengths, 1e-9), float)
