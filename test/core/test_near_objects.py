# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Tracks that may be still objects nearer than the background, by their residuals."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sage_perception.vision.near_objects import Residual, ResidualHistory, off_line
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


def test_an_object_once_known_stays_known_while_it_crosses_the_line():
    camera = np.array([2.0, 0.0])
    across, along = [(camera[::-1], camera)] * 20, [(camera, camera)] * 15
    assert not history(across + along).fit_still_object
    assert history(along).fit_still_object


def test_errors_along_the_motion_count_less_than_those_across_it():
    camera = np.array([2.0, 0.0])
    rough = [(camera + (0.3 * (-1) ** i, 0.0), camera) for i in range(20)]
    across = [(camera + (0.0, 0.6 + 0.1 * (-1) ** i), camera) for i in range(20)]
    assert history(rough).fit_still_object
    assert not history(across).fit_still_object


def test_a_speed_of_its_own_shows_when_it_changes():
    camera = np.array([2.0, 0.0])
    slower = [(camera * (2.0 - 0.09 * i), camera) for i in range(20)]
    assert not history(slower).fit_still_object


def test_pixels_off_the_line_of_the_camera():
    camera = np.zeros((2, 40, 60), np.float32)
    camera[0] = 2.0
    residual = np.zeros_like(camera)
    residual[0, 10:30, :30] = 1.5  # a still object
    residual[:, 10:30, 30:] = np.array([1.0, 0.8])[:, None, None]  # a moving one beside it
    weight = (residual[0] > 0).astype(np.float32)
    off = off_line(residual, camera, weight)
    assert not off[:, :27].any()
    assert off[10:30, 33:].all()


def shown(tracker, directions, frames):
    """Return which of the blobs in some directions, rad, get crops after some frames."""
    view = View(displace=lambda box: box)
    blobs = [
        Detection((x, 100.0, x + 60, 160.0), residual=Residual(*vector(1.5, angle), 2.0, 0.0))
        for x, angle in zip((50.0, 200.0, 350.0, 500.0), directions, strict=False)
    ]
    for _ in range(frames):
        tracks = tracker.update(blobs, 1 / 30, view)
    assert all(track.confirmed for track in tracks)
    return [track.shown for track in tracks if not track.missed_s]


@pytest.mark.parametrize(
    ('directions', 'expected'),
    [
        ((0,), [True]),
        ((0, 2), [True, True]),
        ((0, 0), [False, False]),
        ((0, 0, 2), [False, False, True]),
        ((0, 0, 0, 2), [False, False, False, True]),
    ],
)
def test_still_objects_get_no_crops_if_two_are_seen(directions, expected):
    assert shown(Tracker(itertools.count(1)), directions, 30) == expected


def test_one_is_enough_while_the_camera_passes_near_objects():
    tracker = Tracker(itertools.count(1))
    assert shown(tracker, (0, 0), 5) == [True] * 2
    assert shown(tracker, (0, 0), 25) == [False] * 2
    assert shown(tracker, (0,), 120) == [False]
    assert shown(tracker, (2,), 120) == [True]
    assert shown(tracker, (2, 0), 20) == [True] * 2


def test_a_moving_object_in_front_of_a_still_one_keeps_its_track():
    tracker, view = Tracker(itertools.count(1)), View(displace=lambda box: box)
    shown(tracker, (0, 0, 0), 30)
    still = Detection((320.0, 0.0, 440.0, 400.0), residual=Residual(1.5, 0.0, 2.0, 0.0))
    others = [
        Detection((x, 100.0, x + 60, 160.0), residual=Residual(1.5, 0.0, 2.0, 0.0))
        for x in (50.0, 200.0)
    ]
    for index in range(40):
        y = 100.0 + 3 * index
        own = Detection((360.0, y, 400.0, y + 40), residual=Residual(1.5, 0.8, 2.0, 0.0))
        tracks = tracker.update([still, own, *others], 1 / 30, view)
    assert [track.width for track in tracks if track.shown] == pytest.approx([40], abs=8)
