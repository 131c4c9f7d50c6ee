# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Reputation: bounded, slow to earn, quick to lose, and never lost for good."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sage_perception.trust.reputation import Reputation

EVIDENCE = st.floats(0, 1)


def after(evidence, reputation=None):
    reputation = reputation or Reputation()
    for one in evidence:
        reputation.note(one)
    return reputation


@given(st.lists(st.floats(), max_size=60))
def test_it_stays_within_its_bounds_whatever_is_said(evidence):
    assert Reputation.FLOOR <= after(evidence).value <= 1


@given(st.lists(EVIDENCE, max_size=40), EVIDENCE)
def test_each_piece_moves_it_towards_itself_and_never_past(evidence, more):
    reputation = after(evidence)
    before = reputation.value
    reputation.note(more)
    low, high = sorted((before, max(more, Reputation.FLOOR)))
    assert low - 1e-12 <= reputation.value <= high + 1e-12


@given(st.lists(EVIDENCE, min_size=1, max_size=40), st.data())
def test_better_evidence_never_earns_less(evidence, data):
    place = data.draw(st.integers(0, len(evidence) - 1))
    better = [*evidence]
    better[place] = data.draw(st.floats(evidence[place], 1))
    assert after(better).value >= after(evidence).value - 1e-12


@given(st.integers(0, 600))
def test_it_takes_many_good_ones_to_make_up_for_one_bad_one(earned):
    reputation = after([1.0] * earned)
    before = reputation.value
    after([0.0, *[1.0] * 20], reputation)
    assert reputation.value < before


def test_it_is_earned_within_seconds_of_frames_and_lost_within_a_few_of_them():
    reputation = after([1.0] * 600)
    assert reputation.value > 0.9
    assert after([0.0] * 5, reputation).suspect


@given(st.lists(EVIDENCE, max_size=40))
def test_it_is_never_lost_for_good(evidence):
    reputation = after([*evidence, *[0.0] * 100])
    assert (reputation.value, reputation.suspect) == (Reputation.FLOOR, True)
    after([1.0] * 600, reputation)
    assert reputation.value > 0.9
    assert not reputation.suspect


@given(st.lists(EVIDENCE, max_size=80))
def test_between_the_two_thresholds_nothing_changes(evidence):
    reputation = Reputation()
    for one in evidence:
        before = reputation.suspect
        reputation.note(one)
        if Reputation.SUSPECT <= reputation.value < Reputation.CLEARED:
            assert reputation.suspect == before
        else:
            assert reputation.suspect == (reputation.value < Reputation.SUSPECT)


@pytest.mark.parametrize('nonsense', [math.nan, math.inf, -1.0, 1.5])
def test_what_is_no_evidence_is_bad(nonsense):
    assert after([nonsense]).value == after([0.0]).value
