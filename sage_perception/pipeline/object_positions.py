# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Bearings and positions of tracks from the regions that calibrated cameras see them in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from sage_perception.core.latent import Roi
from sage_perception.vision.depth_images import depth_of
from sage_perception.vision.positions import (
    CalibratedCamera,
    Position,
    position_from_depth,
    triangulate,
)

DEVIATION_OF_SIDE = 0.0122
"""Standard deviation of the center of a region, relative to its longer side; fitted on rendered
scenes (bench/zspace_positions.py)."""
MIN_DEVIATION_PX = 0.5
MAX_MISS_OF_SIDE = 0.25
"""Distance of a triangulated point from the center of a region, relative to its side, above which
the regions do not show one object."""


class TrackView(NamedTuple):
    """The region of a track in the image of a camera; `size` is width and height, pixels."""

    camera: str
    track_id: int
    roi: Roi
    size: tuple[int, int]

    @property
    def deviation_px(self) -> float:
        """Return the standard deviation of the center, pixels."""
        return max(DEVIATION_OF_SIDE * max(self.roi.width, self.roi.height), MIN_DEVIATION_PX)

    @property
    def is_whole(self) -> bool:
        """Return whether the region does not touch the border, where it shows only a part."""
        right, bottom = self.roi.x + self.roi.width, self.roi.y + self.roi.height
        inside = min(self.roi.x, self.roi.y) > 0
        return inside and right < self.size[0] and bottom < self.size[1]


class Bearing(NamedTuple):
    """The ray from the center of a camera toward a track: both `[3]` in the fixed frame.

    `origin` is in meters, `direction` a unit vector and `deviation_rad` its standard deviation.
    """

    track_id: int
    origin: np.ndarray
    direction: np.ndarray
    deviation_rad: float


class ObjectPosition(NamedTuple):
    """The position of a track, its size in meters, and the number of cameras that gave it."""

    track_id: int
    position: Position
    size_m: float
    cameras: int


def bearing_of(view: TrackView, camera: CalibratedCamera) -> Bearing:
    """Return the bearing of the center of a region."""
    center = view.roi.center
    deviation = camera.bearing_deviation(center, view.deviation_px)
    return Bearing(view.track_id, camera.center, camera.bearing(center), deviation)


def triangulated(
    views: Sequence[TrackView], cameras: Mapping[str, CalibratedCamera]
) -> ObjectPosition | None:
    """Return the position of an object from its regions in several images.

    Regions at the border of an image, and those of cameras that are not calibrated, are left out.
    None if fewer than two remain, if their bearings are parallel, or if the point that fits them
    best is too far from the center of one: then they show different objects. The track is that of
    the first view.
    """
    usable = [view for view in views if view.camera in cameras and view.is_whole]
    if len(usable) < 2:
        return None
    calibrated = [cameras[view.camera] for view in usable]
    position = triangulate(
        calibrated, [v.roi.center for v in usable], [v.deviation_px for v in usable]
    )
    if position is None:
        return None
    for view, camera in zip(usable, calibrated, strict=True):
        pixel = camera.project(position.point)
        miss = np.inf if pixel is None else float(np.linalg.norm(pixel - view.roi.center))
        if not miss <= MAX_MISS_OF_SIDE * max(view.roi.width, view.roi.height):
            return None
    size_m = _size_m(usable[0], calibrated[0], position)
    return ObjectPosition(views[0].track_id, position, size_m, len(usable))


def from_depth(
    view: TrackView, camera: CalibratedCamera, depths: np.ndarray
) -> ObjectPosition | None:
    """Return the position of a track from a depth image `[H, W]`, meters, aligned with the image.

    An image of another resolution is scaled. None if the region has no depth.
    """
    height, width = depths.shape
    x_scale, y_scale = width / max(view.size[0], 1), height / max(view.size[1], 1)
    roi = Roi(
        int(view.roi.x * x_scale),
        int(view.roi.y * y_scale),
        max(int(view.roi.width * x_scale), 1),
        max(int(view.roi.height * y_scale), 1),
    )
    found = depth_of(depths, roi)
    if found is None:
        return None
    position = position_from_depth(camera, view.roi.center, found[0], view.deviation_px, found[1])
    if position is None:
        return None
    return ObjectPosition(view.track_id, position, _size_m(view, camera, position), 1)


def _size_m(view: TrackView, camera: CalibratedCamera, position: Position) -> float:
    """Return the side of an object whose region is as large as the view's, meters."""
    depth = float((camera.pose[:3, :3].T @ (position.point - camera.center))[2])
    return depth * max(view.roi.width, view.roi.height) / float(camera.matrix[0, 0])
