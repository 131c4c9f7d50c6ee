# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Conversion of `Crop` to `sage_msgs/Crop`."""

from __future__ import annotations

from sage_msgs.msg import Crop as CropMessage
from std_msgs.msg import Header

from sage_perception.core.frame import Crop
from sage_perception.ros.conversions.rois import roi_to_msg
from sage_perception.ros.images import to_message


def crop_to_msg(crop: Crop, header: Header) -> CropMessage:
    """Return a crop as a message; `header` is that of its source frame."""
    return CropMessage(
        roi=roi_to_msg(crop.roi),
        score=float(crop.score),
        source=int(crop.source),
        track_id=crop.track_id,
        image=to_message(crop.image, 'rgb8' if crop.image.ndim == 3 else 'mono8', header),
    )
