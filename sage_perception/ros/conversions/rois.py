# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Conversions between `sensor_msgs/RegionOfInterest` and `Roi`."""

from __future__ import annotations

from sensor_msgs.msg import RegionOfInterest

from sage_perception.core.latent import Roi
from sage_perception.ros.conversions.building import build


def roi_to_msg(roi: Roi | None) -> RegionOfInterest:
    """Return a region as a message; None becomes all zeros."""
    if roi is None:
        return RegionOfInterest()
    return build(
        RegionOfInterest,
        x_offset=roi.x,
        y_offset=roi.y,
        height=roi.height,
        width=roi.width,
        do_rectify=False,
    )


def roi_from_msg(message: RegionOfInterest) -> Roi | None:
    """Return the region of a message; None if it is empty."""
    if not message.width or not message.height:
        return None
    return Roi(message.x_offset, message.y_offset, message.width, message.height)
