# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Crops for the tests of the encoder node."""

from sage_msgs.msg import Crop, CropArray
from sensor_msgs.msg import RegionOfInterest
from std_msgs.msg import Header

from sage_perception.ros.conversions.stamps import stamp_to_msg
from sage_perception.ros.images import image_to_msg


def crop_array(number, images):
    """Return the crops of the frame with a number at 30 Hz: tracks 1, 2, ... side by side."""
    header = Header(stamp=stamp_to_msg(10**9 + number * 10**9 // 30), frame_id='lens')
    crops = [
        Crop(
            image=image_to_msg(image, 'rgb8', header),
            roi=RegionOfInterest(x_offset=70 * n, width=64, height=64),
            track_id=n + 1,
            score=1.0 / (n + 1),
        )
        for n, image in enumerate(images)
    ]
    return CropArray(header=header, source_width=640, source_height=480, crops=crops)
