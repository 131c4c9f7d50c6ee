# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Cropping, scaling and gain of a source."""

import cv2
import numpy as np
import pytest
from footage import message_of, number_in, numbered

from sage_perception.vision.sources import open_source


def view_of(options, image, folder):
    cv2.imwrite(str(folder / '1.png'), image)
    with open_source(f'images://{folder}?pace=fast&{options}') as source:
        image = source.read(1.0).image
    assert image.shape == (source.height, source.width, 3)
    assert image.flags.c_contiguous
    return image


@pytest.fixture
def noise():
    return np.random.default_rng(0).integers(0, 256, (60, 80, 3), np.uint8)


def test_roi_crops_the_image(noise, tmp_path):
    assert np.array_equal(view_of('roi=10,20,30,40', noise, tmp_path), noise[20:60, 10:40])


def test_crops_before_scaling(noise, tmp_path):
    image = view_of('size=32x16&roi=8,4,64,32', noise, tmp_path)
    expected = noise[4:36, 8:72].reshape(16, 2, 32, 2, 3).mean(axis=(1, 3))
    assert np.abs(image - expected).max() <= 1


def test_gain_multiplies_and_saturates(noise, tmp_path):
    image = view_of('gain=1.5', noise, tmp_path)
    assert np.abs(image - np.minimum(noise * 1.5, 255)).max() <= 0.5
    assert image.max() == 255


def test_rejects_roi_outside_the_image(video):
    assert 'roi=60,0,16,16 is not allowed; it must lie inside the image of 64x48' in message_of(
        f'{video}?roi=60,0,16,16'
    )


def test_scales_images_to_the_size_of_the_first(tmp_path):
    cv2.imwrite(str(tmp_path / 'a.png'), numbered(21))
    cv2.imwrite(str(tmp_path / 'b.png'), cv2.resize(numbered(42), (200, 150)))
    cv2.imwrite(str(tmp_path / 'c.png'), numbered(7)[..., 0])  # gray
    with open_source(f'images://{tmp_path}?pace=fast&loop=false') as source:
        frames = [source.read(1.0).image for _ in range(3)]
    assert [frame.shape for frame in frames] == [(48, 64, 3)] * 3
    assert [number_in(frame) for frame in frames] == [21, 42, 7]
