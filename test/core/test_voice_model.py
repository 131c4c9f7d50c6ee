# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Voices in events: the choice of the test, and what it gets."""

import sys

import numpy as np
import pytest

from sage_perception.audio.activity import CONTEXT_FRAMES, ActivityDetector, is_voice
from sage_perception.audio.mel import HOP, RATE
from sage_perception.audio.synthetic import synthetic_sound
from sage_perception.audio.voice_model import FEATURES, PACKAGE, VoiceModel, voice_test


def test_the_features_are_used_without_the_package(monkeypatch):
    monkeypatch.setitem(sys.modules, PACKAGE, None)
    assert voice_test() == (FEATURES, is_voice)
    assert voice_test(FEATURES) == (FEATURES, is_voice)
    with pytest.raises(ImportError, match=r'not installed: pip install -r requirements/sound'):
        voice_test(PACKAGE)
    with pytest.raises(ValueError, match="'loud' is not a test"):
        voice_test('loud')


@pytest.mark.parametrize('size', [300, 16_000, 10**6])
def test_a_test_gets_the_event_and_a_second_before_it(size):
    asked = []

    def voice(samples, start):
        asked.append((samples, start))
        return len(asked) % 2 == 0

    sound = synthetic_sound('voice', seed=4, channels=2)
    detector = ActivityDetector(voice)
    events = [e for at in range(0, len(sound), size) for e in detector.add(sound[at : at + size])]
    assert [event.voice for event in events] == [n % 2 == 1 for n in range(len(events))]
    assert len(asked) == len(events) > 4
    for event, (samples, start) in zip(events, asked, strict=True):
        assert start == min(CONTEXT_FRAMES * HOP, event.start)
        first = event.start - start
        np.testing.assert_array_equal(samples, sound[first : first + len(samples)].mean(1))
        assert len(samples) - start == len(event.samples)


@pytest.fixture(scope='module')
def network():
    pytest.importorskip(PACKAGE)
    return VoiceModel()


def test_tones_noise_and_clicks_are_no_voices_for_the_network(network):
    rng = np.random.default_rng(2)
    time = np.arange(RATE // 2) / RATE
    quiet = 1e-3 * rng.normal(size=RATE)
    others = [0.2 * np.sin(2 * np.pi * hz * time) for hz in (440, 1000, 3000)]
    others += [0.2 * rng.normal(size=len(time)), np.exp(-time * 30) * rng.normal(size=len(time))]
    assert not any(network(np.concatenate((quiet, sound)), RATE) for sound in others)
    assert voice_test()[0] == PACKAGE


def test_short_events_and_values_that_are_not_finite_are_no_voices(network):
    assert not network(np.zeros(0, np.float32), 0)
    assert not network(np.zeros(399, np.float32), 0)
    assert not network(np.zeros(RATE, np.float32), RATE)
    assert not network(np.full(RATE, np.nan, np.float32), 0)
