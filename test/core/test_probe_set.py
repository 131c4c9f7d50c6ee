# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""The probe set is identical everywhere, and has the statistics of camera images."""

import hashlib

import numpy as np
import pytest

from sage_perception.trust.compatibility import probe_set


@pytest.fixture(scope='module')
def images():
    return probe_set.images()


def test_images_are_identical_to_the_bit(tmp_path, monkeypatch):
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path))
    images = probe_set.images()
    assert images.shape == (probe_set.COUNT, probe_set.SIZE, probe_set.SIZE, 3)
    assert images.dtype == np.uint8
    assert hashlib.sha256(images.tobytes()).hexdigest() == probe_set.SHA256

    (stored,) = (tmp_path / 'sage').glob('*.bin')
    assert stored.read_bytes() == images.tobytes()
    # A damaged cache file is rendered again.
    rendered = images.copy()
    monkeypatch.setattr(probe_set, 'render', lambda count, version: rendered)
    for damaged in (stored.read_bytes()[:-1] + b'x', b''):
        stored.write_bytes(damaged)
        assert np.array_equal(probe_set.images(), images)
        assert hashlib.sha256(stored.read_bytes()).hexdigest() == probe_set.SHA256


def test_renders_without_a_writable_cache_folder(tmp_path, monkeypatch):
    monkeypatch.setattr(probe_set, 'render', lambda count, version: np.ones((2, 2)))
    (tmp_path / 'sage').touch()
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path))
    assert probe_set.images().sum() == 4


def test_images_are_read_only(images):
    with pytest.raises(ValueError, match='read-only'):
        images[0] = 0


def test_images_are_numerous_and_distinct(images):
    assert probe_set.COUNT >= 256
    assert 64 < probe_set.FITTED < probe_set.COUNT - 64
    small = probe_set.scale(images, 8, 3).reshape(probe_set.COUNT, -1)
    distances = np.linalg.norm(small[:, None] - small[None], axis=2)
    assert distances[~np.eye(probe_set.COUNT, dtype=bool)].min() > 0.1


def test_power_spectrum_falls_as_in_natural_images(images):
    gray = probe_set.scale(images, probe_set.SIZE, 1)[:, 0]
    window = np.outer(np.hanning(64), np.hanning(64))
    power = np.square(abs(np.fft.fft2((gray - gray.mean((1, 2), keepdims=True)) * window)))
    frequency = np.hypot(*np.meshgrid(np.fft.fftfreq(64), np.fft.fftfreq(64)))
    rings = [(2 / 64, 4 / 64), (4 / 64, 8 / 64), (8 / 64, 16 / 64), (16 / 64, 32 / 64)]
    mean = [power.mean(0)[(frequency >= a) & (frequency < b)].mean() for a, b in rings]
    slope = np.polyfit(range(4), np.log2(mean), 1)[0]
    assert -3.7 < slope < -2.7  # real crops: -3.0 of photographs, -3.6 of moving objects in clips


def test_lightness_varies_more_than_color_as_outdoors(images):
    x = probe_set.scale(images, probe_set.SIZE, 3)
    lightness = x.mean(1)
    color = np.stack([x[:, 0] - x[:, 1], x[:, 2] - lightness])
    assert lightness.var() > 4 * color.var(axis=(1, 2, 3)).max()
    assert color.var() > 1e-3
    assert 0.3 < lightness.mean() < 0.6


@pytest.mark.parametrize(('size', 'channels'), [(64, 3), (32, 3), (8, 1), (128, 3), (64, 1)])
def test_scales_to_other_model_inputs(images, size, channels):
    x = probe_set.scale(images, size, channels)
    assert x.shape == (probe_set.COUNT, channels, size, size)
    assert x.dtype == np.float32
    assert x.min() >= 0
    assert x.max() <= 1
    weights = [1 / 3] * 3 if channels == 3 else probe_set.LUMA
    expected = (images / 255).mean((1, 2)) @ weights
    np.testing.assert_allclose(x.mean((1, 2, 3)), expected, atol=1e-5)


def test_rejects_a_size_that_does_not_divide(images):
    with pytest.raises(ValueError, match='size=48'):
        probe_set.scale(images, 48, 3)


def test_batches_cover_the_set(images):
    whole = probe_set.scale(images, 16, 3)
    batches = [probe_set.scale(images[part], 16, 3) for part in probe_set.batches()]
    assert {len(batch) for batch in batches} == {probe_set.BATCH}
    assert np.array_equal(np.concatenate(batches), whole)
