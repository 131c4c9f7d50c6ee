# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Text for messages, and the order of names."""

from hypothesis import given
from hypothesis import strategies as st

from sage_perception.core.text import natural_key, split_names


def test_numbers_in_names_are_ordered_by_value():
    names = ['img10.png', 'img2.png', 'a', '10', '2', 'img2a.png', '']
    ordered = ['', '2', '10', 'a', 'img2.png', 'img2a.png', 'img10.png']
    assert sorted(names, key=natural_key) == ordered


def test_names_are_separated_by_commas():
    assert split_names(' red, dark green,,blue ') == ['red', 'dark green', 'blue']
    assert split_names(' ') == []


@given(st.lists(st.text(max_size=8)))
def test_all_names_can_be_ordered(names):
    assert sorted(sorted(names, key=natural_key)) == sorted(names)
