# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Sending on change, and within a byte rate."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sage_perception.core.latent import Latent, Roi
from sage_perception.pipeline.sending import (
    ARRAY_BYTES,
    BURST_S,
    CROP_BYTES,
    MAX_TRACKS,
    LatentSender,
    SendingPolicy,
)

MEAN = np.zeros(4, np.float32)
FRAME_NS = 10**9 // 30


def a_latent(value, track=1, x=0):
    return Latent(np.full(4, value, np.float32), roi=Roi(x, 0, 100, 100), track_id=track)


def sent(sender, frames, size=40, salience=1.0):
    """Return the indices that are sent of each frame, a list of latents."""
    return [
        sender.select(frame, [size] * len(frame), [salience] * len(frame), number * FRAME_NS)
        for number, frame in enumerate(frames)
    ]


def test_everything_is_sent_by_default():
    frames = [[a_latent(1.0), a_latent(1.0, 0)]] * 3
    assert sent(LatentSender(MEAN, SendingPolicy()), frames) == [[0, 1]] * 3


def test_unchanged_latents_are_sent_once_a_second():
    sender = LatentSender(MEAN, SendingPolicy(min_change=0.1))
    found = sent(sender, [[a_latent(1.0)]] * 61)
    assert [number for number, indices in enumerate(found) if indices] == [0, 31]
    assert sender.unchanged == 59


@pytest.mark.parametrize(
    ('latent', 'expected'),
    [
        (a_latent(1.05), []),
        (a_latent(1.2), [0]),
        (a_latent(1.0, x=5), []),
        (a_latent(1.0, x=50), [0]),
        (a_latent(1.0, track=2), [0]),
        (a_latent(1.0, track=0), [0]),
    ],
    ids=['little', 'much', 'moved little', 'moved', 'another track', 'no track'],
)
def test_what_changed_is_sent(latent, expected):
    sender = LatentSender(MEAN, SendingPolicy(min_change=0.1))
    assert sent(sender, [[a_latent(1.0)], [latent]])[1] == expected


def test_slow_changes_add_up():
    sender = LatentSender(MEAN, SendingPolicy(min_change=0.1))
    found = sent(sender, [[a_latent(1 + number / 100)] for number in range(20)])
    assert [number for number, indices in enumerate(found) if indices] == [0, 12]


def test_a_clock_that_goes_back_sends_again():
    sender = LatentSender(MEAN, SendingPolicy(min_change=0.1))
    assert sender.select([a_latent(1.0)], [40], [1.0], 10**12) == [0]
    assert sender.select([a_latent(1.0)], [40], [1.0], 10**9) == [0]


@given(
    st.integers(500, 20_000),
    st.lists(st.integers(0, 12), min_size=60, max_size=90),
    st.integers(1, 300),
)
def test_bytes_stay_within_the_rate(rate, counts, size):
    sender = LatentSender(MEAN, SendingPolicy(max_bytes_per_s=rate))
    frames = [[a_latent(1.0, track + 1) for track in range(count)] for count in counts]
    found = sent(sender, frames, size)
    total = sum(ARRAY_BYTES + (CROP_BYTES + size) * len(each) for each in found if each)
    assert total <= rate * (BURST_S + len(frames) / 30)
    assert sender.limited == sum(counts) - sum(map(len, found))


def test_the_most_salient_changes_come_first():
    sender = LatentSender(MEAN, SendingPolicy(max_bytes_per_s=ARRAY_BYTES + 2 * (CROP_BYTES + 40)))
    frame = [a_latent(1.0, track) for track in (1, 2, 3)]
    assert sender.select(frame, [40] * 3, [0.1, 0.9, 0.5], 0) == [1, 2]


def test_memory_is_bounded():
    sender = LatentSender(MEAN, SendingPolicy(min_change=0.1))
    for track in range(1, MAX_TRACKS + 100):
        sender.select([a_latent(1.0, track)], [40], [1.0], track)
    assert len(sender._tracks) == MAX_TRACKS
