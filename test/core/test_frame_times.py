# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Intervals from stamps that are wrong in the ways of real cameras."""

import numpy as np
import pytest

from sage_perception.vision import Attention
from sage_perception.vision.frame_times import FrameTimes
from sage_perception.vision.synthetic import SyntheticWorld


def steps(stamps):
    times = FrameTimes()
    return [times.advance(stamp) for stamp in stamps], times


def test_regular_stamps_give_their_intervals():
    found, times = steps(np.arange(10) / 20)
    assert found[0].new
    assert [s.dt for s in found[1:]] == pytest.approx([0.05] * 9)
    assert not any(s.new or s.skip for s in found[1:])
    assert times.odd == 0


def test_small_step_back_and_repeated_stamp_count_as_the_usual_interval():
    found, times = steps([0, 0.1, 0.2, 0.3, 0.299, 0.4, 0.4, 0.5])
    assert not any(s.new or s.skip for s in found[1:])
    assert [s.dt for s in found[1:]] == pytest.approx([0.1] * 7)
    assert times.odd == 1


def test_single_odd_stamp_is_skipped_and_the_scene_goes_on():
    found, times = steps([100.0, 100.1, 0.0, 100.2, 100.3, 999.0, 100.4])
    assert [s.skip for s in found] == [False, False, True, False, False, True, False]
    assert not any(s.new for s in found[1:])
    assert times.odd == 2


@pytest.mark.parametrize('jump', [-5.0, 60.0])
def test_second_frame_after_a_jump_starts_a_new_scene(jump):
    found, _ = steps([10.0, 10.1, 10.1 + jump, 10.2 + jump, 10.3 + jump])
    assert [s.skip for s in found] == [False, False, True, False, False]
    assert [s.new for s in found] == [True, False, False, True, False]
    assert found[4].dt == pytest.approx(0.1)


def test_slow_camera_is_one_scene():
    found, _ = steps(np.arange(12) * 2.5)
    assert not any(s.new or s.skip for s in found[3:])


def attended(stamps):
    """Return for how many frames attention finds a moving object."""
    world, attention = SyntheticWorld(3, objects=2), Attention()
    return [
        len(attention.attend(world.render(index / 30, index), stamp))
        for index, stamp in enumerate(stamps)
    ]


@pytest.mark.parametrize('fault', ['step back', 'zero'])
def test_attention_goes_on_through_odd_stamps(fault):
    stamps = 5 + np.arange(60) / 30
    odd = np.arange(10, 60, 14)
    stamps[odd] = 0 if fault == 'zero' else stamps[odd - 1] - 0.001
    counts = attended(stamps)
    assert sum(count > 0 for count in counts[25:]) >= 30


def test_attention_works_without_stamps():
    assert all(attended(np.zeros(60))[25:])
