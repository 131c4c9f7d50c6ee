# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""The synthetic world: its images and its ground truth."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sage_perception.vision.synthetic import SyntheticWorld

WORLD = SyntheticWorld(seed=7, objects=5)
# On a plain gray background without noise, each pixel that is not gray shows an object.
BARE = SyntheticWorld(seed=3, objects=4, background='plain', noise=0.0)
TIMES = st.floats(0, 1e6, allow_nan=False)


def drawn(world, t):
    """Return the pixels that show objects at `t`, bool `[H, W]`."""
    return (world.render(t) != 128).any(axis=-1)


def test_image_is_a_function_of_seed_and_time():
    again = SyntheticWorld(seed=7, objects=5)
    assert np.array_equal(WORLD.render(1.3, 39), again.render(1.3, 39))
    assert again.truth(1.3) == WORLD.truth(1.3)
    other = SyntheticWorld(seed=8, objects=5)
    assert not np.array_equal(WORLD.render(1.3, 39), other.render(1.3, 39))
    assert other.truth(1.3) != WORLD.truth(1.3)


def test_rendering_does_not_depend_on_earlier_calls():
    first = WORLD.render(2.0, 60)
    WORLD.render(9.0, 270)[:] = 0
    assert np.array_equal(WORLD.render(2.0, 60), first)


def test_image_is_bgr_of_the_requested_size():
    image = SyntheticWorld(width=320, height=200).render(0.0)
    assert image.shape == (200, 320, 3)
    assert image.dtype == np.uint8
    assert image.flags.c_contiguous


def test_motion_repeats_after_the_period():
    world = SyntheticWorld(seed=2, period_s=5.0)
    difference = np.abs(world.render(1.0).astype(int) - world.render(11.0))
    assert difference.max() <= 1  # 11 / 5 and 1 / 5 differ in the last bits
    assert not np.array_equal(world.render(1.0), world.render(3.0))


@settings(deadline=None, max_examples=50)
@given(TIMES)
def test_objects_are_drawn_inside_their_rois_only(t):
    image = drawn(BARE, t)
    outside = image.copy()
    for item in BARE.truth(t):
        roi = item.roi
        # Tolerate one pixel: objects move between pixels, regions do not.
        window = np.s_[
            max(roi.y - 1, 0) : roi.y + roi.height + 1, max(roi.x - 1, 0) : roi.x + roi.width + 1
        ]
        outside[window] = False
        inside = image[roi.y : roi.y + roi.height, roi.x : roi.x + roi.width]
        assert inside.mean() > 0.6  # an ellipse fills π/4 of its box
        assert inside[:, [0, 1]].any()
        assert inside[:, [-2, -1]].any()
        assert inside[[0, 1]].any()
        assert inside[[-2, -1]].any()
    assert not outside.any()


@settings(deadline=None)
@given(TIMES)
def test_rois_are_inside_the_frame_and_disjoint(t):
    items = WORLD.truth(t)
    assert [item.id for item in items] == [1, 2, 3, 4, 5]
    for item in items:
        roi = item.roi
        assert 0 <= roi.x < roi.x + roi.width <= WORLD.width
        assert 0 <= roi.y < roi.y + roi.height <= WORLD.height
        assert max(roi.width, roi.height) <= 140
        assert 0.5 < item.visible <= 1  # a quarter overhangs on two sides at most: 9/16
    for one, other in itertools.combinations(items, 2):
        assert one.roi.iou(other.roi) == 0


@settings(deadline=None, max_examples=50)
@given(st.floats(0, 20))
def test_velocity_is_the_derivative_of_the_position(t):
    steps = 200
    times = t + (np.arange(steps) + 0.5) / steps
    velocities = [[item.velocity for item in WORLD.truth(time)] for time in times]
    displacements = np.mean(velocities, axis=0)  # during one second
    for before, after, displacement in zip(
        WORLD.truth(t), WORLD.truth(t + 1), displacements, strict=True
    ):
        if before.visible == after.visible == 1:
            moved = np.subtract(after.roi.center, before.roi.center)
            assert moved == pytest.approx(displacement, abs=1.01)  # rounding of both regions


@settings(deadline=None)
@given(TIMES)
def test_objects_never_stop(t):
    # Half of the shorter side of the frame in a period of 20 s: 12 px/s.
    assert min(np.hypot(*item.velocity) for item in WORLD.truth(t)) > 11


def test_noise_has_the_requested_deviation_and_differs_between_frames():
    clean = BARE.render(0.0).astype(int)
    world = SyntheticWorld(seed=3, objects=4, background='plain', noise=4.0)
    first, second = (world.render(0.0, index) - clean for index in (0, 1))
    assert np.std(first) == pytest.approx(4.0, rel=0.05)
    assert abs(first.mean()) < 0.05
    assert abs(np.corrcoef(first.ravel(), second.ravel())[0, 1]) < 0.05
    assert np.array_equal(world.render(0.0), BARE.render(0.0))


def test_flicker_changes_brightness_and_adds_streaks():
    world = SyntheticWorld(objects=0, background='plain', noise=0.0, flicker=0.2)
    assert world.truth(0.0) == []
    means = [world.render(index / 30).mean() for index in range(60)]
    assert 128 * 0.8 <= min(means) < 128 * 0.9
    assert 128 * 1.1 < max(means) <= 128 * 1.2
    streaks = [world.render(0.0, index) != 128 for index in (0, 1)]
    assert all(0.0005 < drops.mean() < 0.02 for drops in streaks)
    assert (streaks[0] & streaks[1]).mean() < 0.001


@pytest.mark.parametrize(
    ('wrong', 'name'),
    [
        ({'seed': -1}, 'seed'),
        ({'width': 8}, 'width'),
        ({'height': 5000}, 'height'),
        ({'objects': -1}, 'objects'),
        ({'objects': 60}, 'objects'),
        ({'period_s': 0.0}, 'period_s'),
        ({'period_s': float('inf')}, 'period_s'),
        ({'background': 'blue'}, 'background'),
        ({'noise': float('nan')}, 'noise'),
        ({'flicker': 1.5}, 'flicker'),
    ],
)
def test_error_names_parameter_out_of_range(wrong, name):
    with pytest.raises(ValueError, match=f'{name}.*must be'):
        SyntheticWorld(**wrong)
