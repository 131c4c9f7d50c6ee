# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Registration and photometry on images with known shift, gain and offset."""

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from textures import shift_by, smooth_noise

from sage_perception.vision.registration import photometry, register

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
    shift, weight = register(frame, reference, np.ones_like(reference), np.zeros(2))
    assert shift == pytest.approx((x, y), abs=0.15)
    if occluded:
        assert weight[35:65, 55:95].mean() < 0.3 * weight[80:].mean()


def test_ignores_a_moving_object_in_a_flat_scene():
    frame = np.full((HEIGHT, WIDTH), 128, np.float32)
    reference = frame.copy()
    patch = smooth_noise(3, 30, 30).astype(np.float32).mean(axis=2)
    reference[40:70, 60:90], frame[40:70, 62:92] = patch, patch
    confidence = np.ones_like(reference)
    confidence[30:80, 50:100] = 0.05
    shift, _ = register(frame, reference, confidence, np.zeros(2))
    assert np.abs(shift).max() < 0.4


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
