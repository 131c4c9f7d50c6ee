# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""The figures of similarities agree with their definitions."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from sage_perception.core.discrimination import auroc, threshold_at, tpr_at_fpr

SIMILARITIES = st.lists(st.integers(-5, 5), min_size=1, max_size=40).map(
    lambda values: np.array(values, float)
)


@given(SIMILARITIES, SIMILARITIES)
def test_auroc_is_that_of_scikit_learn(same, other):
    labels = np.r_[np.ones(len(same)), np.zeros(len(other))]
    assert auroc(same, other) == pytest.approx(roc_auc_score(labels, np.r_[same, other]))


@given(SIMILARITIES, st.floats(0, 0.99))
def test_at_most_the_rate_exceeds_the_threshold_and_no_lower_value_does(other, rate):
    threshold = threshold_at(other, rate)
    assert (other > threshold).mean() <= rate
    lower = other[other < threshold]
    if len(lower):
        assert (other > lower.max()).mean() > rate


def test_the_share_of_same_pairs_above_the_threshold():
    other = np.arange(100) / 100
    assert tpr_at_fpr(np.array([0.5, 0.985, 0.999]), other, 0.01) == pytest.approx(2 / 3)


@pytest.mark.parametrize('rate', [-0.1, 1.0, float('nan')])
def test_a_rate_out_of_range_is_an_error(rate):
    with pytest.raises(ValueError, match='false_positive_rate is'):
        threshold_at(np.ones(3), rate)


def test_no_pairs_are_an_error():
    with pytest.raises(ValueError, match='N at least 1'):
        auroc(np.ones(0), np.ones(3))
