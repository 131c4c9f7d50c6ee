# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Evidence from the other crops of the compared images."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from sage_perception.core.latent import Roi
from sage_perception.trust.fusion.assignment import matches
from sage_perception.trust.fusion.comparison import Comparison
from sage_perception.trust.fusion.rivals import PRIOR, ambiguity, apart, posterior

RATIOS = st.floats(-40, 90)


SHAPES = st.tuples(st.integers(1, 5), st.integers(1, 5))


def ratios():
    return SHAPES.flatmap(lambda shape: arrays.arrays(np.float64, shape, elements=RATIOS))


def test_regions_are_apart_from_three_quarters_of_their_side():
    rois = [Roi(0, 0, 100, 100), Roi(74, 0, 100, 100), Roi(0, 75, 100, 100), None]
    expected = np.array([[0, 0, 1, 1], [0, 0, 1, 1], [1, 1, 0, 1], [1, 1, 1, 0]], bool)
    np.testing.assert_array_equal(apart(rois), expected)
    assert apart([]).shape == (0, 0)
    assert apart([None]).tolist() == [[False]]


def test_ambiguity_is_the_logarithm_of_the_mean_ratio_to_other_things():
    found = np.log(np.array([[1, 4, 8], [4, 1, np.e], [8, np.e, 1]]))
    distinct = np.array([[0, 1, 1], [1, 0, 0], [1, 0, 0]], bool)
    expected = np.log([(PRIOR + 12) / (PRIOR + 2), (PRIOR + 4) / (PRIOR + 1)])
    np.testing.assert_allclose(ambiguity(found, distinct)[:2], expected)


@given(st.integers(0, 5))
def test_ambiguity_is_zero_for_typical_crops_and_for_those_without_others(count):
    everything = ~np.eye(count, dtype=bool)
    np.testing.assert_allclose(ambiguity(np.zeros((count, count)), everything), 0, atol=1e-12)
    unknown = np.full((count, count), -np.inf)
    assert (ambiguity(unknown, everything) == 0).all()
    assert (ambiguity(np.full((count, count), 30.0), ~everything & everything) == 0).all()


@given(ratios())
def test_the_posterior_is_bayes_rule_for_one_partner_at_most(log_ratios):
    rows, columns = log_ratios.shape
    none = (rows + columns) / 2
    likelihoods = [[float(np.exp(each)) for each in row] for row in log_ratios]
    found = posterior(log_ratios)
    for i in range(rows):
        for j in range(columns):
            rivals = sum(likelihoods[i][k] for k in range(columns) if k != j)
            rivals += sum(likelihoods[k][j] for k in range(rows) if k != i)
            expected = log_ratios[i, j] - np.log1p(rivals / none)
            assert found[i, j] == pytest.approx(expected, rel=1e-9, abs=1e-9)


@given(ratios())
def test_rivals_only_lower_a_ratio_and_one_pair_alone_keeps_it(log_ratios):
    found = posterior(log_ratios)
    assert (found <= log_ratios + 1e-9).all()
    np.testing.assert_allclose(posterior(log_ratios[:1, :1]), log_ratios[:1, :1])
    assert np.isfinite(posterior(10 * log_ratios)).all()


def test_excluded_pairs_are_no_rivals():
    log_ratio = np.array([[5.0, 5.0], [-9.0, 5.0]])
    comparison = Comparison(log_ratio / 10, log_ratio, log_ratio - 2, log_ratio)
    free = matches(comparison)
    fixed = matches(comparison, np.array([[True, False], [True, True]]))
    assert [(m.a, m.b, m.agrees) for m in free] == [(m.a, m.b, m.agrees) for m in fixed]
    assert fixed[0].log_ratio == pytest.approx(5.0, abs=1e-3)
    assert free[0].log_ratio == pytest.approx(5 - np.log1p(np.exp(5) / 2), abs=1e-3)
