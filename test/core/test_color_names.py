# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Names of colors: clear colors get their names, at any exposure and background."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sage_perception.vision.color_names import COLORS, color_shares, main_color, split_color

CLEAR = {
    'black': (10, 10, 10), 'gray': (128, 128, 128), 'white': (245, 245, 245),
    'red': (210, 30, 35), 'orange': (245, 140, 20), 'yellow': (250, 230, 40),
    'green': (40, 160, 60), 'blue': (40, 80, 210), 'purple': (140, 50, 190),
    'pink': (250, 160, 190), 'brown': (120, 70, 30),
}  # fmt: skip


@pytest.mark.parametrize('name', COLORS)
def test_a_plain_image_has_one_color(name):
    image = np.full((1, 16, 16, 3), CLEAR[name], np.uint8)
    shares = color_shares(image)
    assert shares[0, COLORS.index(name)] == pytest.approx(1, abs=1e-5)
    assert main_color(shares[0]) == name


@given(st.integers(0, 2**32 - 1))
def test_shares_sum_to_one(seed):
    images = np.random.default_rng(seed).integers(0, 256, (2, 9, 13, 3), np.uint8)
    shares = color_shares(images)
    assert (shares >= 0).all()
    assert np.allclose(shares.sum(1), 1, atol=1e-4)


def test_the_object_in_the_center_outweighs_a_gray_background():
    image = np.full((1, 64, 64, 3), 128, np.uint8)
    image[0, 12:52, 12:52] = CLEAR['red']
    assert main_color(color_shares(image)[0]) == 'red'


@pytest.mark.parametrize(
    ('text', 'expected'),
    [
        ('a red car', ('red', 'a car')),
        ('Grey cat', ('gray', 'cat')),
        ('a dog', (None, 'a dog')),
        ('orange', (None, 'orange')),
        ('', (None, '')),
    ],
)
def test_split_color(text, expected):
    assert split_color(text) == expected
