# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Sampling of reconstruction errors."""

import math

from hypothesis import given
from hypothesis import strategies as st

from sage_perception.pipeline.error_sampler import ErrorSampler


@given(
    st.lists(st.sets(st.integers(1, 30), max_size=12).map(sorted), min_size=1, max_size=40),
    st.integers(1, 7),
)
def test_new_tracks_are_measured_first_and_the_others_in_turns(frames, every):
    sampler = ErrorSampler(every)
    measured = {}
    for number, tracks in enumerate(frames):
        due = sampler.due(tracks)
        assert due == sorted(set(due))
        new = [i for i, track in enumerate(tracks) if track not in measured]
        assert set(new) <= set(due)
        known = len(tracks) - len(new)
        assert len(due) - len(new) == math.ceil(known / every), 'evenly distributed'
        errors = [number + track / 100 for track in tracks]
        sampler.note([tracks[i] for i in due], [errors[i] for i in due])
        measured |= {tracks[i]: errors[i] for i in due}
        assert [sampler.last(track) for track in tracks] == [measured[track] for track in tracks]


@given(st.integers(1, 9), st.integers(1, 12))
def test_a_track_in_view_is_measured_in_every_period(every, count):
    sampler = ErrorSampler(every)
    tracks = list(range(1, count + 1))
    last = {}
    for number in range(5 * every):
        due = [tracks[i] for i in sampler.due(tracks)]
        sampler.note(due, [0.0] * len(due))
        last |= dict.fromkeys(due, number)
        assert all(number - last[track] < every for track in tracks)


def test_crops_without_a_track_are_always_measured_and_not_stored():
    sampler = ErrorSampler(5)
    for _ in range(3):
        assert sampler.due([0, 0]) == [0, 1]
        sampler.note([0, 0], [0.1, 0.2])
    assert math.isnan(sampler.last(0))


def test_the_oldest_tracks_are_dropped():
    sampler = ErrorSampler(3)
    for track in range(1, 1000):
        sampler.note([track], [0.5])
    assert sampler.last(999) == 0.5
    assert math.isnan(sampler.last(1))
