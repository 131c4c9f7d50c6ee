# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""The synthetic world of a moving camera, and attention in it."""

import numpy as np
import pytest

from sage_perception.core.frame import CropSource
from sage_perception.vision import Attention
from sage_perception.vision.crops import square_roi
from sage_perception.vision.moving_camera import MovingCameraWorld

MOTIONS = ('pan', 'tilt', 'roll', 'zoom', 'drive')


def shares(roi, other):
    """Return whether a region, a square, overlaps the square of an object by 30 %."""
    side = max(other.width, other.height)
    return roi.iou(square_roi(other.center, side, 640, 480)) >= 0.3


@pytest.mark.parametrize('motion', MOTIONS)
def test_image_is_a_function_of_the_arguments(motion):
    first, second = (MovingCameraWorld(5, motion, 6.0) for _ in range(2))
    first.render(3)
    assert np.array_equal(first.render(9), second.render(9))
    assert first.truth(9) == second.truth(9)
    assert first.render(9).shape == (480, 640, 3)


@pytest.mark.parametrize('motion', MOTIONS)
def test_objects_differ_from_the_world_without_them(motion):
    full = MovingCameraWorld(2, motion, 5.0, noise=0)
    items = full.truth(12)
    assert items
    for item in items:
        roi = item.roi
        patch = full.render(12)[roi.y : roi.y + roi.height, roi.x : roi.x + roi.width]
        colors = patch.reshape(-1, 3).astype(int)
        # Objects are colored, everything else is nearly gray.
        assert item.visible < 0.3 or np.median(np.ptp(colors, axis=1)) > 40


def test_pan_moves_the_image_by_the_given_pixels():
    world = MovingCameraWorld(1, 'pan', 7.0, objects=0, noise=0)
    a, b = world.render(10), world.render(11)
    assert np.array_equal(a[:, 7:], b[:, :-7])


@pytest.mark.parametrize(
    ('option', 'value'),
    [('motion', 'fly'), ('px', -1), ('px', 65), ('width', 641), ('objects', 21), ('noise', 65)],
)
def test_rejects_arguments_out_of_range(option, value):
    with pytest.raises(ValueError, match=f'{option} is'):
        MovingCameraWorld(**{option: value})


@pytest.mark.parametrize(('motion', 'px'), [('pan', 4.0), ('roll', 4.0), ('zoom', 4.0)])
def test_attention_finds_moving_objects_from_a_moving_camera(motion, px):
    world, attention = MovingCameraWorld(0, motion, px), Attention()
    found = objects = false = 0
    for index in range(40):
        crops = attention.attend(world.render(index), index / 30)
        regions = [c.roi for c in crops if c.source == CropSource.MOTION]
        truth = world.truth(index)
        if index < 6:
            continue
        seen = [item.roi for item in truth if item.visible >= 0.5]
        objects += len(seen)
        found += sum(any(shares(r, roi) for r in regions) for roi in seen)
        false += sum(all(r.iou(item.roi) == 0 for item in truth) for r in regions)
    assert found / objects >= 0.85
    assert false / 34 <= 0.2


@pytest.mark.parametrize('motion', ['roll', 'zoom', 'drive'])
def test_a_slow_camera_past_a_still_world_shows_no_motion(motion):
    # The image moves by one pixel per frame at its border, and on average not at all.
    world, attention = MovingCameraWorld(1, motion, 1.0, objects=0), Attention()
    crops = [
        crop
        for index in range(45)
        for crop in attention.attend(world.render(index), index / 30)
        if crop.source == CropSource.MOTION
    ]
    assert len(crops) / 45 <= 0.1
    assert attention.ego_motion == 'moving'


def test_a_moving_camera_past_a_still_world_shows_no_motion():
    world, attention = MovingCameraWorld(3, 'pan', 6.0, objects=0), Attention()
    for index in range(40):
        crops = attention.attend(world.render(index), index / 30)
        assert not [c for c in crops if c.source == CropSource.MOTION]
    assert attention.camera_motion.valid
    assert attention.camera_motion.speed == pytest.approx(6 / 4, abs=0.1)
