# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Reputation: bounded, rises slowly, falls quickly, and can always recover."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sage_perception.trust.reputation import Reputation

EVIDENCE = st.floats(0, 1)


def after(evidence, reputation=None):
    reputation = reputation or Reputation()
    for one in evidence:
        reputation.update(one)
    return reputation


@given(st.lists(st.floats(), max_size=60))
def test_value_stays_within_its_bounds(evidence):
    assert Reputation.MIN <= after(evidence).value <= 1


@given(st.lists(EVIDENCE, max_size=40), EVIDENCE)
def test_value_moves_towards_the_evidence_and_not_past_it(evidence, more):
    reputation = after(evidence)
    before = reputation.value
    reputation.update(more)
    low, high = sorted((before, max(more, Reputation.MIN)))
    assert low - 1e-12 <= reputation.value <= high + 1e-12


@given(st.lists(EVIDENCE, min_size=1, max_size=40), st.data())
def test_value_is_monotonic_in_the_evidence(evidence, data):
    place = data.draw(st.integers(0, len(evidence) - 1))
    better = [*evidence]
    better[place] = data.draw(st.floats(evidence[place], 1))
    assert after(better).value >= after(evidence).value - 1e-12


@given(st.integers(0, 600))
def test_twenty_good_frames_do_not_make_up_for_one_bad_frame(earned):
    reputation = after([1.0] * earned)
    before = reputation.value
    after([0.0, *[1.0] * 20], reputation)
    assert reputation.value < before


def test_seconds_of_good_frames_raise_it_and_a_few_bad_frames_lower_it():
    reputation = after([1.0] * 600)
    assert reputation.value > 0.9
    assert after([0.0] * 5, reputation).suspect


@given(st.lists(EVIDENCE, max_size=40))
def test_value_recovers_from_any_history(evidence):
    reputation = after([*evidence, *[0.0] * 100])
    assert (reputation.value, reputation.suspect) == (Reputation.MIN, True)
    after([1.0] * 600, reputation)
    assert reputation.value > 0.9
    assert not reputation.suspect


@given(st.lists(EVIDENCE, max_size=80))
def test_suspect_flag_has_hysteresis(evidence):
    reputation = Reputation()
    for one in evidence:
        before = reputation.suspect
        reputation.update(one)
        if Reputation.SUSPECT <= reputation.value < Reputation.CLEARED:
            assert reputation.suspect == before
        else:
            assert reputation.suspect == (reputation.value < Reputation.SUSPECT)


@pytest.mark.parametrize('invalid', [math.nan, math.inf, -1.0, 1.5])
def test_invalid_evidence_counts_as_bad(invalid):
    assert after([invalid]).value == after([0.0]).value
