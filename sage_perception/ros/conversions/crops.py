# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Conversion of crops and their residuals to messages."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from sage_msgs.msg import Crop as CropMessage
from sage_msgs.msg import CropArray
from std_msgs.msg import Header

from sage_perception.core.frame import Crop, CropSource
from sage_perception.ros.conversions.building import build
from sage_perception.ros.conversions.rois import roi_from_msg, roi_to_msg
from sage_perception.ros.images import image_to_msg, mono_from_msg, rgb_from_msg


def crop_to_msg(crop: Crop, header: Header) -> CropMessage:
    """Return a crop as a message; `header` is that of its source frame."""
    return build(
        CropMessage,
        roi=roi_to_msg(crop.roi),
        score=float(crop.score),
        source=int(crop.source),
        track_id=crop.track_id,
        image=image_to_msg(crop.image, 'rgb8' if crop.image.ndim == 3 else 'mono8', header),
    )


def crop_from_msg(message: CropMessage) -> Crop:
    """Return the crop of a message, in RGB, or gray for a mono8 image.

    Raises:
        ValueError: the image is malformed, or `source` is not a value of `CropSource`.
    """
    roi = roi_from_msg(message.roi)
    if roi is None:
        raise ValueError('the region of a crop is empty')
    gray = message.image.encoding == 'mono8'
    image = mono_from_msg(message.image) if gray else rgb_from_msg(message.image)
    return Crop(image, roi, message.score, CropSource(message.source), message.track_id)


def residuals_to_msg(
    frame: CropArray, crops: Sequence[CropMessage], residuals: np.ndarray
) -> CropArray:
    """Return the residuals of `crops` of a frame, uint8 `[B, S, S, C]`, as a message."""
    encoding = 'rgb8' if residuals.shape[3] == 3 else 'mono8'
    return CropArray(
        header=frame.header,
        source_width=frame.source_width,
        source_height=frame.source_height,
        fault=frame.fault,
        crops=[
            CropMessage(
                roi=crop.roi,
                score=crop.score,
                source=crop.source,
                track_id=crop.track_id,
                image=image_to_msg(residual, encoding, frame.header),
            )
            for crop, residual in zip(crops, residuals, strict=True)
        ],
    )
