# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Saliency of still scenes, and inhibition of return."""

import itertools
import math

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sage_perception.vision.saliency import (
    SCALES,
    InhibitionOfReturn,
    StillAttention,
    signature_saliency,
)


def disk(x, y, radius=10):
    """Return a bright disk on gray, uint8 `[120, 160]`."""
    image = np.full((120, 160), 100, np.uint8)
    cv2.circle(image, (x, y), radius, 200, -1)
    return image


def test_disk_is_the_most_salient_region():
    maps = signature_saliency(disk(70, 50))
    assert maps.shape == (len(SCALES), 120, 160)
    assert maps.min() >= 0
    assert maps.max() == 1
    _, y, x = np.unravel_index(maps.argmax(), maps.shape)
    assert (x, y) == pytest.approx((70, 50), abs=3)


def test_straight_edge_is_not_salient():
    image = disk(70, 50)
    image[:, 110:] = 220
    maps = signature_saliency(image)
    assert maps[:, 50:, 100:120].max() < 0.55  # the maps are roots


def test_flat_image_has_no_salient_region():
    maps = signature_saliency(np.full((120, 160, 3), 100, np.uint8))
    assert StillAttention(itertools.count(1)).select(maps, np.ones((120, 160)), 4) == []


def test_selected_region_keeps_its_id_and_square():
    attention = StillAttention(itertools.count(1))
    factor = np.ones((120, 160), np.float32)
    (first,) = attention.select(signature_saliency(disk(70, 50)), factor, 1)
    (second,) = attention.select(signature_saliency(disk(71, 50)), factor, 1)
    assert (second.id, second.x, second.y, second.side) == (1, first.x, first.y, first.side)


@given(strength=st.floats(0, 1), time_constant=st.floats(0.1, 10), parts=st.integers(1, 20))
def test_inhibition_does_not_depend_on_the_frame_rate(strength, time_constant, parts):
    once, often = (InhibitionOfReturn(strength, time_constant) for _ in range(2))
    for inhibition, steps in ((once, 1), (often, parts)):
        inhibition.reset((20, 20))
        for _ in range(steps):
            inhibition.attend([(5, 5, 6)], 2.0 / steps)
        for _ in range(steps):
            inhibition.attend([(15, 15, 6)], 1.0 / steps)
    assert once.factor == pytest.approx(often.factor, abs=1e-4)
    expected = (1 - math.exp(-2 / time_constant)) * math.exp(-1 / time_constant)
    assert once.factor[5, 5] == pytest.approx(1 - strength * expected, abs=1e-4)
