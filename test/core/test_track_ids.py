# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""The ids of tracks: they wrap at uint32, and a later start has other ids."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sage_perception.core.track_ids import (
    IDS_PER_S,
    MAX_ID,
    first_track_id,
    short_label,
    track_ids,
)


def first_of(ids, count):
    return list(itertools.islice(ids, count))


def test_ids_count_up_and_wrap_after_uint32_without_0():
    assert first_of(track_ids(), 3) == [1, 2, 3]
    assert first_of(track_ids(MAX_ID - 1), 4) == [MAX_ID - 1, MAX_ID, 1, 2]


@pytest.mark.parametrize('first', [0, -1, MAX_ID + 1])
def test_first_id_that_is_not_an_id_is_an_error(first):
    with pytest.raises(ValueError, match='first track id'):
        track_ids(first)


@given(st.floats(0, 4e9), st.floats(1, 1e6), st.integers(0, 50))
def test_later_start_does_not_reuse_ids(start_s, later_s, per_s):
    made = int(min(later_s, 1e6) * min(per_s, IDS_PER_S - 1))
    first, second = first_track_id(start_s), first_track_id(start_s + later_s)
    assert 1 <= first <= MAX_ID
    # The ids of the first process are first, …, first + made, modulo the wrap.
    assert (second - first) % MAX_ID > made


def test_labels_are_short_and_differ_for_successive_tracks():
    first = first_track_id(1.8e9)
    labels = [short_label(first + n) for n in range(10_000)]
    assert max(map(len, labels)) <= 4
    assert len(set(labels)) == len(labels)
    assert short_label(7) == '7'
