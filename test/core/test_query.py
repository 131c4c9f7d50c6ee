# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""The limits of memory queries."""

import pytest

from sage_perception.memory import Query


@pytest.mark.parametrize('count', [0, 10**6])
def test_rejects_a_count_out_of_range(count):
    with pytest.raises(ValueError, match=f'count is {count}: it must be 1 to 1000'):
        Query(count=count)


@pytest.mark.parametrize('track', [-1, 2**32])
def test_rejects_a_track_that_no_message_can_hold(track):
    with pytest.raises(ValueError, match=f'track is {track}'):
        Query(track=track)


@pytest.mark.parametrize('times', [{'since_ns': -1}, {'until_ns': 2**63}])
def test_rejects_a_time_that_no_column_can_hold(times):
    with pytest.raises(ValueError, match='between 1970 and 2262'):
        Query(**times)


def test_rejects_a_reversed_time_range():
    with pytest.raises(ValueError, match='since must not be later than until'):
        Query(since_ns=2, until_ns=1)


def test_rejects_an_entity_that_postgresql_cannot_store():
    with pytest.raises(ValueError, match='NUL'):
        Query(entity='cam\0')
