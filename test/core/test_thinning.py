# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Evenly spaced items of a stream."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sage_perception.core.thinning import Thinned


@given(st.integers(0, 500), st.integers(2, 20), st.integers(1, 8))
def test_kept_items_are_few_and_even(length, limit, count):
    made, thinned = [], Thinned(limit)
    for index in range(length):
        thinned.add(lambda index=index: made.append(index) or index)
    assert len(thinned) == length
    kept = thinned.chosen(limit)
    assert len(kept) <= limit
    assert all(position == item for position, item in kept)
    assert len({b - a for (a, _), (b, _) in pairwise(kept)}) <= 1
    if length:
        assert kept[0][0] == 0
        assert length - 1 - kept[-1][0] < max(length / len(kept), 1)
    positions = [position for position, _ in thinned.chosen(count)]
    assert positions == sorted(set(positions))
    assert len(positions) == min(count, len(kept))


@pytest.mark.parametrize('length', [1, 8, 64])
def test_short_streams_are_kept_as_a_whole(length):
    thinned = Thinned(64)
    for index in range(length):
        thinned.add(lambda index=index: index)
    assert [item for _, item in thinned.chosen(length)] == list(range(length))
    assert thinned.chosen(2)[-1] == (length - 1, length - 1)


def test_items_that_are_not_kept_are_not_made():
    made, thinned = [], Thinned(4)
    for index in range(100):
        thinned.add(lambda index=index: made.append(index))
    assert len(made) < 20
