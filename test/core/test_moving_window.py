# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""A region that pans and shakes over footage."""

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sage_perception.core.latent import Roi
from sage_perception.vision.sources import open_source
from sage_perception.vision.sources.moving_window import MovingWindow

TIMES = st.floats(0, 2e9)


@given(TIMES, st.floats(0, 1000), st.floats(0, 300), st.integers(0, 40), st.integers(0, 30))
def test_window_stays_inside_the_image(time_s, pan, shake, x, y):
    x, y = MovingWindow(Roi(x, y, 60, 50), 100, 80, pan, shake).corner(time_s)
    assert 0 <= x <= 40
    assert 0 <= y <= 30


@given(st.floats(0, 100), st.floats(1, 50))
def test_pan_has_its_speed_and_returns_at_the_edges(time_s, pan):
    window = MovingWindow(Roi(0, 5, 60, 50), 100, 80, pan)
    x, y = window.corner(time_s)
    assert y == 5
    way, there_and_back = pan * time_s, 80
    assert x == pytest.approx(abs(way - there_and_back * round(way / there_and_back)), abs=1e-6)


@given(TIMES, TIMES)
def test_shake_is_bounded_and_has_no_offset(first_s, second_s):
    window = MovingWindow(Roi(200, 200, 60, 50), 500, 500, shake=7.0)
    for x, y in (window.corner(first_s), window.corner(second_s)):
        assert abs(x - 200) <= 7
        assert abs(y - 200) <= 7


def test_shake_moves_both_axes():
    window = MovingWindow(Roi(200, 200, 60, 50), 500, 500, shake=7.0)
    corners = np.array([window.corner(index / 30) for index in range(300)])
    assert (np.ptp(corners, axis=0) > 7).all()
    assert (np.abs(corners.mean(axis=0) - 200) < 1).all()


def test_source_shows_the_window(tmp_path):
    rng = np.random.default_rng(1)
    image = cv2.GaussianBlur(rng.integers(0, 255, (240, 320, 3), np.uint8), (0, 0), 4)
    cv2.imwrite(str(tmp_path / 'image.png'), image)
    uri = f'images://{tmp_path}?fps=10&pace=fast&roi=10,20,160,120&pan=33&shake=3'
    window = MovingWindow(Roi(10, 20, 160, 120), 320, 240, 33, 3)
    source = open_source(uri)
    try:
        for tick in range(60):
            frame = source.read(1.0)
            x, y = window.corner(tick / 10)
            shift = np.float32([[1, 0, x], [0, 1, y]])
            flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
            expected = cv2.warpAffine(image, shift, (160, 120), flags=flags)
            assert np.abs(frame.image.astype(int) - expected).max() <= 2
    finally:
        source.close()
