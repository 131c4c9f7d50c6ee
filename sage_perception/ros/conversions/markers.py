# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Conversion of regions of an image to `visualization_msgs/MarkerArray`."""

from __future__ import annotations

from collections.abc import Iterable

from geometry_msgs.msg import Point
from sensor_msgs.msg import CameraInfo
from std_msgs.msg import ColorRGBA, Header
from visualization_msgs.msg import Marker, MarkerArray

from sage_perception.core.latent import Roi
from sage_perception.core.track_ids import short_label
from sage_perception.vision.mosaic import track_color

DEFAULT_FOCAL = 0.87
"""Focal length of an uncalibrated camera, image widths: a field of view of about 60 degrees."""


def regions_to_markers(
    header: Header,
    regions: Iterable[tuple[Roi, int]],
    size: tuple[int, int],
    info: CameraInfo | None = None,
) -> MarkerArray:
    """Return regions as boxes with their track ids, on the plane 1 m in front of the camera.

    Args:
        header: header of the image; its frame is the optical frame of the camera.
        regions: regions in pixels, and their track ids.
        size: width and height of the image, pixels.
        info: calibration; without one, the camera is assumed to have a field of view of 60°.
    """
    width, height = max(size[0], 1), size[1]
    focal = (DEFAULT_FOCAL * width, DEFAULT_FOCAL * width)
    center = (width / 2, height / 2)
    if info is not None and info.k[0]:
        focal, center = (info.k[0], info.k[4]), (info.k[2], info.k[5])

    def point(x: float, y: float) -> Point:
        return Point(x=(x - center[0]) / focal[0], y=(y - center[1]) / focal[1], z=1.0)

    array = MarkerArray(markers=[Marker(header=header, action=Marker.DELETEALL)])
    for number, (roi, track_id) in enumerate(regions):
        red, green, blue = (c / 255 for c in track_color(track_id))
        box = Marker(header=header, ns='regions', id=number, type=Marker.LINE_STRIP)
        box.scale.x = 0.005
        box.pose.orientation.w = 1.0
        box.color = ColorRGBA(r=red, g=green, b=blue, a=1.0)
        right, bottom = roi.x + roi.width, roi.y + roi.height
        corners = [
            (roi.x, roi.y),
            (right, roi.y),
            (right, bottom),
            (roi.x, bottom),
            (roi.x, roi.y),
        ]
        box.points = [point(x, y) for x, y in corners]
        label = Marker(header=header, ns='tracks', id=number, type=Marker.TEXT_VIEW_FACING)
        label.scale.z = 0.04
        label.color = box.color
        label.pose.orientation.w = 1.0
        label.pose.position = point(roi.x + roi.width / 2, roi.y)
        label.text = short_label(track_id)
        array.markers += [box, label]
    return array
