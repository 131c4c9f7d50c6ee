# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""One-to-one matching of latents by cosine similarity."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.sparse import csr_array
from scipy.sparse.csgraph import structural_rank

from sage_perception.trust.fusion.assignment import matches
from sage_perception.trust.fusion.comparison import Comparison
from sage_perception.trust.fusion.matching import center, cosine_matrix

SMALL = st.floats(-5, 5, width=32)


def match(a, b, possible=None):
    """Match rows by their cosine."""
    cosines = cosine_matrix(a, b)
    return matches(Comparison(cosines, cosines, cosines), possible)


def matrices(rows):
    return st.lists(
        st.lists(SMALL, min_size=3, max_size=3), min_size=rows[0], max_size=rows[1]
    ).map(lambda values: np.array(values, np.float32).reshape(-1, 3))


@given(matrices((0, 4)), matrices((0, 4)))
def test_no_other_one_to_one_matching_has_a_larger_sum(a, b):
    found = match(a, b)
    assert len(found) == min(len(a), len(b))
    assert [m.a for m in found] == sorted({m.a for m in found})
    assert len({m.b for m in found}) == len(found)

    def cosine(x, y):
        x, y = x.astype(float), y.astype(float)
        lengths = math.hypot(*x) * math.hypot(*y)
        return float(x @ y) / lengths if lengths else 0.0

    for m in found:
        assert m.similarity == pytest.approx(cosine(a[m.a], b[m.b]), abs=1e-4)
    if found:
        few, many = sorted((a, b), key=len)
        best = max(
            sum(cosine(few[i], many[j]) for i, j in enumerate(order))
            for order in itertools.permutations(range(len(many)), len(few))
        )
        assert sum(m.similarity for m in found) == pytest.approx(best, abs=1e-3)


@given(matrices((0, 5)), matrices((0, 5)))
def test_is_symmetric_in_the_cameras(a, b):
    forward = sum(m.similarity for m in match(a, b))
    backward = sum(m.similarity for m in match(b, a))
    assert forward == pytest.approx(backward, abs=1e-4)


def test_recovers_a_permutation():
    rng = np.random.default_rng(0)
    a = rng.normal(size=(6, 64))
    order = rng.permutation(6)
    found = match(a, a[order])
    assert [order[m.b] for m in found] == list(range(6))
    assert all(m.similarity == pytest.approx(1) for m in found)


def test_center_removes_the_common_mean():
    mean = np.full(64, 50.0)
    rng = np.random.default_rng(1)
    a, b = mean + rng.normal(size=(2, 1, 64))
    assert cosine_matrix(a, b)[0, 0] > 0.99
    assert abs(cosine_matrix(center(a, mean), center(b, mean))[0, 0]) < 0.5


@given(matrices((1, 4)), matrices((1, 4)), st.data())
def test_excluded_pairs_are_not_matched_and_all_other_pairs_that_can_be_are(a, b, data):
    cells = st.lists(st.booleans(), min_size=len(a) * len(b), max_size=len(a) * len(b))
    possible = np.array(data.draw(cells)).reshape(len(a), len(b))
    found = match(a, b, possible)
    assert all(possible[m.a, m.b] for m in found)
    assert len({m.a for m in found}) == len({m.b for m in found}) == len(found)
    assert len(found) == structural_rank(csr_array(possible))
