# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Compatibility of senders whose latent space has a known relation to the receiver's."""

import logging
import math

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from thumbnails import Thumbnails

from sage_perception.core.latent import ModelId
from sage_perception.core.metrics import batch_psnr
from sage_perception.trust.compatibility import probe_set
from sage_perception.trust.compatibility.estimator import CompatibilityEstimator
from sage_perception.trust.compatibility.latent_map import procrustes, r_squared
from sage_perception.trust.compatibility.report import Level
from sage_perception.vision.synthetic import SyntheticWorld

seeds = st.integers(0, 2**32 - 1)
SENDER = ModelId('sender', '1', b's' * 32)


@pytest.fixture(scope='module')
def estimator():
    return CompatibilityEstimator(Thumbnails())


@pytest.fixture(scope='module')
def crops():
    """Return images that are not from the probe set, float32 `[N, 3, 8, 8]`."""
    frames = [SyntheticWorld(seed).render(3.0, 1)[..., ::-1] for seed in range(4)]
    small = [cv2.resize(f, (80, 60), interpolation=cv2.INTER_AREA) for f in frames]
    squares = [
        f[y : y + 8, x : x + 8] for f in small for y in range(0, 48, 8) for x in (0, 24, 64)
    ]
    return np.float32(squares).transpose(0, 3, 1, 2) / 255


def rotated(estimator, seed=0):
    rng = np.random.default_rng(seed)
    return estimator.latents @ np.linalg.qr(rng.standard_normal((48, 48)))[0]


def test_the_same_model_has_full_trust(estimator):
    result = estimator.evaluate(estimator.latents, estimator.model.id)
    assert result.before.forward == 1.0
    assert result.before.backward == pytest.approx(1.0)
    assert result.trust.level is Level.HIGH
    assert not result.calibrated
    z = estimator.latents[:5]
    np.testing.assert_array_equal(result.translate(z), z)


@settings(max_examples=6, deadline=None)
@given(seed=seeds, scale=st.floats(0.01, 100))
def test_recovers_a_rotated_copy(estimator, seed, scale):
    rng = np.random.default_rng(seed)
    turn = scale * np.linalg.qr(rng.standard_normal((48, 48)))[0]
    sent = estimator.latents @ turn + rng.uniform(-1, 1, 48)
    result = estimator.evaluate(sent, SENDER)
    assert result.before.compression_trust < 0.5
    assert result.calibrated
    assert result.trust.compression_trust > 0.999
    assert result.recovered_db > 3
    np.testing.assert_allclose(result.translate(sent[:9]), estimator.latents[:9], atol=1e-2)


@settings(max_examples=6, deadline=None)
@given(seed=seeds)
def test_recovers_a_stretched_copy_where_a_rotation_fails(estimator, seed):
    rng = np.random.default_rng(seed)
    stretch = rng.permutation(np.geomspace(0.1, 10, 48)) / estimator.latents.std(0)
    sent = estimator.latents * stretch
    assert estimator.evaluate(sent, SENDER).trust.compression_trust > 0.999
    weights, offset = procrustes(sent, estimator.latents)
    assert r_squared(sent @ weights + offset, estimator.latents) < 0.9


@settings(max_examples=6, deadline=None)
@given(seed=seeds)
def test_rejects_unrelated_latents(estimator, seed):
    rng = np.random.default_rng(seed)
    noise = rng.standard_normal(estimator.latents.shape)
    for sent in (noise, rng.permutation(estimator.latents), 0 * noise, 1e30 * noise):
        result = estimator.evaluate(sent, SENDER)
        assert result.trust.compression_trust < 0.1
        assert result.trust.level is Level.NONE
        assert result.decision.startswith('rejected')
        with pytest.raises(ValueError, match='rejected'):
            result.translate(sent[:1])


def test_trust_decreases_with_missing_dimensions(estimator):
    trusts = []
    for kept in (48, 36, 24, 12, 3):
        result = estimator.evaluate(estimator.latents[:, :kept], SENDER)
        trusts.append(result.trust.compression_trust)
        assert result.calibrated == (kept < 48)
    assert trusts == sorted(trusts, reverse=True)
    assert trusts[0] == pytest.approx(1.0)
    assert trusts[-1] < 0.7


def test_latents_of_another_dimension_have_no_trust_as_sent(estimator):
    sender = Thumbnails(27, 'smaller')
    result = estimator.evaluate(probe_set.probe_latents(sender), sender.id)
    assert result.before.compression_trust == 0.0
    assert math.isnan(result.recovered_db)
    assert 0.5 < result.trust.compression_trust < 1
    assert result.translate(sender.encode(np.zeros((2, 3, 8, 8)))).shape == (2, 48)


def test_trust_orders_senders_by_the_quality_of_other_images(estimator, crops):
    rng = np.random.default_rng(0)
    model = estimator.model
    trusts, quality = [], []
    for level in (0.0, 0.03, 0.1, 0.2, 0.4, 0.8):
        distortion = level * rng.standard_normal((48, 48))
        sent = estimator.latents + np.sin(estimator.latents @ distortion)
        result = estimator.evaluate(sent, SENDER)
        z = model.encode(crops)
        z = z + np.sin(z @ distortion)
        translated = result.latent_map.apply(z) if result.calibrated else z
        trusts.append(result.trust.compression_trust)
        quality.append(batch_psnr(model.decode(translated), crops).mean())
    assert trusts == sorted(trusts, reverse=True)
    assert quality == sorted(quality, reverse=True)
    assert trusts[0] - trusts[-1] > 0.1


@pytest.mark.parametrize('sent', [np.zeros((10, 48)), np.zeros(probe_set.COUNT)])
def test_rejects_latents_that_are_not_of_all_probe_images(estimator, sent):
    with pytest.raises(ValueError, match=r'sender.*512'):
        estimator.evaluate(sent, SENDER)


@pytest.mark.parametrize('value', [np.nan, np.inf, -np.inf])
def test_rejects_a_single_value_that_is_not_finite(estimator, value):
    sent = estimator.latents.copy()
    sent[-1, -1] = value
    with pytest.raises(ValueError, match='finite'):
        estimator.evaluate(sent, SENDER)


def test_a_receiver_that_cannot_reconstruct_trusts_no_sender():
    class Black(Thumbnails):
        def decode(self, z):
            return np.zeros((len(z), 3, 8, 8))

    estimator = CompatibilityEstimator(Black())
    assert estimator.evaluate(estimator.latents, SENDER).trust.level is Level.NONE


def test_a_receiver_that_decodes_one_color_trusts_its_own_model_only():
    class Inverted(Thumbnails):
        """Decodes an image to the negative of its mean color, which is no reconstruction."""

        def decode(self, z):
            color = super().decode(z).mean((2, 3), keepdims=True)
            return np.broadcast_to(1 - color, (len(z), 3, 8, 8))

    estimator = CompatibilityEstimator(Inverted())
    own = estimator.evaluate(estimator.latents, estimator.model.id)
    assert own.own_psnr < estimator.mean_color_psnr
    assert own.trust.level is Level.HIGH
    assert own.trust.forward == pytest.approx(1)
    turned = estimator.evaluate(rotated(estimator), SENDER)
    assert turned.before.forward < 0.5
    assert turned.trust.forward > 0.99  # after the map
    shuffled = np.random.default_rng(0).permutation(estimator.latents)
    assert estimator.evaluate(shuffled, SENDER).trust.level is Level.NONE


def test_stores_a_map_and_uses_it_again(tmp_path, estimator):
    sent = rotated(estimator)
    first = CompatibilityEstimator(estimator.model, tmp_path).evaluate(sent, SENDER)
    (file,) = tmp_path.iterdir()
    written = file.stat().st_mtime_ns
    again = CompatibilityEstimator(estimator.model, tmp_path).evaluate(sent, SENDER)
    assert file.stat().st_mtime_ns == written
    np.testing.assert_array_equal(again.latent_map.weights, first.latent_map.weights)
    CompatibilityEstimator(estimator.model, tmp_path).evaluate(sent, SENDER, force=True)
    assert file.stat().st_mtime_ns > written
    other = ModelId('sender', '2', b't' * 32)
    CompatibilityEstimator(estimator.model, tmp_path).evaluate(sent, other)
    assert len(list(tmp_path.iterdir())) == 2


def test_fits_again_if_the_stored_map_is_damaged(tmp_path, estimator, caplog):
    sent = rotated(estimator)
    cached = CompatibilityEstimator(estimator.model, tmp_path)
    first = cached.evaluate(sent, SENDER)
    (file,) = tmp_path.iterdir()
    intact = file.read_bytes()
    file.write_bytes(intact.replace(b'), }', b'),  '))
    with caplog.at_level(logging.WARNING):
        again = cached.evaluate(sent, SENDER)
    assert file.name in caplog.text
    assert again.trust == first.trust
    assert cached.evaluate(sent, SENDER).trust == first.trust
    assert file.read_bytes().count(b'), }') == intact.count(b'), }'), 'stored again'


def test_works_without_a_writable_cache_folder(tmp_path, estimator):
    (tmp_path / 'file').touch()
    cached = CompatibilityEstimator(estimator.model, tmp_path / 'file' / 'folder')
    assert cached.evaluate(rotated(estimator), SENDER).trust.level is Level.HIGH


def test_a_map_fitted_under_a_false_fingerprint_is_not_used_for_its_owner(tmp_path, estimator):
    honest, false = rotated(estimator, 0), rotated(estimator, 1)
    cached = CompatibilityEstimator(estimator.model, tmp_path)
    cached.evaluate(false, SENDER)
    assert cached.evaluate(honest, SENDER).trust.compression_trust > 0.999


def test_report_names_both_entities(estimator):
    report = estimator.evaluate(estimator.latents, estimator.model.id).report('robot', 'camera')
    assert (report.entity_a, report.entity_b, report.probes) == ('robot', 'camera', 512)
    assert (report.level, report.calibrated) == (Level.HIGH, False)
    assert len(report.reason) <= 256


class Shades(Thumbnails):
    """A model that decodes dark gray images, whose PSNR is below that of the mean colors."""

    def __init__(self, contrast):
        self.contrast = contrast
        super().__init__()

    def decode(self, z):
        gray = 0.1 + self.contrast * (z - z.mean()).mean(1)
        return np.broadcast_to(gray[:, None, None, None], (len(z), 3, 8, 8)).astype(np.float32)


@pytest.mark.parametrize(('contrast', 'own'), [(0.01, 1.0), (0.0, 0.0)])
def test_without_a_gain_in_psnr_decoded_images_are_compared(contrast, own):
    shades = CompatibilityEstimator(Shades(contrast))
    assert shades.own_psnr < shades.mean_color_psnr
    others = np.random.default_rng(0).permutation(shades.latents)
    assert shades.measure(shades.latents).forward == own
    assert shades.measure(others).forward == 0.0
