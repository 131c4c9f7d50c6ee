# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""The log-mel spectrogram and its inverse."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sage_perception.audio import mel
from sage_perception.audio.synthetic import syllables


def sine(hz, seconds=1.0, level=0.5):
    return level * np.sin(2 * np.pi * hz * np.arange(round(seconds * mel.RATE)) / mel.RATE)


@given(st.floats(0, 8000))
def test_the_mel_scale_is_inverted(hz):
    assert mel.mel_to_hz(mel.hz_to_mel(hz)) == pytest.approx(hz, abs=1e-6)


def test_the_mel_scale_is_that_of_the_literature():
    # 1000 mel is 1000 Hz by definition, within the rounding of the constant.
    assert mel.hz_to_mel(1000.0) == pytest.approx(1000, abs=0.1)


def test_filters_are_triangles_that_sum_to_one_between_the_first_and_last_center():
    filters = mel.mel_filters()
    assert filters.shape == (mel.BANDS, mel.FFT // 2 + 1)
    assert filters.min() == 0
    hz = np.fft.rfftfreq(mel.FFT, 1 / mel.RATE)
    edges = mel.hz_to_mel(np.array([mel.LOW_HZ, mel.HIGH_HZ]))
    step = (edges[1] - edges[0]) / (mel.BANDS + 1)
    low, high = mel.mel_to_hz(np.array([edges[0] + step, edges[1] - step]))
    inside = (hz >= low) & (hz <= high)
    np.testing.assert_allclose(filters.sum(0)[inside], 1, atol=1e-9)
    assert not filters[:, (hz < mel.LOW_HZ) | (hz > mel.HIGH_HZ)].any()


@settings(max_examples=20, deadline=None)
@given(st.floats(150, 3800))
def test_a_tone_is_loudest_in_the_band_of_its_frequency(hz):
    image = mel.log_mel(sine(hz))
    assert image.shape == (mel.BANDS, mel.FRAMES)
    assert image.dtype == np.float32
    assert image.max() == 1
    edges = mel.hz_to_mel(np.array([mel.LOW_HZ, mel.HIGH_HZ]))
    place = (float(mel.hz_to_mel(hz)) - edges[0]) / (edges[1] - edges[0]) * (mel.BANDS + 1) - 1
    # The lowest bands are narrower than the main lobe of the window.
    assert abs(image[:, mel.FRAMES // 2].argmax() - place) <= 1.5


@settings(max_examples=20, deadline=None)
@given(st.floats(1e-3, 1), st.integers(0, 5))
def test_the_level_does_not_count(gain, seed):
    signal = syllables(np.random.default_rng(seed))
    np.testing.assert_allclose(mel.log_mel(signal), mel.log_mel(gain * signal), atol=1e-4)


def test_silent_and_invalid_samples_have_a_finite_spectrogram():
    assert not mel.log_mel(np.zeros(5000)).any()
    assert not mel.log_mel(np.empty(0)).any()
    broken = sine(440)
    broken[100:200] = np.nan
    broken[300] = np.inf
    assert np.isfinite(mel.log_mel(broken)).all()


@pytest.mark.parametrize('length', [0, 1, 399, mel.WINDOW - 1, mel.WINDOW, mel.WINDOW + 7])
def test_windows_are_centered(length):
    window = mel.to_window(np.ones(length))
    assert window.shape == (mel.WINDOW,)
    assert window.sum() == min(length, mel.WINDOW)
    ones = np.flatnonzero(window)
    if len(ones):
        assert abs(ones[0] - (mel.WINDOW - 1 - ones[-1])) <= 1


def test_the_preview_has_the_spectrogram_it_was_made_from():
    image = mel.log_mel(syllables(np.random.default_rng(3)))
    again = mel.log_mel(mel.to_waveform(image))
    loud = image > 0.5
    assert np.corrcoef(image[loud], again[loud])[0, 1] > 0.9
    assert np.abs(image - again)[loud].mean() < 0.06
    assert not mel.to_waveform(np.zeros_like(image)).any()
