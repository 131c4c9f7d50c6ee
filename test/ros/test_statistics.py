# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Rates and percentiles, with a clock that the tests set."""

import math
import threading

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sage_perception.ros import statistics
from sage_perception.ros.statistics import Durations, Rate


class Clock:
    """A clock that the test moves forward."""

    def __init__(self, monkeypatch):
        self.now = 100.0
        monkeypatch.setattr(statistics.time, 'monotonic', lambda: self.now)


def test_rate_counts_events_in_window(monkeypatch):
    clock = Clock(monkeypatch)
    rate = Rate(window_s=5.0)
    assert rate.hz == 0.0
    for _ in range(100):
        clock.now += 0.1
        rate.tick()
    assert rate.hz == pytest.approx(10.0, rel=0.05)
    assert rate.count == 100
    clock.now += 2.5
    assert rate.hz == pytest.approx(5.0, rel=0.05)
    clock.now += 5.0
    assert rate.hz == 0.0


def test_rate_is_correct_before_window_is_full(monkeypatch):
    clock = Clock(monkeypatch)
    rate = Rate(window_s=5.0)
    for _ in range(20):
        clock.now += 0.05
        rate.tick()
    assert rate.hz == pytest.approx(20.0)


def test_rate_is_thread_safe(monkeypatch):
    """A second thread reads the rate between the check of the oldest event and its removal."""
    others = []

    class Moment(float):
        def __lt__(self, oldest):
            if now > 0 and not others:
                others.append(threading.Thread(target=lambda: rate.hz))
                others[0].start()
                others[0].join(0.2)  # The lock blocks it; this thread goes on.
            return float(self) < oldest

    now = 0.0
    monkeypatch.setattr(statistics.time, 'monotonic', lambda: Moment(now))
    rate = Rate(window_s=1.0)
    rate.tick()
    now = 10.0
    assert rate.hz == 0.0
    others[0].join()
    assert rate.count == 1


@given(st.lists(st.floats(0, 10), min_size=1, max_size=60), st.sampled_from([50, 95, 99]))
def test_percentiles_match_numpy(seconds, percent):
    durations = Durations(size=40)
    for value in seconds:
        durations.add(value)
    kept = seconds[-40:]
    low, high = (np.percentile(kept, percent, method=method) for method in ('lower', 'higher'))
    # The nearest rank above, at most one rank away from that of numpy.
    above = sorted(kept)[min(len(kept) - 1, sorted(kept).index(high) + 1)]
    assert low * 1e3 <= durations.percentile_ms(percent) <= above * 1e3


def test_percentile_without_durations_is_nan():
    assert math.isnan(Durations().percentile_ms(50))
