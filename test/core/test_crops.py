# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Square regions inside a frame, and crops of them."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sage_perception.core.latent import Roi
from sage_perception.vision.crops import crop_image, square_roi

SIDES = st.integers(1, 3000)
POSITIONS = st.floats(-5000, 5000)


@given(x=POSITIONS, y=POSITIONS, side=st.floats(0, 5000), width=SIDES, height=SIDES)
def test_region_is_square_and_inside_the_frame(x, y, side, width, height):
    roi = square_roi((x, y), side, width, height)
    assert roi.width == roi.height >= 1
    assert 0 <= roi.x <= width - roi.width
    assert 0 <= roi.y <= height - roi.height


@given(x=POSITIONS, y=POSITIONS, side=st.integers(1, 5000), width=SIDES, height=SIDES)
def test_region_has_the_requested_side_limited_by_the_frame(x, y, side, width, height):
    assert square_roi((x, y), side, width, height).width == min(side, width, height)


@given(
    width=st.integers(32, 900),
    height=st.integers(32, 900),
    side=st.integers(1, 32),
    where=st.tuples(st.floats(0, 1), st.floats(0, 1)),
)
def test_region_is_centered_if_it_fits(width, height, side, where):
    x = side / 2 + where[0] * (width - side)
    y = side / 2 + where[1] * (height - side)
    center = square_roi((x, y), side, width, height).center
    assert center == pytest.approx((x, y), abs=0.51)


def test_rejects_empty_frame():
    with pytest.raises(ValueError, match='0x480'):
        square_roi((0, 0), 10, 0, 480)


@given(
    width=st.integers(1, 70),
    height=st.integers(1, 70),
    channels=st.sampled_from([(), (3,)]),
    size=st.integers(1, 70),
    color=st.sampled_from(['rgb', 'gray']),
    x=st.integers(-10, 80),
    y=st.integers(-10, 80),
    side=st.integers(1, 90),
)
def test_crop_has_the_requested_size_for_any_region(
    width, height, channels, size, color, x, y, side
):
    image = np.full((height, width, *channels), 90, np.uint8)
    crop = crop_image(image, square_roi((x, y), side, width, height), size, color)
    assert crop.shape == ((size, size, 3) if color == 'rgb' else (size, size))
    assert crop.dtype == np.uint8
    assert np.all(crop == 90)


def test_crop_of_bgr_frame_is_rgb():
    image = np.zeros((10, 10, 3), np.uint8)
    image[..., 2] = 200
    assert crop_image(image, Roi(0, 0, 10, 10), 4)[0, 0].tolist() == [200, 0, 0]


def test_gray_crop_has_luma_weights():
    image = np.zeros((10, 10, 3), np.uint8)
    image[..., 1] = 255
    assert crop_image(image, Roi(0, 0, 10, 10), 4, 'gray')[0, 0] == 150


def test_shrunken_crop_averages_all_pixels():
    board = np.indices((128, 128)).sum(axis=0) % 2 * 200
    crop = crop_image(board.astype(np.uint8), Roi(0, 0, 128, 128), 32, 'gray')
    assert np.all(crop == 100)


def test_magnified_crop_is_interpolated():
    ramp = np.tile(np.arange(0, 160, 20, dtype=np.uint8), (8, 1))
    row = crop_image(ramp, Roi(0, 0, 8, 8), 64, 'gray')[0].astype(int)
    assert np.diff(row).min() >= 0
    assert np.diff(row).max() <= 3


def test_crop_shows_only_its_region():
    image = np.zeros((60, 80), np.uint8)
    image[20:30, 40:50] = 255
    assert np.all(crop_image(image, Roi(40, 20, 10, 10), 10, 'gray') == 255)


@pytest.mark.parametrize(
    'roi', [Roi(-1, 0, 5, 5), Roi(0, 16, 5, 5), Roi(26, 0, 5, 5), Roi(3, 3, 0, 5)]
)
def test_rejects_region_that_is_empty_or_leaves_the_image(roi):
    with pytest.raises(ValueError, match=r'Roi\(.*is empty or leaves the image of 30x20'):
        crop_image(np.zeros((20, 30), np.uint8), roi, 8)


@pytest.mark.parametrize(
    ('size', 'color', 'named'), [(0, 'rgb', 'size is 0'), (8, 'bgr', "'bgr'")]
)
def test_error_names_invalid_size_or_color(size, color, named):
    with pytest.raises(ValueError, match=named):
        crop_image(np.zeros((20, 30), np.uint8), Roi(0, 0, 8, 8), size, color)
