# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Regions of other detectors: `vision_msgs`, which need not be installed, and object slots."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from sage_msgs.msg import LCTArray
from std_msgs.msg import Header

from sage_perception.core.frame import Crop
from sage_perception.core.latent import Roi
from sage_perception.models.semantic.vocabulary import MIN_CONFIDENCE, UNKNOWN, Label
from sage_perception.ros.optional_messages import stand_in
from sage_perception.vision.external_regions import ExternalDetection

try:
    from vision_msgs.msg import Detection2D, Detection2DArray, ObjectHypothesisWithPose

    AVAILABLE = True
except ImportError:
    AVAILABLE = False
    Detection2DArray = stand_in('vision_msgs', 'Detection2DArray')


MAX_READ = 1000
"""Maximum number of detections of a message that are read."""


def detections_from_msg(message: Any, limit: int) -> tuple[list[ExternalDetection], int]:
    """Return the valid detections of a `vision_msgs/Detection2DArray`, and the number of others.

    At most `limit` are returned, those with the highest scores. The score is that of the best
    hypothesis, 1 without any. A rotated box is replaced by the upright box around it.
    """
    found, invalid = [], max(len(message.detections) - MAX_READ, 0)
    for each in message.detections[:MAX_READ]:
        scores = [float(result.hypothesis.score) for result in each.results]
        box = each.bbox
        try:
            found.append(
                ExternalDetection(
                    _upright(
                        box.center.position.x,
                        box.center.position.y,
                        box.size_x,
                        box.size_y,
                        box.center.theta,
                    ),
                    max(scores, default=1.0) if all(map(math.isfinite, scores)) else math.nan,
                )
            )
        except ValueError:
            invalid += 1
    return sorted(found, key=lambda each: -each.score)[:limit], invalid


def slot_regions_from_msg(message: LCTArray) -> tuple[list[ExternalDetection], int]:
    """Return the regions of object slots, scored by trust, and the number of invalid ones."""
    found, invalid = [], 0
    for slot in message.crops:
        left, top = slot.x_offset, slot.y_offset
        try:
            box = float(left), float(top), float(left + slot.width), float(top + slot.height)
            found.append(ExternalDetection(box, float(slot.trust)))
        except ValueError:
            invalid += 1
    return found, invalid


def detections_to_msg(header: Header, crops: Sequence[Crop]) -> Detection2DArray:
    """Return the regions of crops: the track is `id`, the source is the class.

    Raises `RuntimeError` if `vision_msgs` is not installed.
    """
    if not AVAILABLE:
        raise RuntimeError('vision_msgs is not installed')
    array = Detection2DArray(header=header)
    for crop in crops:
        source = crop.source.name.lower()
        array.detections.append(_detection(header, crop.roi, crop.track_id, source, crop.score))
    return array


def objects_to_msg(header: Header, objects: Sequence[tuple[Roi, int, Label]]) -> Detection2DArray:
    """Return regions with their tracks and labels: the noun is the class, or "unknown".

    Raises `RuntimeError` if `vision_msgs` is not installed.
    """
    if not AVAILABLE:
        raise RuntimeError('vision_msgs is not installed')
    array = Detection2DArray(header=header)
    for roi, track_id, label in objects:
        noun = label.noun if label.confidence >= MIN_CONFIDENCE else UNKNOWN
        array.detections.append(_detection(header, roi, track_id, noun, label.confidence))
    return array


def _detection(header: Header, roi: Roi, track_id: int, class_id: str, score: float) -> Any:
    detection = Detection2D(header=header, id=str(track_id))
    detection.bbox.center.position.x, detection.bbox.center.position.y = map(float, roi.center)
    detection.bbox.size_x, detection.bbox.size_y = float(roi.width), float(roi.height)
    result = ObjectHypothesisWithPose()
    result.hypothesis.class_id = class_id
    result.hypothesis.score = float(score)
    detection.results = [result]
    return detection


def _upright(
    x: float, y: float, width: float, height: float, theta: float
) -> tuple[float, float, float, float]:
    """Return the upright box around a box that is rotated by `theta` radians about its center."""
    if not math.isfinite(theta) or width <= 0 or height <= 0:
        raise ValueError('a box is not valid')
    cos, sin = abs(math.cos(theta)), abs(math.sin(theta))
    half_x = (width * cos + height * sin) / 2
    half_y = (width * sin + height * cos) / 2
    return x - half_x, y - half_y, x + half_x, y + half_y
