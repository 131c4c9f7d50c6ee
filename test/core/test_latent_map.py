# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Maps between latent spaces: recovery, significance, and translated variances."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sage_perception.trust.compatibility.latent_map import (
    PENALTIES,
    affine,
    fit_latent_map,
    procrustes,
    r_squared,
    ridge,
)

OURS, THEIRS = b'r' * 32, b's' * 32
seeds = st.integers(0, 2**32 - 1)


def latents(rng, count=200, dim=12):
    """Return latents whose dimensions differ in scale as in a real model, 100 to 1."""
    return rng.standard_normal((count, dim)) * np.geomspace(10, 0.1, dim) + rng.uniform(-5, 5, dim)


def rotation(rng, dim):
    return np.linalg.qr(rng.standard_normal((dim, dim)))[0]


def fit(theirs, ours, fitted=150):
    return fit_latent_map(theirs, ours, THEIRS, OURS, fitted)


@settings(max_examples=10, deadline=None)
@given(seeds, st.floats(0, 4), st.sampled_from([1e-3, 1.0, 1e3]))
def test_recovers_an_affine_copy(seed, decades, scale):
    rng = np.random.default_rng(seed)
    ours = latents(rng)
    stretch = scale * np.logspace(0, decades, 12)
    theirs = ours @ rotation(rng, 12) * stretch @ rotation(rng, 12) + rng.uniform(-9, 9, 12)
    fitted = fit(theirs, ours)
    assert fitted.method == 'ridge'
    assert fitted.r2 > 0.9999
    assert fitted.significant


@settings(max_examples=10, deadline=None)
@given(seeds, st.floats(1e-3, 1e3))
def test_procrustes_recovers_a_rotation_from_one_image_more_than_dimensions(seed, scale):
    rng = np.random.default_rng(seed)
    ours = latents(rng, 40)
    theirs = scale * ours @ rotation(rng, 12) + 3
    weights, offset = procrustes(theirs[:13], ours[:13])
    np.testing.assert_allclose(affine(theirs, weights, offset), ours, atol=1e-3)


@settings(max_examples=10, deadline=None)
@given(seeds)
def test_fewer_images_than_dimensions_give_a_rotation_of_limited_rank(seed):
    rng = np.random.default_rng(seed)
    ours = latents(rng, dim=24)
    fitted = fit(ours @ rotation(rng, 24), ours, fitted=16)
    assert fitted.method == 'procrustes'
    assert 0.5 < fitted.r2 < 1
    assert np.linalg.matrix_rank(fitted.weights) <= 15


@settings(max_examples=10, deadline=None)
@given(seeds)
def test_ridge_recovers_a_stretched_copy_where_procrustes_fails(seed):
    rng = np.random.default_rng(seed)
    ours = latents(rng)
    theirs = ours / np.geomspace(10, 0.1, 12) * np.geomspace(0.1, 10, 12)
    assert r_squared(affine(theirs, *ridge(theirs, ours)), ours) > 0.9999
    assert r_squared(affine(theirs, *procrustes(theirs, ours)), ours) < 0.9


@settings(max_examples=10, deadline=None)
@given(seeds)
def test_noise_and_permuted_images_explain_nothing(seed):
    rng = np.random.default_rng(seed)
    ours = latents(rng)
    for theirs in (rng.standard_normal(ours.shape), rng.permutation(ours)):
        fitted = fit(theirs, ours)
        assert abs(fitted.r2) < 0.2
        # One fit in a hundred is significant by chance, with an R² too small to matter.
        assert not fitted.significant or fitted.r2 < 0.1


def test_missing_dimensions_reduce_r2_by_their_share_of_the_variance():
    rng = np.random.default_rng(0)
    ours = rng.standard_normal((400, 8))
    for kept in (2, 4, 6):
        assert fit(ours[:, :kept], ours, 300).r2 == pytest.approx(kept / 8, abs=0.08)


def test_constant_latents_are_not_significant():
    ours = latents(np.random.default_rng(0))
    fitted = fit(np.zeros((200, 5)), ours)
    assert not fitted.significant
    np.testing.assert_allclose(fitted.apply(np.zeros((3, 5)))[0], ours[:150].mean(0), rtol=1e-4)


def test_ridge_penalty_minimizes_the_leave_one_out_error():
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
    assert top * 1e-6 < best < top * 100  # inside the range
    weights, offset = ridge(x, y)
    expected = solve(x, y, best)
    np.testing.assert_allclose(weights, expected[0], rtol=1e-8, atol=1e-10)
    np.testing.assert_allclose(offset, expected[1], rtol=1e-8, atol=1e-10)


def test_r2_is_measured_on_held_out_images():
    rng = np.random.default_rng(0)
    ours = latents(rng)
    theirs = ours @ rotation(rng, 12)
    shuffled = ours.copy()
    shuffled[150:] = rng.permutation(shuffled[150:])
    assert fit(theirs, ours).r2 > 0.999
    assert fit(theirs, shuffled).r2 < 0.2


def test_still_fits_detects_another_latent_space():
    rng = np.random.default_rng(0)
    ours = latents(rng)
    theirs = ours @ rotation(rng, 12)
    fitted = fit(theirs, ours)
    assert fitted.still_fits(theirs[150:], ours[150:])
    assert not fitted.still_fits(ours[150:] @ rotation(rng, 12), ours[150:])
    assert not fitted.still_fits(ours[150:, :5], ours[150:])


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
def test_rejects_latents_that_cannot_be_fitted(theirs, fitted, message):
    with pytest.raises(ValueError, match=message):
        fit(theirs, np.ones((10, 4)), fitted)


def test_translated_variance_includes_the_error_of_the_map():
    rng = np.random.default_rng(0)
    ours = latents(rng, 400)
    theirs = ours[:, :9] @ rng.standard_normal((9, 9))
    fitted = fit(theirs, ours, 300)
    log_var = rng.uniform(-3, 1, (1, 9))
    spread = np.exp(log_var / 2) * rng.standard_normal((40000, 9))
    measured = fitted.apply(theirs[:1] + spread).var(0)
    translated = np.exp(fitted.apply_log_var(log_var)[0])
    np.testing.assert_allclose(translated - fitted.residual, measured, rtol=0.05, atol=1e-4)
    # Three of our dimensions were never sent: their whole variance is unknown.
    np.testing.assert_allclose(fitted.residual[9:], ours[300:, 9:].var(0), rtol=0.2)


def test_apply_rejects_latents_of_another_dimension():
    ours = latents(np.random.default_rng(0))
    with pytest.raises(ValueError, match=r'\[B, 12\], not \[4, 5\]'):
        fit(ours, ours).apply(np.zeros((4, 5)))
