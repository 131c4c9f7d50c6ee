# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Calibration of the trust estimates of a model, and the command `sage calibrate-trust`."""

import cv2
import numpy as np
import pytest

from sage_perception import models
from sage_perception.cli.calibrate_trust import main
from sage_perception.training.config import ConfigError, DataConfig
from sage_perception.training.trust import calibrate
from sage_perception.training.trust.conformal import conformal_margin, cross_conformal_margin
from sage_perception.training.trust.observations import Observations, observe_clips
from sage_perception.training.trust.quality_map import (
    calibration_error,
    fit_quality_map,
    trust_in,
)
from sage_perception.training.trust.views import fit_similarity_weights
from sage_perception.trust.fusion.matching import center, cosine_matrix
from sage_perception.vision.synthetic import SyntheticWorld


def observations(count, seed, bias=0.0):
    """Return observations whose quality is a known function of error / variance, plus noise."""
    rng = np.random.default_rng(seed)
    error, variance = np.exp(rng.uniform([-9, -5], [-2, -2], (count, 2))).T
    expected = 1 / (1 + 8 * error / variance)
    quality = (expected - bias + rng.normal(0, 0.05, count)).clip(0, 1)
    return Observations(error, variance, rng.uniform(0.5, 2, count), quality)


def test_a_fitted_map_is_calibrated_and_its_bound_holds():
    quality = fit_quality_map([observations(2000, 0), observations(500, 1)])
    seen = observations(2000, 2)
    trust = trust_in(quality, seen)
    assert np.corrcoef(trust, seen.quality)[0, 1] > 0.95
    assert calibration_error(trust, seen.quality) < 0.02
    new = observations(1000, 3)
    margin = conformal_margin(trust_in(quality, new) - new.quality)
    assert 0.87 < (seen.quality >= trust - margin).mean() < 0.93
    assert calibration_error(trust, observations(2000, 2, bias=0.2).quality) > 0.1


def test_the_margin_of_few_images_is_the_largest_excess():
    assert conformal_margin(np.array([0.1, 0.4, -0.2, 0.3])) == 0.4
    assert conformal_margin(np.array([-0.1, -0.2])) == 0


def test_the_cross_conformal_margin_covers_new_files():
    """Each file has a bias that all of its crops share."""
    rng = np.random.default_rng(0)

    def files(count, seed):
        biases = rng.normal(0, 0.1, count)
        return [observations(20, seed + n, bias) for n, bias in enumerate(biases)]

    known, new = files(100, 100), Observations.concatenate(files(400, 500))
    seen = Observations.concatenate(known)
    folds = [Observations.concatenate(known[n::10]) for n in range(10)]
    margin = cross_conformal_margin({'stills': folds})
    quality = fit_quality_map([seen])
    covered = (new.quality >= trust_in(quality, new) - margin).mean()
    assert 0.87 < covered < 0.93
    # The excess on the files that a map is fitted on is too small a margin.
    assert margin > conformal_margin(trust_in(quality, seen) - seen.quality)


def test_weights_favor_the_dimensions_that_two_views_share():
    rng = np.random.default_rng(0)
    objects = rng.normal(size=(500, 8)) * [3, 3, 3, 3, 1, 1, 1, 1]
    # The dimensions with the largest variance are not the ones that identify an object.
    noise = [2.5, 2.5, 2.5, 2.5, 0.1, 0.1, 0.1, 0.1]
    views = [objects + rng.normal(size=objects.shape) * noise for _ in range(2)]
    weights = fit_similarity_weights(*views)
    assert weights.shape == (8,)
    assert weights[:4].max() < weights[4:].min()

    def accuracy(weights):
        cosines = cosine_matrix(*(center(v[:100], 0.0, weights) for v in views))
        return (cosines.argmax(1) == np.arange(100)).mean()

    assert accuracy(weights) > accuracy(1.0) + 0.2


def test_an_uninformative_dimension_has_a_small_positive_weight():
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(2, 400, 3))
    a[:, 1] = b[:, 1]
    a[:, 2] = b[:, 2] = 1.0
    weights = fit_similarity_weights(a, b)
    assert np.isfinite(weights).all()
    assert (weights > 0).all()
    assert weights[0] < 1e-3 * weights[1]


@pytest.fixture(scope='module')
def codec():
    return models.load('tinyvae', backend='onnxruntime')


@pytest.fixture
def clip(tmp_path):
    """Return a clip with moving objects, the only file in its folder."""
    world = SyntheticWorld(seed=2, width=160, height=120, objects=3)
    path = tmp_path / 'data' / 'clip.avi'
    path.parent.mkdir()
    video = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*'MJPG'), 15, (160, 120))
    for number in range(90):
        video.write(world.render(number / 15, number))
    video.release()
    return path


def test_the_margin_needs_more_than_one_file(codec, clip):
    clips = observe_clips(codec, [clip])
    assert len(clips) == 1
    with pytest.raises(ConfigError, match='at least two images or clips'):
        calibrate.observe_folds(codec, DataConfig(str(clip.parent)), clips)


def test_figures_are_of_the_held_out_files_only(codec, clip, monkeypatch):
    monkeypatch.setattr(calibrate, 'STILLS', 64)
    for number in range(2):
        world = SyntheticWorld(seed=number, width=160, height=120)
        cv2.imwrite(str(clip.with_name(f'{number}.png')), world.render(0.0))
    data = DataConfig(str(clip.parent), held_out=('*.avi',))
    _, report = calibrate.calibrate_quality(codec, data)
    assert 'stills' not in report
    assert report['motion']['crops'] > 0


def test_similarity_weights_need_images(codec, clip):
    data = DataConfig(str(clip.parent), held_out=('*.avi',))
    with pytest.raises(ConfigError, match='need images'):
        calibrate.calibrate_trust(codec, data)


def test_rejects_a_model_too_small_for_ms_ssim(clip):
    codec = models.load('tinyvae32', backend='onnxruntime')
    with pytest.raises(ValueError, match='MS-SSIM needs at least 48'):
        calibrate.calibrate_quality(codec, DataConfig(str(clip.parent)))


def test_the_command_names_a_missing_configuration(capsys, tmp_path):
    config = tmp_path / 'run.yaml'
    assert main(['tinyvae', str(config)]) == 2
    assert str(config) in capsys.readouterr().err
