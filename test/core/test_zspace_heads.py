# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Heads, losses and divergence of projected maps."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from sage_perception.zspace import (
    MapClassifier,
    ZDiffuser,
    ZSpaceError,
    ZSpaceVolume,
    diffusion_consistency_loss,
    find_peaks,
    map_divergence,
    slice_agreement_loss,
    temporal_smoothness_loss,
)


def blob(x, y, sigma=2.0, shape=(30, 40)):
    rows, columns = np.mgrid[: shape[0], : shape[1]]
    return np.exp(-0.5 * ((columns - x) ** 2 + (rows - y) ** 2) / sigma**2)


@given(st.floats(6, 33), st.floats(6, 23))
def test_peak_is_found_to_a_fraction_of_a_cell(x, y):
    (peak,) = find_peaks(blob(x, y), 1)
    assert (peak.x, peak.y) == pytest.approx((x, y), abs=0.1)
    left, top, right, bottom = peak.box
    # Half of the height of a Gaussian is at 1.18 σ.
    assert right - left == pytest.approx(2 * 1.18 * 2, abs=1.1)
    assert bottom - top == pytest.approx(2 * 1.18 * 2, abs=1.1)


def test_peaks_are_ordered_separate_and_limited():
    values = blob(10, 10) + 0.5 * blob(30, 20)
    peaks = find_peaks(values, 5, min_value=0.2)
    assert [(round(p.x), round(p.y)) for p in peaks] == [(10, 10), (30, 20)]
    assert len(find_peaks(values, 1)) == 1
    assert find_peaks(np.zeros((3, 3)), 2) == []
    with pytest.raises(ZSpaceError, match='NaN'):
        find_peaks([[np.nan]], 1)


def test_classifier_separates_places():
    random = np.random.default_rng(0)
    places = {'left': 8, 'right': 32}
    maps, labels = [], []
    for index in range(40):
        label = ('left', 'right')[index % 2]
        maps.append(blob(places[label] + random.normal(), 15) + 0.3 * random.random((30, 40)))
        labels.append(label)
    head = MapClassifier.fit(maps[:20], labels[:20])
    assert [head.classify(m) for m in maps[20:]] == labels[20:]
    copy = MapClassifier(head.labels, head.weights, head.mean, head.scale, head.grid)
    np.testing.assert_array_equal(copy.scores(maps[0]), head.scores(maps[0]))
    with pytest.raises(ZSpaceError, match='two classes'):
        MapClassifier.fit(maps, ['left'] * 40)
    with pytest.raises(ZSpaceError, match='fewer cells'):
        head.scores(np.zeros((3, 3)))


maps = arrays(np.float64, (3, 4), elements=st.floats(0, 1e6))


@given(maps, maps)
def test_divergence_is_symmetric_and_bounded(a, b):
    assert 0 <= map_divergence(a, b) <= 1
    assert map_divergence(a, b) == pytest.approx(map_divergence(b, a), abs=1e-12)
    assert map_divergence(a, 3 * a) == pytest.approx(0, abs=1e-9)


def test_divergence_grows_with_the_distance_of_blobs():
    values = [map_divergence(blob(10, 15), blob(10 + d, 15)) for d in (0, 1, 3, 9, 25)]
    assert values == sorted(values)
    assert values[-1] > 0.99
    with pytest.raises(ZSpaceError, match='negative'):
        map_divergence([[-1]], [[1]])


def test_losses_of_agreement_smoothness_and_consistency():
    same = ZSpaceVolume.from_slices([blob(10, 10), 3 * blob(10, 10)])
    other = ZSpaceVolume.from_slices([blob(10, 10), blob(30, 20)])
    assert slice_agreement_loss(same) == pytest.approx(0, abs=1e-6)
    assert slice_agreement_loss(other) == pytest.approx(1, abs=1e-3)
    assert temporal_smoothness_loss([same, same]) == 0
    assert temporal_smoothness_loss([same, other]) > 0.1
    noise = ZSpaceVolume(np.random.default_rng(0).normal(size=(2, 20, 20)))
    diffuser = ZDiffuser(1, 0.5)
    assert diffusion_consistency_loss(ZSpaceVolume(np.ones((2, 3, 3))), diffuser) < 1e-12
    assert diffusion_consistency_loss(noise, diffuser) > diffusion_consistency_loss(same, diffuser)
    with pytest.raises(ZSpaceError, match='one shape'):
        temporal_smoothness_loss([same, noise])
