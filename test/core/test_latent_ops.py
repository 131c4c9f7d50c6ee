# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Latent interpolation, analogy and extrapolation: the properties of their formulas."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sage_perception.models.latent_ops import (
    MAX_HISTORY,
    MIN_HISTORY,
    analogy,
    extrapolate,
    interpolate,
)

SEEDS = st.integers(0, 2**32 - 1)
METHODS = ('process', 'velocity')


def latents(seed, *shape):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def walk(seed, count, dim=64, smooth=0.0):
    """Return a track `[count, dim]` whose steps have the autocorrelation `smooth` in [0, 1)."""
    rng = np.random.default_rng(seed)
    steps = np.zeros((count, dim))
    for t in range(1, count):
        steps[t] = smooth * steps[t - 1] + rng.normal(size=dim)
    return steps.cumsum(0)


@given(SEEDS, st.floats(0, 1))
def test_interpolates_on_the_straight_line(seed, t):
    a, b = latents(seed, 2, 3, 8)
    z = interpolate(a, b, t)
    assert z.shape == (3, 8)
    assert z.dtype == np.float32
    np.testing.assert_allclose(z, interpolate(b, a, 1 - t), atol=1e-5)
    np.testing.assert_allclose(
        np.linalg.norm(z - a, axis=1), t * np.linalg.norm(b - a, axis=1), atol=1e-5
    )
    np.testing.assert_allclose(
        np.linalg.norm(b - z, axis=1), (1 - t) * np.linalg.norm(b - a, axis=1), atol=1e-5
    )


def test_interpolates_at_several_positions():
    a, b = latents(0, 2, 8)
    z = interpolate(a, b, np.array([0, 0.25, 1]))
    assert z.shape == (3, 8)
    np.testing.assert_array_equal(z[[0, 2]], [a, b])
    np.testing.assert_allclose(z[1], 0.75 * a + 0.25 * b, rtol=1e-5)


@given(SEEDS)
def test_analogy_completes_the_parallelogram(seed):
    a, b, c = latents(seed, 3, 5, 8)
    d = analogy(a, b, c)
    assert d.dtype == np.float32
    np.testing.assert_allclose(d - c, b - a, atol=1e-5)
    np.testing.assert_array_equal(analogy(a, b, a), b)
    np.testing.assert_array_equal(analogy(a, a, c), c)
    np.testing.assert_allclose(analogy(b, a, d), c, atol=1e-5)


def test_analogy_broadcasts_one_example():
    a, b = latents(0, 2, 8)
    assert analogy(a, b, latents(1, 7, 8)).shape == (7, 8)


@given(SEEDS, st.integers(2, 20), st.floats(0, 5))
def test_velocity_continues_a_line(seed, count, ahead):
    rng = np.random.default_rng(seed)
    stamps = 100 + rng.uniform(0.05, 2, count).cumsum()
    start, speed = rng.normal(size=(2, 8))

    def truth(t):
        return start + np.multiply.outer(t - 100, speed)

    found = extrapolate(truth(stamps), stamps, stamps[-1] + ahead, 'velocity')
    np.testing.assert_allclose(found, truth(stamps[-1] + ahead), rtol=1e-4, atol=1e-4)


@given(SEEDS, st.integers(1, 24), st.floats(0, 20), st.sampled_from(METHODS))
def test_extrapolation_is_equivariant_to_similarities(seed, count, ahead, method):
    """The result does not depend on origin, scale or axes of the space, nor on the clock."""
    rng = np.random.default_rng(seed)
    history, stamps = walk(seed, count, 6), rng.uniform(0.5, 1.5, count).cumsum()
    found = extrapolate(history, stamps, stamps[-1] + ahead, method)
    assert found.shape == (6,)
    assert found.dtype == np.float32
    rotation = np.linalg.qr(rng.normal(size=(6, 6)))[0]
    other = extrapolate(
        3 * history @ rotation + 5, 0.1 * stamps + 7, 0.1 * (stamps[-1] + ahead) + 7, method
    )
    np.testing.assert_allclose(other, 3 * found @ rotation + 5, rtol=1e-3, atol=2e-3 * (1 + ahead))


@given(SEEDS, st.integers(MIN_HISTORY, 24))
def test_extrapolation_far_ahead_stays_near_the_track(seed, count):
    history, stamps = walk(seed, count), np.arange(count, dtype=float)
    recent = history[-MAX_HISTORY:]
    reach = np.linalg.norm(recent - recent.mean(0), axis=1).max()
    far = extrapolate(history, stamps, stamps[-1] + 1e6)
    assert np.linalg.norm(far - recent.mean(0)) <= reach


def ratio(histories, ahead, count):
    """Return the squared error of extrapolation relative to assuming no change."""
    stamps = np.arange(count, dtype=float)
    errors = [
        (
            np.square(extrapolate(h[:count], stamps, stamps[-1] + ahead) - h[-1]).sum(),
            np.square(h[count - 1] - h[-1]).sum(),
        )
        for h in histories
    ]
    found, unchanged = np.sum(errors, 0)
    return found / unchanged


def test_extrapolation_continues_a_smooth_track():
    assert ratio([walk(seed, 9, smooth=0.9) for seed in range(20)], 1, 8) < 0.5


def test_extrapolation_of_a_random_walk_is_nearly_optimal():
    """No change is the optimal prediction of a random walk."""
    for ahead in (1, 5):
        assert ratio([walk(seed, 8 + ahead) for seed in range(40)], ahead, 8) < 1.2


def test_extrapolation_averages_jitter():
    assert ratio([latents(seed, 9, 64) for seed in range(20)], 1, 8) < 0.75


def test_short_and_constant_histories_stay():
    history = walk(0, MIN_HISTORY - 1)
    stamps = np.arange(MIN_HISTORY - 1.0)
    np.testing.assert_allclose(extrapolate(history, stamps, 9), history[-1], rtol=1e-6)
    np.testing.assert_allclose(extrapolate(history[:1], [3.0], 9, 'velocity'), history[0])
    still = np.repeat(latents(0, 1, 64), 8, 0)
    np.testing.assert_array_equal(extrapolate(still, np.arange(8.0), 12), still[0])


def test_extrapolation_ignores_old_history():
    history, stamps = walk(0, MAX_HISTORY + 5), np.arange(MAX_HISTORY + 5.0)
    other = history.copy()
    other[:5] += 100
    np.testing.assert_array_equal(extrapolate(history, stamps, 30), extrapolate(other, stamps, 30))


@pytest.mark.parametrize(
    ('call', 'message'),
    [
        (lambda z: interpolate(z, z, 1.1), r't is 1.1; it must be in \[0, 1\]'),
        (lambda z: interpolate(z, z, np.nan), 't is nan'),
        (lambda z: interpolate(z, z[:, :3], 0.5), r'b float32 \[5, 3\]'),
        (lambda z: analogy(z, z, z * np.nan), 'c has values that are not finite'),
        (lambda z: analogy(z, z, z.astype(int)), r'c int64 \[5, 8\]'),
        (lambda z: analogy(np.float32(1), z, z), r'a float32 \[\]'),
        (lambda z: extrapolate(z[0], np.arange(8.0), 9), r'not \[8\] with \[8\]'),
        (lambda z: extrapolate(z, np.arange(4.0), 9), r'not \[5, 8\] with \[4\]'),
        (lambda z: extrapolate(z[:0], np.arange(0.0), 9), 'T at least 1'),
        (
            lambda z: extrapolate(z, np.float32([0, 1, 1, 2, 3]), 9),
            'must be finite and increasing seconds',
        ),
        (lambda z: extrapolate(z, np.arange(5.0), 3.9), 'at is 3.9, .* last stamp, 4.0'),
        (lambda z: extrapolate(z, np.arange(5.0), np.inf), 'at is inf'),
        (lambda z: extrapolate(z, np.arange(5.0), 9, 'magic'), "'magic'; .* process, velocity"),
    ],
)
@pytest.mark.filterwarnings('ignore:invalid value')
def test_errors_name_the_invalid_argument(call, message):
    with pytest.raises(ValueError, match=message):
        call(latents(0, 5, 8))
