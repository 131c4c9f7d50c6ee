# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""The schedule of an episodic memory: which frames are scored, and when."""

from dataclasses import replace

import pytest
from memories import SPACE, START, lct

from sage_perception.memory import EpisodicMemory, open_store
from sage_perception.memory.feed import MemoryFeed, Schedule

PERIOD_NS = 33_000_000


@pytest.fixture
def feed(tmp_path):
    with open_store(tmp_path / 'memory.db', SPACE) as store:
        yield MemoryFeed(EpisodicMemory(store, 0.5, 0.1), Schedule(observe_rate=5.0))


def play(feed, count, start_ns=START):
    """Add frames of one LCT with an agreement; return the stamps of the scored frames."""
    scored = []
    for n in range(count):
        stamp_ns = start_ns + n * PERIOD_NS
        seen = replace(lct(n), stamp_ns=stamp_ns)
        feed.add_frame('cam0', stamp_ns, [seen])
        feed.add_agreement(seen.id, 0.9)
        scored += [each.stamp_ns for each in feed.step(stamp_ns * 1e-9)[0]]
    return scored


def test_frames_are_scored_at_the_rate_of_the_schedule(feed):
    scored = play(feed, 90)
    seconds = 90 * PERIOD_NS * 1e-9 - 0.25
    assert len(scored) == pytest.approx(5 * seconds, abs=2)
    assert scored == sorted(set(scored))


def test_agreements_of_frames_that_are_not_scored_are_forgotten(feed):
    play(feed, 200)
    assert len(feed._agreements) == len(feed._waiting) < 20


def test_the_schedule_starts_over_after_the_clock_jumped_back(feed):
    play(feed, 30)
    again = START - 10**12
    scored = play(feed, 30, again)
    assert scored
    assert all(again <= stamp_ns < START for stamp_ns in scored)
