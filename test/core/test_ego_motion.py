# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Ego-motion: known homographies are recovered, objects and flat images are not mistaken."""

import math

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from textures import smooth_noise

from sage_perception.vision.ego_motion import (
    EgoMotion,
    homography_flow,
    mean_motion,
    rotation_homography,
    transform_point,
)

SIZE = (320, 240)
SHAPE = (120, 160)
WORLD = cv2.cvtColor(smooth_noise(3, 480, 640), cv2.COLOR_BGR2GRAY)


def view(matrix):
    """Return the part of the world that a camera with `matrix` (frame to world) shows."""
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    return halved(cv2.warpPerspective(WORLD, matrix, SIZE, flags=flags))


def halved(image):
    """Return an image of half the size: the working image."""
    return cv2.resize(image, SHAPE[::-1], interpolation=cv2.INTER_AREA)


def similarity(angle, scale, x, y):
    """Return a motion about the middle of the frame, whose middle is that of the world."""
    c, s = scale * math.cos(angle), scale * math.sin(angle)
    about = np.array([[1, 0, -160], [0, 1, -120], [0, 0, 1.0]])
    return np.array([[c, -s, 320 + x], [s, c, 240 + y], [0, 0, 1.0]]) @ about


@settings(max_examples=25, deadline=None)
@given(
    angle=st.floats(-0.03, 0.03),
    scale=st.floats(0.96, 1.04),
    x=st.floats(-10, 10),
    y=st.floats(-10, 10),
)
def test_recovers_rotation_zoom_and_translation(angle, scale, x, y):
    before, now = similarity(0, 1, 0, 0), similarity(angle, scale, x, y)
    motion = EgoMotion().estimate(view(now), view(before))
    assert motion.valid
    half = np.diag([0.5, 0.5, 1])
    expected = half @ np.linalg.inv(before) @ now @ np.linalg.inv(half)
    error = homography_flow(motion.matrix, SHAPE) - homography_flow(expected, SHAPE)
    assert np.abs(error).max() < 0.5
    assert motion.speed == pytest.approx(mean_motion(expected, SHAPE), abs=0.3)


def test_a_large_moving_object_does_not_move_the_camera():
    before, now = view(similarity(0, 1, 0, 0)), view(similarity(0, 1, 0, 0)).copy()
    board = cv2.cvtColor(smooth_noise(9, 120, 110), cv2.COLOR_BGR2GRAY)
    before, board = before.copy(), halved(cv2.resize(board, SIZE))[:60, :55]
    before[30:90, 40:95], now[30:90, 43:98] = board, board
    motion = EgoMotion().estimate(now, before)
    assert motion.valid
    assert motion.speed < 0.1
    assert motion.inliers < 0.95
    assert np.median(motion.flow[40:80, 55:85, 0]) == pytest.approx(-3, abs=0.5)


def test_objects_on_a_flat_wall_are_no_estimate():
    rng = np.random.default_rng(0)
    images = []
    for x in (100, 106):
        image = np.full((240, 320), 120.0)
        image[80:140, x : x + 60] = 60
        image[90:130, x + 10 : x + 30] = 220
        noisy = np.clip(image + rng.normal(0, 1, image.shape), 0, 255).astype(np.uint8)
        images.append(halved(noisy))
    motion = EgoMotion().estimate(images[1], images[0])
    assert not motion.valid
    assert np.array_equal(motion.matrix, np.eye(3))


def test_a_cut_is_no_estimate():
    other = halved(cv2.cvtColor(smooth_noise(77, 240, 320), cv2.COLOR_BGR2GRAY))
    assert not EgoMotion().estimate(view(similarity(0, 1, 0, 0)), other).valid


def test_a_hint_that_fits_is_used_and_another_is_not():
    before, now = similarity(0, 1, 0, 0), similarity(0.01, 1, 3, 0)
    half = np.diag([0.5, 0.5, 1])
    right = half @ np.linalg.inv(before) @ now @ np.linalg.inv(half)
    for hint in (right, np.array([[1, 0, 20], [0, 1, 0], [0, 0, 1.0]])):
        motion = EgoMotion().estimate(view(now), view(before), hint)
        error = homography_flow(motion.matrix, SHAPE) - homography_flow(right, SHAPE)
        assert np.abs(error).max() < 0.5


@given(angle=st.floats(-0.2, 0.2))
def test_rotation_homography_maps_the_same_ray(angle):
    camera = np.array([[300, 0, 160], [0, 310, 120], [0, 0, 1.0]])
    c, s = math.cos(angle), math.sin(angle)
    rotation = np.array([[c, 0, s], [0, 1, 0], [-s, 0, c]])
    u, v = transform_point(rotation_homography(rotation, camera), 160, 120)
    assert u == pytest.approx(160 + 300 * math.tan(angle))
    assert v == pytest.approx(120)


def test_singular_camera_matrix_is_named():
    with pytest.raises(ValueError, match='camera matrix is singular'):
        rotation_homography(np.eye(3), np.zeros((3, 3)))
