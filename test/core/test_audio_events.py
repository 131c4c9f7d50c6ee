# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Events, directions and faults of sound."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sage_perception.audio.activity import ActivityDetector, is_voice
from sage_perception.audio.bearing import delay_s, find_bearing
from sage_perception.audio.event_stream import EventStream
from sage_perception.audio.health import CLIPPED, NOT_FINITE, SILENT, SoundHealth
from sage_perception.audio.mel import RATE
from sage_perception.audio.phrase import Phrase
from sage_perception.audio.sources.base import BLOCK, SoundBlock
from sage_perception.audio.synthetic import EVENT_S, PERIOD_S, syllables, synthetic_sound

NS = 10**9


def blocks(samples, start_ns=0, first=0):
    for number in range(len(samples) // BLOCK):
        part = samples[number * BLOCK : (number + 1) * BLOCK]
        at_ns = start_ns + (number + first) * BLOCK * NS // RATE
        yield SoundBlock(part, at_ns, number + first)


def events_in(samples, start_ns=0):
    stream = EventStream()
    return [e for block in blocks(samples, start_ns) for e in stream.add(block)], stream


@settings(max_examples=15, deadline=None)
@given(st.floats(-60, 60), st.integers(0, 100))
def test_the_bearing_of_a_distant_source_is_found(degrees, seed):
    sound = synthetic_sound('voice', seed, 2, degrees, snr=30)
    found = find_bearing(sound[8000:26000, 0], sound[8000:26000, 1])
    assert np.degrees(found.angle) == pytest.approx(degrees, abs=2.5)
    mirrored = find_bearing(sound[8000:26000, 1], sound[8000:26000, 0])
    assert mirrored.angle == pytest.approx(-found.angle, abs=0.02)


def test_the_delay_is_that_of_a_plane_wave():
    assert delay_s(np.pi / 2, 0.343) == pytest.approx(1e-3)
    assert delay_s(-np.pi / 6, 0.686) == pytest.approx(-1e-3)


@pytest.mark.parametrize(
    'pair', [np.zeros((2, 4000)), np.full((2, 4000), np.nan), np.ones((2, 9))]
)
def test_sound_without_a_direction_has_none(pair):
    assert find_bearing(*pair) is None


@pytest.mark.parametrize('snr', [40, 20])
def test_each_event_is_found_once_at_its_time(snr):
    sound = synthetic_sound('voice', seed=4, snr=snr)
    events, _ = events_in(sound, start_ns=5 * NS)
    expected = [5 + (n + 0.5) * PERIOD_S for n in range(int(12 / PERIOD_S))]
    assert len(events) == len(expected)
    for event, start_s in zip(events, expected, strict=True):
        assert event.captured_ns / NS == pytest.approx(start_s, abs=0.12)
        assert len(event.samples) / RATE == pytest.approx(EVENT_S, abs=0.2)
        assert event.bearing is None
        assert event.fault == ''
        assert 0 < event.arousal <= 1


def test_two_channels_have_a_bearing():
    events, _ = events_in(synthetic_sound('voice', 1, 2, 35.0))
    assert [np.degrees(e.bearing.angle) for e in events] == pytest.approx([35] * 8, abs=3)


def test_stationary_noise_and_silence_are_no_events():
    rng = np.random.default_rng(0)
    noise = (0.05 * rng.normal(size=(10 * RATE, 1))).astype(np.float32)
    assert events_in(noise)[0] == []
    assert events_in(np.zeros((5 * RATE, 1), np.float32))[0] == []


def test_voices_differ_from_tones_noise_and_clicks():
    rng = np.random.default_rng(2)
    time = np.arange(RATE // 2) / RATE
    voices = [is_voice(syllables(np.random.default_rng(n))) for n in range(20)]
    assert np.mean(voices) >= 0.85
    others = [0.2 * np.sin(2 * np.pi * hz * time) for hz in (150, 440, 1000, 3000)]
    others += [0.2 * rng.normal(size=len(time)) for _ in range(4)]
    others += [np.exp(-time * 30) * rng.normal(size=len(time)) for _ in range(4)]
    others += [syllables(rng)[:800]]
    assert not any(is_voice(sound) for sound in others)


def test_long_sound_ends_and_becomes_background():
    tone = 0.3 * np.sin(2 * np.pi * 500 * np.arange(12 * RATE) / RATE)[:, None]
    quiet = 1e-4 * np.random.default_rng(0).normal(size=(RATE, 1))
    events, stream = events_in(np.concatenate([quiet, tone]).astype(np.float32))
    assert 1 <= len(events) <= 3
    assert not stream.active


@settings(max_examples=10, deadline=None)
@given(st.integers(1, 4000))
def test_the_size_of_the_pieces_does_not_change_the_events(size):
    sound = synthetic_sound('voice', seed=7)[: 4 * RATE]
    whole = ActivityDetector().add(sound)
    detector = ActivityDetector()
    pieces = [e for at in range(0, len(sound), size) for e in detector.add(sound[at : at + size])]
    assert [e.start for e in pieces] == [e.start for e in whole]
    for one, other in zip(pieces, whole, strict=True):
        np.testing.assert_array_equal(one.samples, other.samples)


def test_faults_are_named():
    rng = np.random.default_rng(1)
    good = (0.1 * rng.normal(size=(BLOCK, 2))).astype(np.float32)
    assert SoundHealth().add(good) == ''
    assert SoundHealth().add(np.clip(20 * good, -1, 1)) == CLIPPED
    broken = good.copy()
    broken[3, 1] = np.nan
    health = SoundHealth()
    assert health.add(broken) == NOT_FINITE
    assert [health.add(good) for _ in range(20)][-1] == ''
    silent = SoundHealth()
    assert [silent.add(0 * good) for _ in range(25)] == [''] * 19 + [SILENT] * 6


@pytest.mark.parametrize(
    ('change', 'fault'), [(lambda x: np.clip(30 * x, -1, 1), CLIPPED), ('nan', NOT_FINITE)]
)
def test_events_of_a_faulty_microphone_have_its_fault(change, fault):
    sound = synthetic_sound('voice', seed=4)
    if change == 'nan':
        sound[::4000] = np.nan
    else:
        sound = change(sound)
    events, _ = events_in(sound)
    assert events
    assert {event.fault for event in events} == {fault}
    assert all(np.isfinite(event.samples).all() for event in events)


def test_lost_blocks_are_counted_and_stamps_go_on():
    sound = synthetic_sound('voice', seed=4)
    stream = EventStream()
    half = len(sound) // 2 // BLOCK * BLOCK
    for block in blocks(sound[:half]):
        stream.add(block)
    later = [e for block in blocks(sound[half:], 0, half // BLOCK + 20) for e in stream.add(block)]
    assert stream.gaps == 1
    expected = (half // BLOCK + 20) * 0.05
    assert all(expected - 0.2 < event.captured_ns / NS < expected + 7 for event in later)


def test_sound_of_before_a_restart_does_not_continue_after_it():
    sound = synthetic_sound('voice', seed=4)
    stream = EventStream()
    half = 20 * BLOCK  # within the first event
    assert not [e for block in blocks(sound[:half]) for e in stream.add(block)]
    assert stream.active
    stream.restart()
    assert not stream.active
    rest = [e for block in blocks(sound[half:], 100 * NS, 20) for e in stream.add(block)]
    assert stream.gaps == 0
    assert all(event.captured_ns > 100 * NS for event in rest)
    assert rest[0].captured_ns / NS == pytest.approx(100 + 1.5 * PERIOD_S, abs=0.12)


def test_words_are_joined_within_the_gap():
    phrase = Phrase(1.5)
    assert phrase.add('red', 10 * NS) == 'red'
    assert phrase.add('ball', 11 * NS) == 'red ball'
    assert phrase.add('blue', 13 * NS) == 'blue'
    assert phrase.add('cube', 2 * NS) == 'cube'  # the clock went back
    for number in range(20):
        text = phrase.add('one', (3 + number) * NS)
    assert len(text.split()) == 6
