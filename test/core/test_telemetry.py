# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Trust in a latent by what its encoder measured, and what is fitted to tell it."""

import json
import shutil

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sage_perception import models
from sage_perception.training import trust_calibration as trust_fit
from sage_perception.training.config import ConfigError, DataConfig
from sage_perception.training.trust_calibration import (
    Observations,
    calibration_error,
    conformal_margin,
    cross_conformal_margin,
    fit,
    fit_weights,
    main,
    trusts,
)
from sage_perception.trust.fitted import FILE, FittedTrust, similarity_weights, telemetry_trust_of
from sage_perception.trust.fusion.matching import center, cosine_matrix
from sage_perception.trust.quality import QualityMap, TelemetryTrust, distance, telemetry_trust
from sage_perception.vision.synthetic import SyntheticWorld

MAP = QualityMap(-0.8, 0.2, (-1.0, 1.0, 3.0, 5.0), (0.1, 0.3, 0.8, 0.95), 3.0, 0.1)
errors = st.floats(0, 2)
usual = st.floats(0, 3)


def trust_of(error, variance=0.05, distance=1.0):
    return float(MAP.trust(*(np.array([v], float) for v in (error, variance, distance)))[0])


@given(errors, errors, st.floats(0, 1), usual)
def test_a_larger_error_never_earns_more_trust(a, b, variance, distance):
    low, high = sorted((a, b))
    assert 0 <= trust_of(high, variance, distance) <= trust_of(low, variance, distance) <= 1


@given(errors, st.floats(0, 100), st.floats(0, 100))
def test_a_stranger_latent_never_earns_more_trust(error, a, b):
    near, far = sorted((a, b))
    assert trust_of(error, distance=far) <= trust_of(error, distance=near)
    assert trust_of(error, distance=6.0) == 0


@pytest.mark.parametrize('value', [np.nan, np.inf, -np.inf])
def test_nothing_that_is_not_finite_earns_trust(value):
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
        {'margin': float('nan')},
    ],
    ids=str,
)
def test_a_map_that_is_not_monotone_is_refused(change):
    with pytest.raises(ValueError, match='monotone'):
        QualityMap(**{**vars(MAP), **change})


def a_world(count, seed, bias=0.0):
    """Return observations whose quality is known to fall with error over variance, and noise."""
    rng = np.random.default_rng(seed)
    error, variance = np.exp(rng.uniform([-9, -5], [-2, -2], (count, 2))).T
    expected = 1 / (1 + 8 * error / variance)
    quality = (expected - bias + rng.normal(0, 0.05, count)).clip(0, 1)
    return Observations(error, variance, rng.uniform(0.5, 2, count), quality)


def test_a_fitted_map_is_calibrated_and_its_bound_holds():
    quality = fit([a_world(2000, 0), a_world(500, 1)])
    seen = a_world(2000, 2)
    trust = trusts(quality, seen)
    assert np.corrcoef(trust, seen.quality)[0, 1] > 0.95
    assert calibration_error(trust, seen.quality) < 0.02
    new = a_world(1000, 3)
    margin = conformal_margin(trusts(quality, new) - new.quality)
    assert 0.87 < (seen.quality >= trust - margin).mean() < 0.93
    assert calibration_error(trust, a_world(2000, 2, bias=0.2).quality) > 0.1


def test_the_margin_of_few_images_is_the_worst_of_them():
    assert conformal_margin(np.array([0.1, 0.4, -0.2, 0.3])) == 0.4
    assert conformal_margin(np.array([-0.1, -0.2])) == 0


def test_the_margin_is_that_of_files_which_the_map_has_not_seen():
    """Each of these files is better or worse than its errors tell, and all of its crops are."""
    rng = np.random.default_rng(0)

    def files(count, seed):
        biases = rng.normal(0, 0.1, count)
        return [a_world(20, seed + n, bias) for n, bias in enumerate(biases)]

    known, new = files(100, 100), Observations.joined(files(400, 500))
    seen = Observations.joined(known)
    folds = [Observations.joined(known[n::10]) for n in range(10)]
    margin = cross_conformal_margin({'stills': folds})
    quality = fit([seen])
    covered = (new.quality >= trusts(quality, new) - margin).mean()
    assert 0.87 < covered < 0.93
    # Where a map has seen them it is better, and no measure of others.
    assert margin > conformal_margin(trusts(quality, seen) - seen.quality)


def test_one_file_leaves_none_to_set_the_margin_on(codec, clip):
    data = DataConfig(str(clip.parent))
    clips = trust_fit.observe_clips(codec, data, held_out=False)
    with pytest.raises(ConfigError, match='takes two images or clips'):
        trust_fit.gather_apart(codec, data, clips)


def test_weights_lift_what_views_share():
    rng = np.random.default_rng(0)
    things = rng.normal(size=(500, 8)) * [3, 3, 3, 3, 1, 1, 1, 1]
    # What varies most is not what tells things apart.
    shaken = [2.5, 2.5, 2.5, 2.5, 0.1, 0.1, 0.1, 0.1]
    views = [things + rng.normal(size=things.shape) * shaken for _ in range(2)]
    weights = fit_weights(*views)
    assert weights.shape == (8,)
    assert weights[:4].max() < weights[4:].min()

    def found(weights):
        cosines = cosine_matrix(*(center(v[:100], 0.0, weights) for v in views))
        return (cosines.argmax(1) == np.arange(100)).mean()

    assert found(weights) > found(1.0) + 0.2


def test_a_dimension_that_says_nothing_has_a_small_finite_weight():
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(2, 400, 3))
    a[:, 1] = b[:, 1]
    a[:, 2] = b[:, 2] = 1.0
    weights = fit_weights(a, b)
    assert np.isfinite(weights).all()
    assert (weights > 0).all()
    assert weights[0] < 1e-3 * weights[1]


# The model that ships


@pytest.fixture(scope='module')
def codec():
    return models.load('tinyvae', backend='onnxruntime')


@pytest.fixture(scope='module')
def crops():
    """Return crops of a rendered scene, float32 `[N, 3, 64, 64]`."""
    frame = SyntheticWorld(seed=4).render(1.0, 0)[..., ::-1]
    cut = [frame[y : y + 64, x : x + 64] for y in range(0, 416, 70) for x in range(0, 576, 70)]
    return np.stack(cut).transpose(0, 3, 1, 2).astype(np.float32) / 255


def judged(codec, x):
    z, log_var = codec.encode_stats(x)
    error = np.square(codec.decode(z) - x).mean((1, 2, 3))
    kl = (np.square(z) + np.exp(log_var) - 1 - log_var).mean(1) / 2
    return telemetry_trust_of(codec)(error, kl, z, x)


def test_noise_on_a_image_costs_trust_and_noise_alone_has_next_to_none(codec, crops):
    rng = np.random.default_rng(0)
    levels = (0.0, 0.05, 0.15, 0.4)
    noise = rng.normal(size=crops.shape)
    trust = [
        judged(codec, (crops + s * noise).clip(0, 1).astype(np.float32)).mean() for s in levels
    ]
    assert trust == sorted(trust, reverse=True)
    assert trust[0] > 0.5
    alone = rng.uniform(size=(8, 3, 64, 64)).astype(np.float32)
    assert judged(codec, alone).max() < 0.35


@pytest.mark.parametrize('value', [np.nan, np.inf])
def test_one_pixel_that_is_not_finite_leaves_no_trust(codec, crops, value):
    broken = crops[:4].copy()
    broken[:, 1, 30, 30] = value
    assert (judged(codec, broken) == 0).all()


def test_a_latent_far_from_all_others_is_not_trusted(codec, crops):
    fitted = FittedTrust.of(codec)
    z = codec.latent_mean + 10 * fitted.quality.farthest * codec.latent_std[None]
    far = distance(z, codec.latent_mean, codec.latent_std)
    assert far[0] == pytest.approx(10 * fitted.quality.farthest, rel=1e-4)
    trust = telemetry_trust_of(codec)
    assert trust(np.zeros(1), np.zeros(1), z, crops[:1])[0] == 0


def test_without_a_map_the_specification_decides(codec, crops):
    z = codec.encode(crops[:3])
    error, kl = np.array([0.0, 0.02, np.nan]), np.array([0.0, 1.0, 1.0])
    trust = TelemetryTrust(None, codec.latent_mean, codec.latent_std)(error, kl, z, crops[:3])
    assert trust.tolist() == [telemetry_trust(*pair) for pair in zip(error, kl, strict=True)]


@pytest.fixture
def folder(tmp_path):
    return shutil.copytree(models.available()['tinyvae'], tmp_path / 'model')


def test_what_was_fitted_is_read_as_it_was_written(folder, codec):
    fitted = FittedTrust(codec.id.fingerprint.hex(), MAP, tuple(np.linspace(0.1, 2, 64).tolist()))
    assert fitted.write(folder) == folder / FILE
    read = FittedTrust.of(models.load(folder))
    assert read.fingerprint == fitted.fingerprint
    assert tuple(map(tuple, (read.quality.scores, read.quality.qualities))) == (
        MAP.scores,
        MAP.qualities,
    )
    assert similarity_weights(models.load(folder)).tolist() == list(fitted.weights)


def test_a_model_without_a_fit_is_used_all_the_same(folder):
    (folder / FILE).unlink()
    codec = models.load(folder)
    assert FittedTrust.of(codec) is None
    assert (similarity_weights(codec) == 1).all()
    assert telemetry_trust_of(codec).quality is None


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        ({'fingerprint': '00' * 32}, 'latent space 00000000'),
        ({'weights': [1.0] * 63}, 'sage calibrate-trust'),
        ({'weights': [1.0] * 63 + [-1.0]}, 'not numbers above 0'),
        ({'weights': [1.0] * 63 + [float('nan')]}, 'not numbers above 0'),
        ({'quality': {}}, 'cannot be used'),
        ({'quality': {**vars(MAP), 'error': 1.0}}, 'no monotone map'),
    ],
    ids=str,
)
def test_a_fit_that_is_damaged_or_of_another_model_is_refused(folder, change, message):
    tree = json.loads((folder / FILE).read_text())
    (folder / FILE).write_text(json.dumps({**tree, **change}))
    with pytest.raises(ValueError, match=message):
        FittedTrust.of(models.load(folder))


@pytest.fixture
def clip(tmp_path):
    """Give a folder with a clip in which things move, and nothing else."""
    world = SyntheticWorld(seed=2, width=160, height=120, objects=3)
    path = tmp_path / 'data' / 'clip.avi'
    path.parent.mkdir()
    video = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*'MJPG'), 15, (160, 120))
    for number in range(90):
        video.write(world.render(number / 15, number))
    video.release()
    return path


def test_figures_are_those_of_what_they_are_called(codec, clip, monkeypatch):
    monkeypatch.setattr(trust_fit, 'STILLS', 64)
    for number in range(2):
        world = SyntheticWorld(seed=number, width=160, height=120)
        cv2.imwrite(str(clip.with_name(f'{number}.png')), world.render(0.0))
    data = DataConfig(str(clip.parent), held_out=('*.avi',))
    _, report = trust_fit.fit_quality(codec, data)
    assert 'stills' not in report
    assert report['motion']['crops'] > 0


def test_without_images_there_is_nothing_to_see_twice(codec, clip):
    data = DataConfig(str(clip.parent), held_out=('*.avi',))
    with pytest.raises(ConfigError, match='without images'):
        trust_fit.fit_model(codec, data)


def test_the_command_says_what_is_missing(capsys, tmp_path):
    config = tmp_path / 'run.yaml'
    assert main(['tinyvae', str(config)]) == 2
    assert str(config) in capsys.readouterr().err
