# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""The similarity index in RAM."""

import math

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from sage_perception.memory.index import Index


@settings(max_examples=40)
@given(st.lists(st.tuples(st.booleans(), st.integers(0, 30)), max_size=60))
def test_agrees_with_a_dictionary_after_any_additions_and_removals(steps):
    index, held = Index(2), {}
    for adds, number in steps:
        if not adds:
            index.remove([number])
            held.pop(number, None)
        elif number not in held:
            angle = 0.2 * number
            held[number] = np.array([math.cos(angle), math.sin(angle)], np.float32)
            index.add([number], held[number][None], [number], [number % 3], [f'e{number % 2}'])
    assert len(index) == len(held)
    like = np.array([[1, 0]], np.float32)
    [found] = index.nearest(like, 100, 5, 20, 'e1', 0)
    selected = [n for n in held if 5 <= n <= 20 and n % 2 == 1 and n % 3 == 0]
    assert [n for n, _ in found] == sorted(selected, key=lambda n: -held[n][0])
