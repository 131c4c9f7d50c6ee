# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Playback in real time and locked to the wall clock."""

import itertools
import threading
import time
from fractions import Fraction

import numpy as np
import pytest
from footage import LENGTH, NS, VIDEO_FPS, FakeClock, number_in
from hypothesis import given, settings
from hypothesis import strategies as st

from sage_perception.vision.sources import EndOfStream, open_source
from sage_perception.vision.sources.pacing import Timeline


def test_realtime_frames_arrive_when_due(video):
    clock = FakeClock()
    with open_source(f'{video}?fps=30', clock=clock) as source:
        assert source.fps == 30
        start = clock.now_ns
        for number in range(2 * LENGTH):
            frame = source.read(1.0)
            assert number_in(frame.image) == number % LENGTH
            assert frame.index == number
            assert frame.captured_ns == start - (-number * NS // 30)
            assert clock.now_ns == frame.captured_ns


@settings(deadline=None, max_examples=20)
@given(st.lists(st.floats(0, 3), min_size=1, max_size=10))
def test_slow_reader_skips_frames_and_the_index_counts_them(video, pauses):
    clock = FakeClock()
    with open_source(f'{video}', clock=clock) as source:
        start = source.read(1.0).captured_ns
        for pause in pauses:
            clock.advance(pause)
            frame = source.read(1.0)
            assert number_in(frame.image) == frame.index % LENGTH
            assert frame.captured_ns == start + frame.index * NS // VIDEO_FPS
            assert 0 <= clock.now_ns - frame.captured_ns < NS / VIDEO_FPS


def test_read_returns_none_before_the_frame_is_due(video):
    clock = FakeClock()
    with open_source(f'{video}?fps=2', clock=clock) as source:
        assert source.read(0.1).index == 0
        start = clock.now_ns
        assert [source.read(0.2), source.read(0.2)] == [None, None]
        assert clock.now_ns - start == 0.4 * NS
        frame = source.read(0.2)
        assert (frame.index, number_in(frame.image)) == (1, 1)
        assert frame.captured_ns - start == NS // 2


def test_close_interrupts_a_waiting_read(video):
    source = open_source(f'{video}?fps=0.1')
    source.read(1.0)
    threading.Timer(0.05, source.close).start()
    started = time.monotonic()
    with pytest.raises(EndOfStream, match='closed'):
        source.read(60.0)
    assert time.monotonic() - started < 5
    with pytest.raises(EndOfStream, match='closed'):
        source.read(0.0)
    source.close()


@settings(deadline=None)
@given(
    st.fractions(Fraction(1, 100), 1000, max_denominator=1001),
    st.integers(0, 2**61),
    st.booleans(),
)
def test_ticks_are_exact_at_any_time(rate, now_ns, locked):
    clock = FakeClock(ahead_ns=now_ns)
    timeline = Timeline(rate, clock, locked)
    tick = timeline.next_tick(None)
    assert tick == (int(clock.time_ns() * rate / NS) if locked else 0)
    # The next tick starts exactly when it is due, not a nanosecond before.
    due_ns = timeline.due_ns(tick + 1)
    assert timeline.next_tick(tick) == tick + 1
    clock.now_ns = due_ns - 1
    assert timeline.next_tick(None) == tick
    clock.now_ns = due_ns
    assert timeline.next_tick(None) == tick + 1


@pytest.mark.parametrize('kind', ['file', 'images', 'synthetic'])
def test_locked_sources_play_synchronously(video, folder, kind):
    uri = {
        'file': f'file://{video}?fps=30',
        'images': f'images://{folder}?fps=30',
        'synthetic': 'synthetic://?fps=30&width=64&height=48&objects=1',
    }[kind] + '&lock=wall'
    clock = FakeClock()
    with open_source(uri, clock=clock) as one:
        one.read(1.0)
        clock.advance(7.77)
        with open_source(uri, clock=clock) as other:
            for pause in (0, 0.001, 0.033, 0.5, 3.0):
                clock.advance(pause)
                first = one.read(1.0)
                shown = clock.now_ns
                second = other.read(0.0)
                if second is None:  # `first` was late already; read the next frame of both
                    first, second = one.read(1.0), other.read(1.0)
                assert shown <= clock.now_ns
                assert first.captured_ns == second.captured_ns
                assert np.array_equal(first.image, second.image)


@pytest.mark.parametrize(('scheme', 'length'), [('file', LENGTH), ('images', 12)])
def test_wall_clock_determines_the_frame(video, folder, scheme, length):
    path = {'file': video, 'images': folder}[scheme]
    clock = FakeClock(ahead_ns=1_234_567_890_123_456_789)
    with open_source(f'{scheme}://{path}?fps=30&lock=wall', clock=clock) as source:
        for pause in (0.0, 0.01, 0.4, 5.0, 0.0):
            clock.advance(pause)
            frame = source.read(1.0)
            assert number_in(frame.image) == clock.time_ns() * 30 // NS % length
            due_wall = frame.captured_ns + clock.ahead_ns
            assert due_wall * 30 // NS == clock.time_ns() * 30 // NS
            assert (due_wall - 1) * 30 // NS == clock.time_ns() * 30 // NS - 1


def test_follows_a_wall_clock_that_is_set(folder):
    clock = FakeClock()
    with open_source(f'images://{folder}?lock=wall', clock=clock) as source:
        indices = [source.read(1.0).index]
        for step_s in (3600, -7200, 1800):
            clock.ahead_ns += step_s * NS
            for _ in range(3):
                frame = source.read(1.0)
                indices.append(frame.index)
                assert number_in(frame.image) == clock.time_ns() * 10 // NS % 12
                assert 0 <= clock.now_ns - frame.captured_ns < NS / 10
    assert all(after > before for before, after in itertools.pairwise(indices))
