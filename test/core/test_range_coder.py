# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""The range coder: any symbols come back, in about as many bits as their information content."""

import math

from hypothesis import given
from hypothesis import strategies as st

from sage_perception.codecs import range_coder
from sage_perception.codecs.range_coder import TOTAL_BITS


@st.composite
def symbols(draw):
    """Intervals of random alphabets, from size 1 to all but 1."""
    intervals = []
    for _ in range(draw(st.integers(0, 80))):
        size = min(1 << draw(st.integers(0, TOTAL_BITS)), (1 << TOTAL_BITS) - 1)
        intervals.append((draw(st.integers(0, (1 << TOTAL_BITS) - size)), size))
    return intervals


@given(symbols())
def test_size_is_the_information_content(intervals):
    data = range_coder.encode(intervals)
    decoder = range_coder.Decoder(data)
    for start, size in intervals:
        assert start <= decoder.position() < start + size
        decoder.consume(start, size)
    assert decoder.rest == b''
    information = sum(TOTAL_BITS - math.log2(size) for _, size in intervals)
    assert len(data) <= information / 8 + 1
