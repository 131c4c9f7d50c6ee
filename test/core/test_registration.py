# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Registration and photometry on images with known shift, gain and offset."""

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from textures import shift_by, smooth_noise

from sage_perception.vision.registration import (
    IDENTITY,
    compose,
    displacement,
    invert,
    near,
    photometry,
    register,
    similarity,
)

HEIGHT, WIDTH = 120, 160
SCENE = smooth_noise(0, HEIGHT, WIDTH)


@settings(max_examples=40)
@given(
    x=st.floats(-1.5, 1.5),
    y=st.floats(-1.5, 1.5),
    gain=st.floats(0.6, 1.4),
    offset=st.floats(-10, 10),
    occluded=st.booleans(),
)
def test_finds_shift_for_any_exposure_and_with_occlusion(x, y, gain, offset, occluded):
    reference = SCENE.astype(np.float32).mean(axis=2)
    frame = gain * shift_by(reference, x, y) + offset
    if occluded:
        frame[30:70, 50:100] = 250
    pose, weight = register(frame, reference, np.ones_like(reference), IDENTITY)
    assert pose == pytest.approx(np.array([[1, 0, x], [0, 1, y]]), abs=0.15)
    if occluded:
        assert weight[35:65, 55:95].mean() < 0.3 * weight[80:].mean()


def test_ignores_a_moving_object_in_a_flat_scene():
    frame = np.full((HEIGHT, WIDTH), 128, np.float32)
    reference = frame.copy()
    patch = smooth_noise(3, 30, 30).astype(np.float32).mean(axis=2)
    reference[40:70, 60:90], frame[40:70, 62:92] = patch, patch
    confidence = np.ones_like(reference)
    confidence[30:80, 50:100] = 0.05
    pose, _ = register(frame, reference, confidence, IDENTITY)
    assert displacement(pose, frame.shape) < 0.4


@settings(max_examples=20)
@given(
    turn=st.floats(-0.01, 0.01),
    zoom=st.floats(0.99, 1.01),
    x=st.floats(-1, 1),
    y=st.floats(-1, 1),
    smoke=st.booleans(),
)
def test_finds_roll_and_zoom_despite_smoke(turn, zoom, x, y, smoke):
    reference = SCENE.astype(np.float32).mean(axis=2)
    wanted = cv2.getRotationMatrix2D((WIDTH / 2, HEIGHT / 2), np.degrees(turn), zoom)
    wanted[:, 2] += x, y
    frame = cv2.warpAffine(reference, wanted, (WIDTH, HEIGHT), borderMode=cv2.BORDER_REFLECT)
    if smoke:
        across = np.linspace(-1, 1, WIDTH)
        frame = frame + 60 * np.exp(-((across - 0.3) ** 2) / 0.2).astype(np.float32)
    pose, _ = register(frame, reference, np.ones_like(reference), IDENTITY)
    assert displacement(compose(invert(pose), wanted), frame.shape) < 0.3


@given(turn=st.floats(-0.1, 0.1), zoom=st.floats(0.8, 1.2), x=st.floats(-9, 9))
def test_similarity_of_a_similarity_is_itself(turn, zoom, x):
    pose = cv2.getRotationMatrix2D((WIDTH / 2, HEIGHT / 2), np.degrees(turn), zoom)
    pose[0, 2] += x
    assert similarity(np.vstack([pose, (0, 0, 1)]), (HEIGHT, WIDTH)) == pytest.approx(pose)
    expected = near(pose, pose, 0.0, (HEIGHT, WIDTH))
    assert expected == pytest.approx(pose)
    limited = near(pose, IDENTITY, 0.5, (HEIGHT, WIDTH))
    assert displacement(limited, (HEIGHT, WIDTH)) <= 0.5 * 3 + 1e-6


@given(
    gain=st.lists(st.floats(0.5, 2.0), min_size=3, max_size=3),
    offset=st.lists(st.floats(-30, 30), min_size=3, max_size=3),
)
def test_photometry_finds_gain_and_offset_per_channel(gain, offset):
    reference = np.array(cv2.split(SCENE), np.float32)
    gain, offset = (np.float32(v)[:, None, None] for v in (gain, offset))
    found_gain, found_offset = photometry(
        gain * reference + offset, reference, np.ones(reference.shape[1:])
    )
    assert found_gain == pytest.approx(gain, abs=0.02)
    assert found_offset == pytest.approx(offset, abs=2)


def test_photometry_of_a_flat_image_has_gain_one():
    reference = np.full((1, 20, 20), 100, np.float32)
    gain, offset = photometry(reference + 30, reference, np.ones((20, 20), np.float32))
    assert gain.item() == pytest.approx(1)
    assert offset.item() == pytest.approx(30)
