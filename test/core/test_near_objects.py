# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Tracks that may be still objects nearer than the background, by their residuals."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sage_perception.vision.near_objects import CERTAIN_HITS, Residual, ResidualHistory
from sage_perception.vision.tracking import Detection, Tracker, View

SPEEDS = st.floats(0.3, 4.0)
ANGLES = st.floats(-math.pi, math.pi)


def history(residuals):
    found = ResidualHistory()
    for own, camera in residuals:
        found.add(Residual(*own, *camera))
    return found


def vector(length, angle):
    return np.array([length * math.cos(angle), length * math.sin(angle)])


@given(st.floats(0.6, 3.0), SPEEDS, ANGLES, st.integers(1, 40), st.integers(0, 99))
def test_multiples_of_the_cameras_motion_fit_a_still_object(ratio, speed, angle, count, seed):
    rng = np.random.default_rng(seed)
    cameras = [vector(speed * (1 + 0.3 * math.sin(i)), angle + 0.02 * i) for i in range(count)]
    found = history((ratio * c + rng.uniform(-0.03, 0.03, 2), c) for c in cameras)
    assert found.fit_still_object


@given(st.floats(0.3, 3.0), SPEEDS, ANGLES, ANGLES)
def test_an_object_that_circles_does_not_fit(own, speed, start, angle):
    camera = vector(speed, angle)
    found = history((vector(own, start + 2 * math.pi * i / 40), camera) for i in range(40))
    assert not found.fit_still_object


@given(st.floats(0.4, 3.0), SPEEDS, ANGLES, st.floats(0.5, math.pi))
def test_a_direction_of_its_own_shows_in_the_first_frame(own, speed, angle, off):
    assert not history([(vector(own, angle + off), vector(speed, angle))]).fit_still_object


@given(st.floats(0.1, 3.0), ANGLES)
def test_a_camera_that_stands_has_no_parallax(own, angle):
    found = history([(vector(own, angle), vector(0.01, angle))] * 10)
    assert not found.fit_still_object


def test_an_object_once_known_stays_known():
    camera = np.array([2.0, 0.0])
    across, along = [(camera[::-1], camera)] * CERTAIN_HITS, [(camera, camera)] * 500
    assert not history(across + along).fit_still_object
    assert history(along).fit_still_object


@pytest.mark.parametrize(
    ('directions', 'shown'),
    [
        ((0,), [True]),
        ((0, 0), [True, True]),
        ((0, 0, 0), [False, False, False]),
        ((0, 0, 2), [True, True, True]),
        ((0, 0, 0, 2), [False, False, False, True]),
    ],
)
def test_still_objects_get_no_crops_if_three_are_seen(directions, shown):
    tracker = Tracker(itertools.count(1))
    view = View(displace=lambda box: box)
    blobs = [
        Detection((x, 100.0, x + 60, 160.0), residual=Residual(*vector(1.5, angle), 2.0, 0.0))
        for x, angle in zip((50.0, 200.0, 350.0, 500.0), directions, strict=False)
    ]
    for _ in range(20):
        tracks = tracker.update(blobs, 1 / 30, view)
    assert [track.shown for track in tracks] == shown
    assert all(track.confirmed for track in tracks)


def test_two_are_enough_while_the_camera_passes_near_objects():
    tracker = Tracker(itertools.count(1))
    view = View(displace=lambda box: box)

    def shown(count, frames):
        for _ in range(frames):
            blobs = [
                Detection((x, 100.0, x + 60, 160.0), residual=Residual(1.5, 0.0, 2.0, 0.0))
                for x in (50.0, 200.0, 350.0)[:count]
            ]
            tracks = tracker.update(blobs, 1 / 30, view)
        return [track.shown for track in tracks if not track.missed_s]

    assert shown(3, 20) == [False] * 3
    assert shown(2, 120) == [False] * 2
    assert shown(1, 120) == [True]
    assert shown(2, 20) == [True] * 2
