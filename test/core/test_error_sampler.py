# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Sampling of reconstruction errors."""

import math

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from sage_perception.pipeline.error_sampler import MAX_CHANGE, ErrorSampler

STD = np.array([0.5, 2.0, 1.0], np.float32)
frames_of_tracks = st.lists(
    st.dictionaries(st.integers(1, 30), st.floats(-3, 3, width=32), max_size=12),
    min_size=1,
    max_size=40,
)


def at(*places):
    """Return latents `[B, D]` that differ by these numbers of standard deviations."""
    return np.array(places, np.float32)[:, None] * STD


@given(frames_of_tracks, st.integers(1, 7))
def test_tracks_are_measured_when_they_are_new_changed_or_old(frames, every):
    sampler = ErrorSampler(STD, every)
    measured = {}
    for number, places in enumerate(frames):
        tracks = list(places)
        due = sampler.due(tracks, at(*places.values()) if places else np.empty((0, 3)))
        expected = []
        for index, (track, place) in enumerate(places.items()):
            before, then, _ = measured.get(track, (math.inf, -math.inf, 0))
            change = abs(place - before)
            if abs(change - MAX_CHANGE) < 1e-3:  # rounded differently
                expected += [index] * (index in due)
            elif change > MAX_CHANGE or number - then >= every:
                expected.append(index)
        assert due == expected
        errors = [number + tracks[i] / 100 for i in due]
        chosen = [tracks[i] for i in due]
        sampler.note(chosen, at(*(places[track] for track in chosen)) if due else [], errors)
        for track, error in zip(chosen, errors, strict=True):
            measured[track] = places[track], number, error
        assert [sampler.last(track) for track in tracks] == [measured[t][2] for t in tracks]


@given(st.integers(1, 9), st.integers(1, 12))
def test_a_track_in_view_is_measured_in_every_period(every, count):
    sampler = ErrorSampler(STD, every)
    tracks, latents = list(range(1, count + 1)), at(*range(count))
    last = {}
    for number in range(5 * every):
        due = sampler.due(tracks, latents)
        sampler.note([tracks[i] for i in due], latents[due], [0.0] * len(due))
        last |= {tracks[i]: number for i in due}
        assert all(number - last[track] < every for track in tracks)


def test_slow_changes_add_up():
    sampler = ErrorSampler(STD, every=1000)
    measured = []
    for step in range(21):
        latents = at(0.1 * step)
        for _ in sampler.due([1], latents):
            measured.append(step)
            sampler.note([1], latents, [0.0])
    assert measured == [0, 8, 16]


def test_a_latent_that_is_not_finite_is_measured():
    sampler = ErrorSampler(STD)
    sampler.note([1], at(0), [0.1])
    assert sampler.due([1], np.full((1, 3), np.nan, np.float32)) == [0]


def test_crops_without_a_track_are_always_measured_and_not_stored():
    sampler = ErrorSampler(STD)
    for _ in range(3):
        assert sampler.due([0, 0], at(0, 0)) == [0, 1]
        sampler.note([0, 0], at(0, 0), [0.1, 0.2])
    assert math.isnan(sampler.last(0))


def test_the_oldest_tracks_are_dropped():
    sampler = ErrorSampler(STD)
    for track in range(1, 1000):
        sampler.note([track], at(0), [0.5])
    assert sampler.last(999) == 0.5
    assert math.isnan(sampler.last(1))
