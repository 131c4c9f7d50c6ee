# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""How many of the moving objects of one camera another one finds, which shows a known part."""

from __future__ import annotations

from collections.abc import Callable

from sage_perception.cli.demo.footage import HEIGHT, WIDTH, tick_of
from sage_perception.cli.demo.measure import CameraRun
from sage_perception.core.frame import CropSource
from sage_perception.core.latent import Roi

Box = tuple[float, float, float, float]
"""Left, top, right and bottom, pixels."""
MIN_IOU = 0.3
"""Intersection over union from which two regions show the same object."""
MAX_AREA_RATIO = 9.0
"""Area of a region, as a multiple of the object's, up to which it may show it at its center."""
MARGIN = 0.02
"""An object counts if its center is farther from the edges than this share of the image."""


def overlap(
    reference: CameraRun, camera: CameraRun, place: Callable[[Roi, int], Box]
) -> dict[str, float | int | None]:
    """Return the figures of the moving regions of `camera` by those of `reference`.

    Args:
        reference: a camera that sees the whole scene.
        camera: a camera that sees a part of it.
        place: returns where `camera` shows a region of the reference at a stamp.

    Returns:
        `objects`, the number of moving regions of the reference whose center the camera shows;
        `found`, the share of them that it shows in a moving region too; and `unmatched_per_frame`,
        its moving regions that show no region of the reference.
    """
    others = {tick_of(stamp): regions for stamp, regions in camera.regions.items()}
    objects = found = unmatched = frames = 0
    for stamp, regions in reference.regions.items():
        if tick_of(stamp) not in others:
            continue
        frames += 1
        moving = [_box(roi) for source, roi in others[tick_of(stamp)] if _moves(source)]
        placed = [(place(roi, stamp), source) for source, roi in regions]
        inside = [_in_view(box) for box, source in placed if _moves(source) and _is_inside(box)]
        objects += len(inside)
        found += sum(any(_shows(region, box) for region in moving) for box in inside)
        visible = [part for part in (_in_view(box) for box, _ in placed) if _area(part) > 0]
        unmatched += sum(not any(_shows(region, part) for part in visible) for region in moving)
    return {
        'objects': objects,
        'found': round(found / objects, 3) if objects else None,
        'unmatched_per_frame': round(unmatched / frames, 3) if frames else None,
    }


def _moves(source: int) -> bool:
    return source == CropSource.MOTION


def _box(roi: Roi) -> Box:
    return roi.x, roi.y, roi.x + roi.width, roi.y + roi.height


def _in_view(box: Box) -> Box:
    """Return the part of a box inside of the image: regions never leave it."""
    left, top, right, bottom = box
    return (
        min(max(left, 0.0), WIDTH),
        min(max(top, 0.0), HEIGHT),
        min(max(right, 0.0), WIDTH),
        min(max(bottom, 0.0), HEIGHT),
    )


def _is_inside(box: Box) -> bool:
    x, y = (box[0] + box[2]) / 2 / WIDTH, (box[1] + box[3]) / 2 / HEIGHT
    return MARGIN <= x <= 1 - MARGIN and MARGIN <= y <= 1 - MARGIN


def _shows(region: Box, box: Box) -> bool:
    """Return whether a region shows an object: around its center, or by its overlap."""
    x, y = (box[0] + box[2]) / 2, (box[1] + box[3]) / 2
    is_around = region[0] <= x <= region[2] and region[1] <= y <= region[3]
    if is_around and _area(region) <= MAX_AREA_RATIO * _area(box):
        return True
    left, top = max(region[0], box[0]), max(region[1], box[1])
    right, bottom = min(region[2], box[2]), min(region[3], box[3])
    common = _area((left, top, right, bottom)) if right > left and bottom > top else 0.0
    return common >= MIN_IOU * (_area(region) + _area(box) - common)


def _area(box: Box) -> float:
    return (box[2] - box[0]) * (box[3] - box[1])
