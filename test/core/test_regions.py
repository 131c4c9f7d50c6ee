# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Regions that compete for crops: which of two overlapping ones is kept."""

from sage_perception.core.frame import CropSource
from sage_perception.core.latent import Roi
from sage_perception.vision.regions import Candidate, suppress


def moving(roi, score, track, extent=None):
    return Candidate(roi, score, CropSource.MOTION, track, extent)


def tracks(found):
    return [candidate.track_id for candidate in found]


SMALL = moving(Roi(100, 150, 200, 200), 0.5, 3, (110, 170, 280, 320))
POLE = moving(Roi(0, 0, 480, 480), 0.9, 7, (10, 0, 90, 480))


def test_the_region_of_a_long_object_does_not_hide_an_older_object_beside_it():
    assert tracks(suppress([SMALL, POLE], 8)) == [7, 3]


def test_it_hides_a_younger_object_in_its_region():
    younger = moving(SMALL.roi, SMALL.score, 9, SMALL.extent)
    assert tracks(suppress([younger, POLE], 8)) == [7]


def test_an_object_hides_what_lies_in_its_box():
    large = moving(POLE.roi, 0.9, 7, (60, 20, 400, 460))
    assert tracks(suppress([SMALL, large], 8)) == [7]
    assert tracks(suppress([moving(SMALL.roi, 0.5, 3), moving(POLE.roi, 0.9, 7)], 8)) == [7]


def test_a_weak_region_does_not_replace_a_strong_one_inside_of_it():
    weak = moving(POLE.roi, 0.2, 1)
    assert tracks(suppress([SMALL, weak], 8)) == [3, 1]
    assert tracks(suppress([SMALL, moving(POLE.roi, 0.4, 1)], 8)) == [1]
