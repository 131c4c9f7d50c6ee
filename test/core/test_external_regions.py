# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Detections of another detector: matched by stamp, moved with the camera, and cropped first."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sage_perception.core.frame import CropSource
from sage_perception.core.latent import Roi
from sage_perception.vision import Attention
from sage_perception.vision.attention_config import AttentionConfig
from sage_perception.vision.external_regions import (
    MAX_AGE_S,
    ExternalDetection,
    ExternalRegions,
)
from sage_perception.vision.regions import Candidate
from sage_perception.vision.synthetic import SyntheticWorld

FRAME_S = 1 / 30
SIZE = (640, 480)


def shift(x, y):
    return np.array([[1.0, 0, x], [0, 1.0, y], [0, 0, 1.0]])


def roi_of(box):
    return Roi(round(box[0]), round(box[1]), round(box[2] - box[0]), round(box[3] - box[1]))


def detection(x, y, score=0.9, side=40):
    return ExternalDetection((x, y, x + side, y + side), score)


def merged(regions, moving=()):
    return regions.merge(list(moving), roi_of, *SIZE)


@pytest.fixture
def regions():
    """Regions after ten frames of a camera that moves by (-3, 1) pixels per frame."""
    made = ExternalRegions(itertools.count(100))
    for index in range(10):
        made.move(index * FRAME_S, shift(-3, 1))
    return made


def test_detections_of_an_earlier_frame_are_where_the_camera_moved_them(regions):
    regions.add(5 * FRAME_S, [detection(200, 100)])
    regions.move(10 * FRAME_S, shift(-3, 1))
    (found,) = merged(regions)
    assert found == Candidate(Roi(200 - 15, 100 + 5, 40, 40), 0.9, CropSource.EXTERNAL, 100)
    regions.move(11 * FRAME_S, shift(-3, 1))
    assert merged(regions)[0].roi == Roi(200 - 18, 100 + 6, 40, 40)


def test_detections_before_their_frame_wait_for_it(regions):
    regions.add(12 * FRAME_S, [detection(200, 100)])
    for index in (10, 11):
        regions.move(index * FRAME_S, shift(-3, 1))
        assert merged(regions) == []
    regions.move(12 * FRAME_S, shift(-3, 1))
    assert merged(regions)[0].roi == Roi(200, 100, 40, 40)
    assert regions.unmatched == 0


@pytest.mark.parametrize('stamp_s', [5.5 * FRAME_S, -1.0, 1e9, -1e9])
def test_detections_of_unknown_frames_are_counted(regions, stamp_s):
    regions.add(stamp_s, [detection(200, 100)])
    regions.move(10 * FRAME_S, shift(-3, 1))
    assert (merged(regions), regions.unmatched) == ([], 1)


def test_detections_end_when_they_are_old_or_replaced(regions):
    regions.add(9 * FRAME_S, [detection(200, 100)])
    last = 9 + math.floor(MAX_AGE_S / FRAME_S)
    counts = []
    for index in range(10, last + 4):
        regions.move(index * FRAME_S, np.eye(3))
        counts.append(len(merged(regions)))
    assert counts == [1] * (last - 9) + [0] * 3
    regions.add((last + 3) * FRAME_S, [detection(200, 100)])
    regions.move((last + 4) * FRAME_S, np.eye(3))
    assert len(merged(regions)) == 1
    regions.add((last + 4) * FRAME_S, [])
    regions.move((last + 5) * FRAME_S, np.eye(3))
    assert merged(regions) == []


def test_successive_detections_of_an_object_keep_its_id(regions):
    ids = []
    for index in range(10, 15):
        here = [detection(200 + 10 * index, 100), detection(20, 300 - 10 * index)]
        regions.add(index * FRAME_S, here[:: 1 if index % 2 else -1])
        regions.move(index * FRAME_S, np.eye(3))
        ids.append({c.roi.y == 100: c.track_id for c in merged(regions)})
    assert all(each == ids[0] for each in ids)
    assert len(set(ids[0].values())) == 2


def test_tracked_object_that_is_detected_keeps_track_and_region(regions):
    regions.add(9 * FRAME_S, [detection(200, 100, 0.9), detection(400, 300, 0.8)])
    regions.move(10 * FRAME_S, np.eye(3))
    moving = [
        Candidate(Roi(205, 102, 40, 40), 0.3, CropSource.MOTION, 7),
        Candidate(Roi(20, 20, 40, 40), 0.5, CropSource.MOTION, 8),
    ]
    found = merged(regions, moving)
    assert found[0] == Candidate(Roi(205, 102, 40, 40), 0.9, CropSource.EXTERNAL, 7)
    assert found[1] == moving[1]
    assert (found[2].roi, found[2].track_id) == (Roi(400, 300, 40, 40), 101)
    # The object stops: the detection keeps the id of its track.
    assert [c.track_id for c in merged(regions)] == [7, 101]
    # Its track continues elsewhere: no id names two regions.
    moving = [Candidate(Roi(20, 300, 40, 40), 0.5, CropSource.MOTION, 7)]
    ids = [c.track_id for c in merged(regions, moving)]
    assert len(set(ids)) == len(ids) == 3


@given(st.lists(st.floats(), min_size=5, max_size=5))
def test_detections_are_finite_boxes_with_a_score(values):
    left, top, right, bottom, score = values
    valid = all(map(math.isfinite, values)) and left < right and top < bottom and 0 <= score <= 1
    try:
        ExternalDetection((left, top, right, bottom), score)
    except ValueError:
        assert not valid
    else:
        assert valid


@given(
    st.floats(-1e300, 1e300), st.floats(-1e300, 1e300), st.floats(1e-300, 1e300), st.floats(0, 1)
)
def test_attention_accepts_detections_anywhere(x, y, side, score):
    attention = Attention(AttentionConfig())
    image = np.full((64, 96, 3), 90, np.uint8)
    attention.attend(image, 0.0)
    if x + side > x and y + side > y:
        box = (x, y, x + side, y + side)
        attention.add_detections(0.0, [ExternalDetection(box, score)])
    for crop in attention.attend(image, FRAME_S):
        assert 0 <= crop.roi.x <= 96 - crop.roi.width
        assert 0 <= crop.roi.y <= 64 - crop.roi.height


def test_detected_object_of_a_still_scene_gets_a_crop_with_one_id():
    """A standing object, which no motion shows, is detected five times a second."""
    world = SyntheticWorld(seed=2, objects=0)
    attention = Attention(AttentionConfig(saliency_weight=0.0))
    shown = []
    for index in range(60):
        if index % 6 == 3:
            stamp_s = (index - 3) * FRAME_S  # the detector takes three frames
            attention.add_detections(stamp_s, [detection(300, 200, side=80)])
        crops = attention.attend(world.render(index * FRAME_S, index), index * FRAME_S)
        shown.append([(c.source, c.roi, c.track_id, c.score) for c in crops])
    assert all(not each for each in shown[:3])
    (first,) = shown[3]
    assert first[0] is CropSource.EXTERNAL
    assert first[1].center == pytest.approx((340, 240), abs=1)
    assert first[1].width == pytest.approx(96, abs=1)
    assert all(each == [first] for each in shown[3:])
    assert attention.unmatched_detections == 0


def test_detections_come_before_moving_objects():
    world = SyntheticWorld(seed=1, objects=4)
    attention = Attention(AttentionConfig(max_crops=2, saliency_weight=0.0))
    boxes = [detection(20, 20, 0.01, 30), detection(580, 20, 0.01, 30)]
    for index in range(60):
        attention.add_detections(index * FRAME_S, boxes)
        crops = attention.attend(world.render(index * FRAME_S, index), index * FRAME_S)
    assert {crop.source for crop in crops} == {CropSource.EXTERNAL}
