# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Compressed seconds of a summary: a mapping like any other, with less memory."""

import tracemalloc

from hypothesis import given
from hypothesis import strategies as st

from sage_perception.regression.seconds import BLOCK, Seconds
from sage_perception.regression.summary import Summary


@given(st.lists(st.tuples(st.integers(-500, 500), st.text(max_size=8))))
def test_seconds_are_those_of_a_dictionary(entries):
    seconds = Seconds()
    for second, text in entries:
        seconds[second] = text
    expected = dict(entries)
    assert [*seconds.items()] == sorted(expected.items())
    assert all(seconds.get(second) == text for second, text in expected.items())
    assert seconds.get(1000) is None
    again = Seconds()
    for second, text in reversed(list(expected.items())):
        again[second] = text
    assert again == seconds
    again[1000] = ''
    assert again != seconds


def test_summary_of_an_hour_needs_little_memory():
    cells = {
        str(track): {'frames': 30, 'trust': 0.81234, 'latent': [0.1234 * i for i in range(8)]}
        for track in range(6)
    }
    summary = Summary()
    summary.set_second('cam0/lcts', 0, cells)
    (line,) = summary.lines('cam0/lcts')
    tracemalloc.start()
    for second in range(1, 3600):
        cells['0']['trust'] = second / 7
        summary.set_second('cam0/lcts', second, cells)
    used, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert used < 3600 * len(line[1]) / 4
    assert [second for second, _ in summary.lines('cam0/lcts')] == [*range(3600)]
    for second in (1, BLOCK, 3599):
        assert summary.second('cam0/lcts', second)['0']['trust'] == second / 7
