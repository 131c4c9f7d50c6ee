# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""The shared probe set is the same everywhere, and like images that cameras take."""

import hashlib

import numpy as np
import pytest

from sage_perception.trust.compatibility import probe_images as probes


@pytest.fixture
def force():
    """Let this process forget the images before and after."""
    probes.images.cache_clear()
    yield
    probes.images.cache_clear()


def test_the_images_are_the_same_to_the_bit_everywhere(tmp_path, monkeypatch, force):
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path))
    images = probes.images()
    assert images.shape == (probes.COUNT, probes.SIZE, probes.SIZE, 3)
    assert images.dtype == np.uint8
    assert hashlib.sha256(images.tobytes()).hexdigest() == probes.SHA256

    (kept,) = (tmp_path / 'sage').glob('*.bin')
    assert kept.read_bytes() == images.tobytes()
    # Kept ones are believed only when they are the right ones.
    painted = images.copy()
    monkeypatch.setattr(probes, 'paint', lambda: painted)
    for spoilt in (kept.read_bytes()[:-1] + b'x', b''):
        kept.write_bytes(spoilt)
        probes.images.cache_clear()
        assert np.array_equal(probes.images(), images)
        assert hashlib.sha256(kept.read_bytes()).hexdigest() == probes.SHA256


def test_a_folder_that_cannot_be_written_is_no_obstacle(tmp_path, monkeypatch, force):
    monkeypatch.setattr(probes, 'paint', lambda: np.ones((2, 2)))
    (tmp_path / 'sage').touch()
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path))
    assert probes.images().sum() == 4


def test_nobody_can_change_them_for_others():
    with pytest.raises(ValueError, match='read-only'):
        probes.images()[0] = 0


def test_there_are_enough_and_no_two_alike():
    assert probes.COUNT >= 256
    assert 64 < probes.FITTED < probes.COUNT - 64
    small = probes.to_input(8).reshape(probes.COUNT, -1)
    distances = np.linalg.norm(small[:, None] - small[None], axis=2)
    assert distances[~np.eye(probes.COUNT, dtype=bool)].min() > 0.1


def test_their_spectrum_falls_as_that_of_natural_images():
    gray = probes.to_input(channels=1)[:, 0]
    window = np.outer(np.hanning(64), np.hanning(64))
    power = np.square(abs(np.fft.fft2((gray - gray.mean((1, 2), keepdims=True)) * window)))
    frequency = np.hypot(*np.meshgrid(np.fft.fftfreq(64), np.fft.fftfreq(64)))
    rings = [(2 / 64, 4 / 64), (4 / 64, 8 / 64), (8 / 64, 16 / 64), (16 / 64, 32 / 64)]
    mean = [power.mean(0)[(frequency >= a) & (frequency < b)].mean() for a, b in rings]
    slope = np.polyfit(range(4), np.log2(mean), 1)[0]
    assert -3.7 < slope < -2.7  # real crops: -3.0 of photographs, -3.6 of what moves in clips


def test_lightness_varies_more_than_color_as_it_does_outdoors():
    x = probes.to_input()
    lightness = x.mean(1)
    color = np.stack([x[:, 0] - x[:, 1], x[:, 2] - lightness])
    assert lightness.var() > 4 * color.var(axis=(1, 2, 3)).max()
    assert color.var() > 1e-3
    assert 0.3 < lightness.mean() < 0.6


@pytest.mark.parametrize(('size', 'channels'), [(64, 3), (32, 3), (8, 1), (128, 3), (64, 1)])
def test_models_of_other_inputs_see_the_same_images(size, channels):
    x = probes.to_input(size, channels)
    assert x.shape == (probes.COUNT, channels, size, size)
    assert x.dtype == np.float32
    assert x.min() >= 0
    assert x.max() <= 1
    weights = [1 / 3] * 3 if channels == 3 else [0.299, 0.587, 0.114]
    expected = (probes.images() / 255).mean((1, 2)) @ weights
    np.testing.assert_allclose(x.mean((1, 2, 3)), expected, atol=1e-5)


def test_a_size_that_does_not_fit_is_named():
    with pytest.raises(ValueError, match='size=48'):
        probes.to_input(48)


def test_part_by_part_they_are_the_same():
    whole = probes.to_input(16, 3)
    parts = [probes.to_input(16, 3, part) for part in probes.parts()]
    assert {len(part) for part in parts} == {probes.PART}
    assert np.array_equal(np.concatenate(parts), whole)
