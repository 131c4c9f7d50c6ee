# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""The trust of hops of translation, and its calibration."""

import numpy as np
import pytest

from sage_perception.puzzle.hop_trust import calibration_error, fit


def hops(count, seed, noise):
    """Return distances and whether the decision was kept, of positions with an error."""
    rng = np.random.default_rng(seed)
    objects = rng.uniform(-1, 1, (count, 6, 2))
    found = objects[:, 0] + rng.normal(0, noise, (count, 2))
    distances = np.linalg.norm(objects - found[:, None], axis=2)
    two = np.sort(distances, 1)[:, :2]
    return two[:, 0], two[:, 1], distances.argmin(1) == 0


@pytest.mark.parametrize('noise', [0.1, 0.3])
def test_trust_is_calibrated_on_other_items_of_the_same_hop(noise):
    model = fit(*hops(3000, 0, noise))
    nearest, second, kept = hops(3000, 1, noise)
    trust = model(nearest, second)
    error, sizes = calibration_error(trust, kept)
    assert error <= 0.03
    assert min(sizes) == 600
    assert abs(trust.mean() - kept.mean()) < 0.03
    # Items with a clear decision are trusted more than those on the edge.
    clear = second - nearest > 0.5
    assert trust[clear].mean() > trust[second - nearest < 0.05].mean() + 0.1


def test_a_hop_that_loses_everything_has_the_trust_of_chance():
    nearest, second, kept = hops(4000, 0, 50.0)
    trust = fit(nearest, second, kept)(nearest, second)
    assert trust.mean() == pytest.approx(kept.mean(), abs=0.02)
    assert trust.mean() < 0.3


def test_calibration_error_of_constant_trust_is_the_difference_of_the_means():
    kept = np.arange(500) % 2 == 0
    assert calibration_error(np.full(500, 0.8), kept)[0] == pytest.approx(0.3)


def test_no_items_are_an_error():
    with pytest.raises(ValueError, match='no items'):
        fit(np.zeros(0), np.zeros(0), np.zeros(0, bool))
