# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Maps between latent spaces: what they recover, what they refuse, and how they are kept."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sage_perception.trust.compatibility import probe_images as probes
from sage_perception.trust.compatibility.latent_map import (
    PENALTIES,
    Calibration,
    affine,
    calibrate,
    place,
    procrustes,
    r_squared,
    recall,
    ridge,
)

OURS, THEIRS, OTHERS = b'r' * 32, b's' * 32, b'o' * 32
seeds = st.integers(0, 2**32 - 1)


def latents(rng, count=200, dim=12):
    """Return latents whose dimensions vary as much as those of a real model differ, 100 to 1."""
    return rng.standard_normal((count, dim)) * np.geomspace(10, 0.1, dim) + rng.uniform(-5, 5, dim)


def rotation(rng, dim):
    return np.linalg.qr(rng.standard_normal((dim, dim)))[0]


def fit(theirs, ours, fitted=150):
    return calibrate(theirs, ours, THEIRS, OURS, fitted)


@settings(max_examples=10, deadline=None)
@given(seeds, st.floats(0, 4), st.sampled_from([1e-3, 1.0, 1e3]))
def test_an_affine_copy_is_recovered(seed, decades, scale):
    rng = np.random.default_rng(seed)
    ours = latents(rng)
    stretch = scale * np.logspace(0, decades, 12)
    theirs = ours @ rotation(rng, 12) * stretch @ rotation(rng, 12) + rng.uniform(-9, 9, 12)
    found = fit(theirs, ours)
    assert found.method == 'ridge'
    assert found.r2 > 0.9999
    assert found.significant


@settings(max_examples=10, deadline=None)
@given(seeds, st.floats(1e-3, 1e3))
def test_a_turned_copy_is_recovered_from_as_many_images_as_dimensions(seed, scale):
    rng = np.random.default_rng(seed)
    ours = latents(rng, 40)
    theirs = scale * ours @ rotation(rng, 12) + 3
    weights, offset = procrustes(theirs[:13], ours[:13])
    np.testing.assert_allclose(affine(theirs, weights, offset), ours, atol=1e-3)


@settings(max_examples=10, deadline=None)
@given(seeds)
def test_fewer_images_than_dimensions_give_a_rotation_that_still_helps(seed):
    rng = np.random.default_rng(seed)
    ours = latents(rng, dim=24)
    found = fit(ours @ rotation(rng, 24), ours, fitted=16)
    assert found.method == 'procrustes'
    assert 0.5 < found.r2 < 1
    # Never more directions than images told of.
    assert np.linalg.matrix_rank(found.weights) <= 15


@settings(max_examples=10, deadline=None)
@given(seeds)
def test_a_stretched_copy_needs_ridge(seed):
    rng = np.random.default_rng(seed)
    ours = latents(rng)
    theirs = ours / np.geomspace(10, 0.1, 12) * np.geomspace(0.1, 10, 12)
    assert r_squared(affine(theirs, *ridge(theirs, ours)), ours) > 0.9999
    assert r_squared(affine(theirs, *procrustes(theirs, ours)), ours) < 0.9


@settings(max_examples=10, deadline=None)
@given(seeds)
def test_white_noise_and_permuted_images_explain_nothing(seed):
    rng = np.random.default_rng(seed)
    ours = latents(rng)
    for theirs in (rng.standard_normal(ours.shape), rng.permutation(ours)):
        found = fit(theirs, ours)
        assert abs(found.r2) < 0.2
        # Chance is significant one time in a hundred; with so little said that it is harmless.
        assert not found.significant or found.r2 < 0.1


def test_dimensions_that_were_dropped_cost_their_share_of_the_variance():
    rng = np.random.default_rng(0)
    ours = rng.standard_normal((400, 8))
    for kept in (2, 4, 6):
        assert fit(ours[:, :kept], ours, 300).r2 == pytest.approx(kept / 8, abs=0.08)


def test_a_silent_sender_is_told_apart():
    ours = latents(np.random.default_rng(0))
    found = fit(np.zeros((200, 5)), ours)
    assert not found.significant
    np.testing.assert_allclose(found.apply(np.zeros((3, 5)))[0], ours[:150].mean(0), rtol=1e-4)


def test_the_penalty_is_the_one_that_leaving_each_image_out_would_choose():
    rng = np.random.default_rng(3)
    x, y = rng.standard_normal((20, 4)), rng.standard_normal((20, 3))
    y += x[:, :3]
    top = np.linalg.svd(x - x.mean(0), compute_uv=False)[0] ** 2

    def solve(x, y, penalty):
        mean_x, mean_y = x.mean(0), y.mean(0)
        gram = (x - mean_x).T @ (x - mean_x) + penalty * np.eye(4)
        weights = np.linalg.solve(gram, (x - mean_x).T @ (y - mean_y))
        return weights, mean_y - mean_x @ weights

    def left_out(penalty):
        error = 0
        for i in range(20):
            rest = np.arange(20) != i
            weights, offset = solve(x[rest], y[rest], penalty)
            error += np.square(y[i] - x[i] @ weights - offset).sum()
        return error

    best = min(PENALTIES * top, key=left_out)
    assert top * 1e-6 < best < top * 100  # somewhere inside the range
    weights, offset = ridge(x, y)
    expected = solve(x, y, best)
    np.testing.assert_allclose(weights, expected[0], rtol=1e-8, atol=1e-10)
    np.testing.assert_allclose(offset, expected[1], rtol=1e-8, atol=1e-10)


def test_it_is_scored_on_images_that_it_was_not_fitted_on():
    rng = np.random.default_rng(0)
    ours = latents(rng)
    theirs = ours @ rotation(rng, 12)
    lied = ours.copy()
    lied[150:] = rng.permutation(lied[150:])
    assert fit(theirs, ours).r2 > 0.999
    assert fit(theirs, lied).r2 < 0.2


def test_a_map_is_kept_and_read_back(tmp_path):
    rng = np.random.default_rng(0)
    ours = latents(rng)
    theirs = ours[:, :9] @ rng.standard_normal((9, 7))
    found = fit(theirs, ours)
    found.save(place(tmp_path / 'new', THEIRS, OURS))
    read = recall(tmp_path / 'new', THEIRS, OURS)
    np.testing.assert_array_equal(read.apply(theirs), found.apply(theirs))
    for name in ('sender', 'receiver', 'method', 'probes', 'r2', 'p_value'):
        assert getattr(read, name) == getattr(found, name)
    assert [path.name for path in (tmp_path / 'new').iterdir()] == [
        place(tmp_path, THEIRS, OURS).name
    ]


def test_a_kept_map_is_for_its_pair_of_spaces_alone(tmp_path):
    ours = latents(np.random.default_rng(0))
    fit(ours, ours).save(place(tmp_path, THEIRS, OURS))
    assert recall(tmp_path, OTHERS, OURS) is None
    assert recall(tmp_path, THEIRS, OTHERS) is None
    assert recall(tmp_path, OURS, THEIRS) is None
    # The name of the file is not what decides.
    place(tmp_path, THEIRS, OURS).rename(place(tmp_path, OTHERS, OURS))
    assert recall(tmp_path, OTHERS, OURS) is None


def test_a_new_probe_set_ends_old_maps(tmp_path, monkeypatch):
    ours = latents(np.random.default_rng(0))
    fit(ours, ours).save(place(tmp_path, THEIRS, OURS))
    monkeypatch.setattr(probes, 'SHA256', '1' * 64)
    assert recall(tmp_path, THEIRS, OURS) is None
    with pytest.raises(ValueError, match='another probe set'):
        Calibration.read(place(tmp_path, THEIRS, OURS))


@pytest.mark.parametrize('harm', ['cut', 'text', 'nan', 'shape', 'pickle'])
def test_a_damaged_file_is_refused(tmp_path, harm):
    ours = latents(np.random.default_rng(0))
    path = place(tmp_path, THEIRS, OURS)
    found = fit(ours, ours)
    if harm == 'nan':
        found.weights[0, 0] = np.nan
    if harm == 'shape':
        object.__setattr__(found, 'offset', found.offset[:-1])
    found.save(path)
    if harm == 'cut':
        path.write_bytes(path.read_bytes()[:-40])
    if harm == 'text':
        path.write_text('no archive')
    if harm == 'pickle':
        np.savez(path, weights=np.array([{'a': 1}], object))
    with pytest.raises(ValueError, match=path.name):
        Calibration.read(path)
    assert recall(tmp_path, THEIRS, OURS) is None


def test_what_does_not_fit_any_more_is_seen():
    rng = np.random.default_rng(0)
    ours = latents(rng)
    found = fit(ours @ rotation(rng, 12), ours)
    assert not found.still_fits(ours[150:] @ rotation(rng, 12), ours[150:])
    assert not found.still_fits(ours[150:, :5], ours[150:])


@pytest.mark.parametrize(
    ('theirs', 'fitted', 'message'),
    [
        (np.ones((10, 3)), 9, 'fitted=9'),
        (np.ones((10, 3)), 1, 'fitted=1'),
        (np.ones((9, 3)), 5, r'theirs.*\[9, 3\]'),
        (np.ones(10), 5, r'theirs.*\[10\]'),
        (np.full((10, 3), np.inf), 5, 'theirs.*finite'),
    ],
)
def test_latents_that_cannot_be_used_are_named(theirs, fitted, message):
    with pytest.raises(ValueError, match=message):
        fit(theirs, np.ones((10, 4)), fitted)


def test_variances_are_translated_too_and_what_the_map_does_not_know_is_added():
    rng = np.random.default_rng(0)
    ours = latents(rng, 400)
    theirs = ours[:, :9] @ rng.standard_normal((9, 9))
    found = fit(theirs, ours, 300)
    log_var = rng.uniform(-3, 1, (1, 9))
    spread = np.exp(log_var / 2) * rng.standard_normal((40000, 9))
    measured = found.apply(theirs[:1] + spread).var(0)
    translated = np.exp(found.apply_log_var(log_var)[0])
    np.testing.assert_allclose(translated - found.residual, measured, rtol=0.05, atol=1e-4)
    # Three of our dimensions were never sent: their whole variance is unknown.
    np.testing.assert_allclose(found.residual[9:], ours[300:, 9:].var(0), rtol=0.2)


def test_latents_of_another_size_are_not_translated():
    ours = latents(np.random.default_rng(0))
    with pytest.raises(ValueError, match=r'\[B, 12\], not \[4, 5\]'):
        fit(ours, ours).apply(np.zeros((4, 5)))
