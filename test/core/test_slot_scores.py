# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Scores of segmentations: the adjusted Rand index and the best overlap."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from sklearn.metrics import adjusted_rand_score

from sage_perception.slots.scores import (
    adjusted_rand_index,
    foreground_ari,
    mean_best_overlap,
)

LABELS = arrays(np.uint8, (6, 6), elements=st.integers(0, 3))
TWO_OBJECTS = np.array([[0, 0, 0, 0], [1, 1, 2, 2], [1, 1, 2, 2]], np.uint8)


@given(LABELS, LABELS)
@settings(max_examples=60)
def test_adjusted_rand_index_is_that_of_scikit_learn(truth, predicted):
    expected = adjusted_rand_score(truth.ravel(), predicted.ravel())
    assert adjusted_rand_index(truth, predicted) == pytest.approx(expected, abs=1e-9)


@given(LABELS, st.permutations(range(4)))
def test_scores_do_not_depend_on_the_numbers_of_segments(truth, order):
    renumbered = np.array(order)[truth]
    assert adjusted_rand_index(truth, renumbered) == 1
    assert foreground_ari(truth, renumbered) in (None, 1.0)
    assert mean_best_overlap(truth, renumbered) in (None, 1.0)


def test_foreground_ari_ignores_the_background():
    predicted = TWO_OBJECTS.copy()
    predicted[0] = [0, 1, 2, 3]
    assert foreground_ari(TWO_OBJECTS, predicted) == 1
    assert adjusted_rand_index(TWO_OBJECTS, predicted) < 1


def test_one_segment_for_two_objects_scores_half_an_overlap_and_no_ari():
    predicted = (TWO_OBJECTS > 0).astype(int)
    assert foreground_ari(TWO_OBJECTS, predicted) == 0
    assert mean_best_overlap(TWO_OBJECTS, predicted) == 0.5


def test_a_change_of_slots_between_frames_lowers_the_score_of_a_video():
    truth = np.stack((TWO_OBJECTS, TWO_OBJECTS))
    swapped = np.stack((TWO_OBJECTS, np.array([0, 2, 1], np.uint8)[TWO_OBJECTS]))
    assert foreground_ari(truth[0], swapped[0]) == foreground_ari(truth[1], swapped[1]) == 1
    assert foreground_ari(truth, swapped) < 0.1


def test_scenes_without_objects_have_no_score():
    empty = np.zeros((4, 4), np.uint8)
    assert foreground_ari(empty, empty) is None
    assert mean_best_overlap(empty, empty) is None
    nothing = np.zeros((0,), np.uint8)
    assert mean_best_overlap(nothing, nothing) is None


@pytest.mark.parametrize(
    ('truth', 'predicted', 'message'),
    [
        (np.zeros((2, 2), int), np.zeros((2, 3), int), 'differ'),
        (np.zeros((2, 2), int), np.full((2, 2), -1), 'negative'),
    ],
)
def test_rejects_labels_that_do_not_match(truth, predicted, message):
    with pytest.raises(ValueError, match=message):
        adjusted_rand_index(truth, predicted)
