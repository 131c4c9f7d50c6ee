# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Parallax: still objects that agree on an epipole are told from those that move."""

import numpy as np
import pytest

from sage_perception.vision.parallax import CONFIRMATIONS, Parallax

HEIGHT, WIDTH = 120, 160
STILL = [(20, 20), (130, 30), (60, 100)]
MOVING = (100, 70)


def field(epipole, still=STILL, moving=MOVING):
    """Return residual and evidence of squares that recede from an epipole, and one that moves."""
    residual = np.zeros((HEIGHT, WIDTH, 2), np.float32)
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    away = np.stack([epipole[0] - epipole[2] * x, epipole[1] - epipole[2] * y], axis=2)
    away = away / np.linalg.norm(away, axis=2, keepdims=True)
    for column, row in still:
        window = np.s_[row - 5 : row + 5, column - 5 : column + 5]
        residual[window] = 2 * away[window]
    if moving:
        column, row = moving
        window = np.s_[row - 5 : row + 5, column - 5 : column + 5]
        residual[window] = 2 * away[window][..., ::-1] * (1, -1)  # across the epipolar line
    return np.moveaxis(residual, 2, 0).copy(), np.linalg.norm(residual, axis=2) * 3


@pytest.mark.parametrize('epipole', [(1.0, 0.1, 0.0), (-80.5, -60.5, -1.0)], ids=['side', 'ahead'])
def test_still_objects_vanish_and_the_moving_one_stays(epipole):
    parallax = Parallax()
    residual, evidence = field(epipole)
    for _ in range(CONFIRMATIONS):
        parallax.update(residual, evidence, 1 / 30)
    left = parallax.remove(residual)
    for column, row in STILL:
        assert left[row - 4 : row + 4, column - 4 : column + 4].max() < 0.2
    assert left[MOVING[1], MOVING[0]] > 1.5


def test_a_single_object_is_not_parallax():
    parallax = Parallax()
    residual, evidence = field((1.0, 0.0, 0.0), still=STILL[:1], moving=None)
    for _ in range(10):
        parallax.update(residual, evidence, 1 / 30)
    assert parallax.epipole is None
    assert np.allclose(parallax.remove(residual), np.hypot(*residual))


def test_parts_of_one_object_are_not_parallax():
    parallax = Parallax()
    parts = [(60, 50), (72, 50), (66, 62)]
    residual, evidence = field((1.0, 0.0, 0.0), still=parts, moving=None)
    for _ in range(10):
        parallax.update(residual, evidence, 1 / 30)
    assert parallax.epipole is None


def test_epipole_is_forgotten():
    parallax = Parallax()
    residual, evidence = field((1.0, 0.1, 0.0))
    for _ in range(CONFIRMATIONS):
        parallax.update(residual, evidence, 1 / 30)
    assert parallax.epipole is not None
    for _ in range(40):
        parallax.update(np.zeros_like(residual), np.zeros_like(evidence), 1 / 30)
    assert parallax.epipole is None
