# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""The range of streams with more than 8 bits per pixel."""

import warnings

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sage_perception.vision.attention import Attention
from sage_perception.vision.intensity_range import (
    GLIDE,
    LOOSE_IMAGES,
    MIN_INTEGER_SPAN,
    IntensityRange,
)
from sage_perception.vision.synthetic import SyntheticWorld


def scene(low, high, seed=0, dtype=np.uint16):
    """Return an image whose values are spread evenly from `low` to `high`."""
    values = np.linspace(low, high, 48 * 64).astype(dtype)
    return np.random.default_rng(seed).permutation(values).reshape(48, 64)


@given(st.integers(9, 16), st.integers(0, 999))
def test_the_bits_in_use_become_eight(bits, seed):
    gray = np.random.default_rng(seed).integers(0, 256, (32, 32)).astype(np.uint8)
    gray[0] = 255  # so that the highest bit is in use
    deep = np.rint(gray / 255.0 * (2**bits - 1)).astype(np.uint16)
    assert np.array_equal(IntensityRange().rescale(deep), gray)


def is_attended(item, crops):
    """Return whether the center of an object is in a crop."""
    x, y = item.roi.x + item.roi.width / 2, item.roi.y + item.roi.height / 2
    return any(
        roi.x <= x < roi.x + roi.width and roi.y <= y < roi.y + roi.height
        for roi in (crop.roi for crop in crops)
    )


def test_an_image_of_twelve_bits_is_attended_like_one_of_eight():
    world = SyntheticWorld(seed=3)
    plain, deep = Attention(), Attention()
    intensity = IntensityRange()
    rng = np.random.default_rng(0)
    found = []
    for index in range(75):
        gray = world.render(index / 30, index)[..., 1]
        fine = gray.astype(np.uint16) * 16 + rng.integers(0, 16, gray.shape, np.uint16)
        images = (gray, intensity.rescale(fine))
        for attention, image in zip((plain, deep), images, strict=True):
            crops = attention.attend(np.dstack([image] * 3), index / 30)
            found.append(sum(is_attended(item, crops) for item in world.truth(index / 30)))
    assert sum(found[::2]) >= 75  # of 3 objects in each frame; attention learns the scene first
    assert sum(found[1::2]) == pytest.approx(sum(found[::2]), rel=0.1)


def test_hot_pixels_do_not_change_the_range():
    image = scene(0, 4000)
    image[5, 5] = 60000
    intensity = IntensityRange()
    intensity.rescale(image)
    assert (intensity.low, intensity.high) == (0, 4095)
    assert intensity.rescale(image)[5, 5] == 255


@pytest.mark.parametrize(('low', 'high'), [(29300, 30300), (7800, 8300)])
def test_a_radiometric_image_fills_half_of_the_gray_levels(low, high):
    gray = IntensityRange().rescale(scene(low, high))
    assert gray.min() > 20
    assert gray.max() < 235
    assert int(gray.max()) - gray.min() >= 120


def test_a_uniform_radiometric_image_stays_uniform():
    noise = np.random.default_rng(0).normal(2000, 4, (48, 64)).astype(np.uint16)
    assert IntensityRange().rescale(noise).std() < 255 * 4 / MIN_INTEGER_SPAN + 0.5


def test_a_dark_image_stays_dark():
    gray = IntensityRange().rescale(scene(1, 20))
    assert gray.max() <= 20


def test_range_does_not_follow_single_images():
    intensity = IntensityRange()
    intensity.rescale(scene(0, 4000))
    for high in (1000, 600, 3500, 900, 2000):
        image = scene(0, high)
        assert np.abs(intensity.rescale(image) * (4095 / 255) - image).max() <= 9
        assert (intensity.low, intensity.high) == (0, 4095)


def test_range_grows_at_once_if_many_pixels_exceed_it():
    intensity = IntensityRange()
    intensity.rescale(scene(0, 900))
    intensity.rescale(scene(0, 16000))
    assert intensity.high == 16383


def test_range_glides_if_few_pixels_exceed_it():
    intensity = IntensityRange()
    image = scene(0, 1000)
    intensity.rescale(image)
    image.flat[:30] = 4000  # 1 %
    intensity.rescale(image)
    assert intensity.high == pytest.approx(1023 + GLIDE * (4095 - 1023))
    for _ in range(200):
        intensity.rescale(image)
    assert 4000 <= intensity.high <= 4095


def test_range_shrinks_after_a_while_and_without_a_step():
    intensity = IntensityRange()
    intensity.rescale(scene(0, 60000))
    highs = []
    for _ in range(LOOSE_IMAGES + 200):
        intensity.rescale(scene(0, 4000))
        highs.append(intensity.high)
    assert highs[LOOSE_IMAGES - 1] == 65535
    assert highs[-1] == 4095
    ratios = np.divide(highs[1:], highs[:-1])
    assert ratios.min() > 0.94
    assert ratios.max() <= 1


@pytest.mark.parametrize('dtype', ['i1', 'i2', 'u2', 'u4', 'i4', 'f2', 'f4', 'f8'])
@pytest.mark.parametrize('value', [0, 1, 'max', 'min', 'nan', 'inf'])
def test_constant_images_are_finite(dtype, value):
    kind = np.finfo if dtype[0] == 'f' else np.iinfo
    named = {'max': kind(dtype).max, 'min': kind(dtype).min, 'nan': np.nan, 'inf': np.inf}
    if dtype[0] != 'f' and value in ('nan', 'inf'):
        return
    image = np.full((4, 5), named.get(value, value), dtype)
    with np.errstate(all='raise', over='ignore', invalid='ignore'):
        gray = IntensityRange().rescale(image)
    assert (gray == gray[0, 0]).all()
    if value in (0, 'nan'):
        assert not gray.any()
    if value in ('inf', 'max') and dtype[0] in 'fu':
        assert gray[0, 0] > 0


@given(st.lists(st.floats(width=32), min_size=1, max_size=30), st.integers(1, 3))
def test_any_floats_become_gray_levels_in_their_order(values, repeats):
    image = np.array([values], np.float32)
    intensity = IntensityRange()
    for _ in range(repeats):
        gray = intensity.rescale(image)
    assert gray.dtype == np.uint8
    order = np.argsort(image[0][~np.isnan(image[0])], kind='stable')
    assert (np.diff(gray[0][~np.isnan(image[0])][order].astype(int)) >= 0).all()


def test_signaling_nan_is_missing_depth_without_a_warning():
    image = np.full((4, 5), 2.0)
    image.view(np.uint64)[0, 0] = 0x7FF0000000000001
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        gray = IntensityRange().rescale(image)
    assert gray[0, 0] == 0 < gray[1, 1]
