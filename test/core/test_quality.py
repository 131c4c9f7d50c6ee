# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Trust in a latent by the measurements of its encoder: quality map and specification."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sage_perception import models
from sage_perception.core.metrics import kl_per_dim
from sage_perception.trust.fitted import FittedTrust, telemetry_trust_of
from sage_perception.trust.quality import (
    QualityMap,
    TelemetryTrust,
    image_variance,
    latent_distance,
    telemetry_trust,
)
from sage_perception.vision.synthetic import SyntheticWorld

MAP = QualityMap(-0.8, 0.2, (-1.0, 1.0, 3.0, 5.0), (0.1, 0.3, 0.8, 0.95), 3.0, 0.1)
errors = st.floats(0, 2)


def trust_of(error, variance=0.05, distance=1.0):
    return float(MAP.trust(*(np.array([v], float) for v in (error, variance, distance)))[0])


@given(errors, errors, st.floats(0, 1), st.floats(0, 3))
def test_a_larger_error_never_yields_more_trust(a, b, variance, distance):
    low, high = sorted((a, b))
    assert 0 <= trust_of(high, variance, distance) <= trust_of(low, variance, distance) <= 1


@given(errors, st.floats(0, 100), st.floats(0, 100))
def test_a_larger_distance_never_yields_more_trust(error, a, b):
    near, far = sorted((a, b))
    assert trust_of(error, distance=far) <= trust_of(error, distance=near)
    assert trust_of(error, distance=6.0) == 0


@pytest.mark.parametrize('value', [np.nan, np.inf, -np.inf])
def test_a_measurement_that_is_not_finite_has_no_trust(value):
    good = {'error': 0.001, 'variance': 0.05, 'distance': 1.0}
    assert trust_of(**good) > 0.5
    for name in good:
        assert trust_of(**{**good, name: value}) == 0
    assert trust_of(-0.001) == 0


@pytest.mark.parametrize(
    'change',
    [
        {'error': 0.1},
        {'variance': -0.1},
        {'farthest': 0.0},
        {'scores': (1.0, 1.0, 3.0, 5.0)},
        {'qualities': (0.3, 0.1, 0.8, 0.95)},
        {'qualities': (0.1, 0.3, 0.8, 1.5)},
        {'qualities': (0.1, 0.3, 0.8)},
        {'scores': (), 'qualities': ()},
        {'margin': float('nan')},
    ],
    ids=str,
)
def test_rejects_a_map_that_is_not_monotone(change):
    with pytest.raises(ValueError, match='monotone'):
        QualityMap(**{**vars(MAP), **change})


@given(st.floats(0, 10), st.floats(0, 1e6))
def test_telemetry_trust_is_the_formula_of_the_specification(mse, kl):
    expected = (max(0.0, 1 - 10 * mse) + 1 / (1 + kl)) / 2
    assert telemetry_trust(mse, kl) == pytest.approx(expected)


@pytest.mark.parametrize(
    ('mse', 'kl', 'trust'), [(0.0, 0.0, 1.0), (0.05, 1.0, 0.5), (1.0, 3.0, 0.125)]
)
def test_telemetry_trust_of_known_values(mse, kl, trust):
    assert telemetry_trust(mse, kl) == pytest.approx(trust)


@given(st.floats(), st.floats())
def test_a_value_that_is_impossible_or_not_measured_contributes_nothing(mse, kl):
    trust = telemetry_trust(mse, kl)
    assert 0 <= trust <= 1
    if not 0 <= mse < math.inf:
        assert trust == telemetry_trust(0.1, kl), 'as for a large error'
    if not 0 <= kl < math.inf:
        assert trust == telemetry_trust(mse, math.inf)


@pytest.fixture(scope='module')
def codec():
    return models.load('tinyvae', backend='onnxruntime')


@pytest.fixture(scope='module')
def crops():
    """Return crops of a rendered scene, float32 `[N, 3, 64, 64]`."""
    frame = SyntheticWorld(seed=4).render(1.0, 0)[..., ::-1]
    cut = [frame[y : y + 64, x : x + 64] for y in range(0, 416, 70) for x in range(0, 576, 70)]
    return np.stack(cut).transpose(0, 3, 1, 2).astype(np.float32) / 255


def trust_in(codec, x):
    z, log_var = codec.encode_stats(x)
    error = np.square(codec.decode(z) - x).mean((1, 2, 3))
    return telemetry_trust_of(codec)(error, kl_per_dim(z, log_var), z, x)


def test_noise_lowers_trust_and_pure_noise_has_little(codec, crops):
    rng = np.random.default_rng(0)
    levels = (0.0, 0.05, 0.15, 0.4)
    noise = rng.normal(size=crops.shape)
    trust = [
        trust_in(codec, (crops + s * noise).clip(0, 1).astype(np.float32)).mean() for s in levels
    ]
    assert trust == sorted(trust, reverse=True)
    assert trust[0] > 0.5
    pure = rng.uniform(size=(8, 3, 64, 64)).astype(np.float32)
    assert trust_in(codec, pure).max() < 0.35


@pytest.mark.parametrize('value', [np.nan, np.inf])
def test_one_pixel_that_is_not_finite_leaves_no_trust(codec, crops, value):
    broken = crops[:4].copy()
    broken[:, 1, 30, 30] = value
    assert (trust_in(codec, broken) == 0).all()


def test_a_latent_far_from_the_model_statistics_has_no_trust(codec, crops):
    farthest = FittedTrust.read(codec).quality.farthest
    z = codec.latent_mean + 10 * farthest * codec.latent_std[None]
    distance = latent_distance(z, codec.latent_mean, codec.latent_std)
    assert distance[0] == pytest.approx(10 * farthest, rel=1e-4)
    trust = telemetry_trust_of(codec)
    assert trust(np.zeros(1), np.zeros(1), z, crops[:1])[0] == 0


def test_a_model_without_a_map_uses_the_specification(codec, crops):
    z = codec.encode(crops[:3])
    error, kl = np.array([0.0, 0.02, np.nan]), np.array([0.0, 1.0, 1.0])
    trust = TelemetryTrust(None, codec.latent_mean, codec.latent_std)(error, kl, z, crops[:3])
    assert trust.tolist() == [telemetry_trust(*pair) for pair in zip(error, kl, strict=True)]


@pytest.mark.parametrize('channels', [1, 3])
def test_image_variance_is_that_of_numpy(channels):
    images = np.random.default_rng(1).random((5, channels, 32, 32), np.float32)
    images[0] = 0.5
    expected = images.astype(np.float64).var((2, 3)).mean(1)
    assert image_variance(images) == pytest.approx(expected, rel=1e-12, abs=1e-15)
    images[1, 0, 0, 0] = np.nan
    assert np.isnan(image_variance(images)).tolist() == [False, True, False, False, False]
