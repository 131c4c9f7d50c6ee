# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Depths of regions in depth images (REP-118)."""

from __future__ import annotations

from typing import Any

import numpy as np

from sage_perception.core.latent import Roi
from sage_perception.vision.encodings import checked_layout, rows_of
from sage_perception.vision.image_messages import raw_fields

METERS_PER_UNIT = {'16UC1': 1e-3, 'mono16': 1e-3, '32FC1': 1.0}
"""Meters of a unit of a depth image, by encoding."""
MIN_SHARE = 0.2
"""Share of the pixels of a region that must have a depth."""
RELATIVE_DEVIATION = 0.01
"""Smallest deviation of a depth, relative to it."""


def depth_image(message: Any) -> np.ndarray:
    """Return a `sensor_msgs/Image` as depths in meters, float32 `[H, W]`; 0 and NaN: unknown.

    Raises `ValueError` for an encoding that has no depths, and for a malformed image.
    """
    encoding, height, width, step, big, data = raw_fields(message)
    scale = METERS_PER_UNIT.get(encoding)
    if scale is None:
        raise ValueError(
            f'encoding {encoding!r} is not that of a depth image: '
            f'{", ".join(METERS_PER_UNIT)} (REP-118)'
        )
    checked_layout(encoding, height, width, step, data)
    return rows_of(encoding, height, width, step, big, data).astype(np.float32) * scale


def depth_of(depths: np.ndarray, roi: Roi) -> tuple[float, float] | None:
    """Return the depth of the object in a region and its standard deviation, meters.

    The depth is the median in the central half of the region, which shows little of the
    background. The deviation is 1.4826 times the median absolute deviation, at least
    `RELATIVE_DEVIATION` of the depth. None if too few pixels have a depth.
    """
    height, width = depths.shape
    top, left = max(roi.y + roi.height // 4, 0), max(roi.x + roi.width // 4, 0)
    bottom = min(roi.y + roi.height - roi.height // 4, height)
    right = min(roi.x + roi.width - roi.width // 4, width)
    part = depths[top:bottom, left:right]
    known = part[np.isfinite(part) & (part > 0)]
    if not part.size or known.size < MIN_SHARE * part.size:
        return None
    depth = float(np.median(known))
    spread = 1.4826 * float(np.median(np.abs(known - depth)))
    return depth, max(spread, RELATIVE_DEVIATION * depth)
