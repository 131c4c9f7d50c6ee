# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""What a listener makes of senders whose relation to it is known."""

import json
import math
import re
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from thumbnails import Thumbnails

from sage_perception.cli import align as commands
from sage_perception.core.latent import ModelId
from sage_perception.core.metrics import batch_psnr
from sage_perception.trust.compatibility import probe_images as probes
from sage_perception.trust.compatibility.estimator import (
    CompatibilityEstimator,
    Level,
    Report,
    probe_latents,
)
from sage_perception.trust.compatibility.latent_map import procrustes, r_squared
from sage_perception.vision.synthetic import SyntheticWorld

MESSAGE = Path(__file__).parents[2] / 'sage_msgs' / 'msg' / 'TrustReport.msg'
seeds = st.integers(0, 2**32 - 1)


STRANGER = ModelId('stranger', '1', b's' * 32)


@pytest.fixture(scope='module')
def listener():
    return CompatibilityEstimator(Thumbnails())


@pytest.fixture(scope='module')
def crops():
    """Return images of another origin than the probes, float32 `[N, 3, 8, 8]`."""
    frames = [SyntheticWorld(seed).render(3.0, 1)[..., ::-1] for seed in range(4)]
    small = [cv2.resize(f, (80, 60), interpolation=cv2.INTER_AREA) for f in frames]
    squares = [
        f[y : y + 8, x : x + 8] for f in small for y in range(0, 48, 8) for x in (0, 24, 64)
    ]
    return np.float32(squares).transpose(0, 3, 1, 2) / 255


def test_the_same_model_is_trusted_fully(listener):
    heard = listener.hear(listener.latents, listener.model.id)
    assert heard.before.forward == 1.0
    assert heard.before.backward == pytest.approx(1.0)
    assert heard.trust.level is Level.HIGH
    assert not heard.calibrated
    z = listener.latents[:5]
    np.testing.assert_array_equal(heard.translate(z), z)


@settings(max_examples=6, deadline=None)
@given(seed=seeds, scale=st.floats(0.01, 100))
def test_a_turned_copy_is_recovered(listener, seed, scale):
    rng = np.random.default_rng(seed)
    turn = scale * np.linalg.qr(rng.standard_normal((48, 48)))[0]
    sent = listener.latents @ turn + rng.uniform(-1, 1, 48)
    heard = listener.hear(sent, STRANGER)
    assert heard.before.compression_trust < 0.5
    assert heard.calibrated
    assert heard.trust.compression_trust > 0.999
    assert heard.recovered_db > 3
    np.testing.assert_allclose(heard.translate(sent[:9]), listener.latents[:9], atol=1e-2)


@settings(max_examples=6, deadline=None)
@given(seed=seeds)
def test_a_stretched_copy_is_recovered_where_a_rotation_fails(listener, seed):
    rng = np.random.default_rng(seed)
    stretch = rng.permutation(np.geomspace(0.1, 10, 48)) / listener.latents.std(0)
    sent = listener.latents * stretch
    assert listener.hear(sent, STRANGER).trust.compression_trust > 0.999
    weights, offset = procrustes(sent, listener.latents)
    assert r_squared(sent @ weights + offset, listener.latents) < 0.9


@settings(max_examples=6, deadline=None)
@given(seed=seeds)
def test_unrelated_latents_are_refused(listener, seed):
    rng = np.random.default_rng(seed)
    noise = rng.standard_normal(listener.latents.shape)
    for sent in (noise, rng.permutation(listener.latents), 0 * noise, 1e30 * noise):
        heard = listener.hear(sent, STRANGER)
        assert heard.trust.compression_trust < 0.1
        assert heard.trust.level is Level.NONE
        assert heard.decision.startswith('refused')
        with pytest.raises(ValueError, match='refused'):
            heard.translate(sent[:1])


def test_the_fewer_dimensions_arrive_the_less_is_trusted(listener):
    trusts = []
    for kept in (48, 36, 24, 12, 3):
        heard = listener.hear(listener.latents[:, :kept], STRANGER)
        trusts.append(heard.trust.compression_trust)
        assert heard.calibrated == (kept < 48)
    assert trusts == sorted(trusts, reverse=True)
    assert trusts[0] == pytest.approx(1.0)
    assert trusts[-1] < 0.7


def test_latents_of_another_dimension_say_nothing_until_they_are_translated(listener):
    sender = Thumbnails(27, 'smaller')
    heard = listener.hear(probe_latents(sender), sender.id)
    assert heard.before.compression_trust == 0.0
    assert math.isnan(heard.recovered_db)
    assert 0.5 < heard.trust.compression_trust < 1
    assert heard.translate(sender.encode(np.zeros((2, 3, 8, 8)))).shape == (2, 48)


def test_trust_orders_senders_by_what_their_images_look_like_elsewhere(listener, crops):
    rng = np.random.default_rng(0)
    model = listener.model
    trusts, quality = [], []
    for level in (0.0, 0.03, 0.1, 0.2, 0.4, 0.8):
        spoil = level * rng.standard_normal((48, 48))
        sent = listener.latents + np.sin(listener.latents @ spoil)
        heard = listener.hear(sent, STRANGER)
        z = model.encode(crops)
        z = z + np.sin(z @ spoil)
        through = heard.calibration.apply(z) if heard.calibrated else z
        trusts.append(heard.trust.compression_trust)
        quality.append(batch_psnr(model.decode(through), crops).mean())
    assert trusts == sorted(trusts, reverse=True)
    assert quality == sorted(quality, reverse=True)
    assert trusts[0] - trusts[-1] > 0.1


@pytest.mark.parametrize(
    ('trust', 'level'),
    [
        (0.0, Level.NONE),
        (0.4999, Level.NONE),
        (0.5, Level.LOW),
        (0.7, Level.MEDIUM),
        (0.8999, Level.MEDIUM),
        (0.9, Level.HIGH),
        (1.0, Level.HIGH),
        (math.nan, Level.UNKNOWN),
    ],
)
def test_levels(trust, level):
    assert Level.of(trust) is level
    assert level.action


@pytest.mark.parametrize('sent', [np.zeros((10, 48)), np.zeros(probes.COUNT)])
def test_what_is_no_set_of_probe_latents_is_named(listener, sent):
    with pytest.raises(ValueError, match=r'stranger.*512'):
        listener.hear(sent, STRANGER)


@pytest.mark.parametrize('bad', [np.nan, np.inf, -np.inf])
def test_one_number_that_is_not_finite_is_enough_to_refuse(listener, bad):
    sent = listener.latents.copy()
    sent[-1, -1] = bad
    with pytest.raises(ValueError, match='finite'):
        listener.hear(sent, STRANGER)


def test_a_listener_whose_own_images_are_worthless_trusts_nobody():
    class Blind(Thumbnails):
        def decode(self, z):
            return np.zeros((len(z), 3, 8, 8))

    listener = CompatibilityEstimator(Blind())
    assert listener.hear(listener.latents, STRANGER).trust.level is Level.NONE


def test_calibrations_are_kept_and_used_again(tmp_path, listener):
    sent = listener.latents @ np.linalg.qr(np.random.default_rng(0).standard_normal((48, 48)))[0]
    first = CompatibilityEstimator(listener.model, tmp_path).hear(sent, STRANGER)
    (file,) = tmp_path.iterdir()
    written = file.stat().st_mtime_ns
    again = CompatibilityEstimator(listener.model, tmp_path).hear(sent, STRANGER)
    assert file.stat().st_mtime_ns == written
    np.testing.assert_array_equal(again.calibration.weights, first.calibration.weights)
    other = ModelId('stranger', '2', b't' * 32)
    CompatibilityEstimator(listener.model, tmp_path).hear(sent, other)
    assert len(list(tmp_path.iterdir())) == 2


def test_a_liar_spoils_no_map_for_the_one_whose_fingerprint_it_used(tmp_path, listener):
    rng = np.random.default_rng(0)
    honest, lie = (
        listener.latents @ np.linalg.qr(rng.standard_normal((48, 48)))[0] for _ in range(2)
    )
    ear = CompatibilityEstimator(listener.model, tmp_path)
    ear.hear(lie, STRANGER)
    assert ear.hear(honest, STRANGER).trust.compression_trust > 0.999


def test_a_report_has_the_fields_and_levels_of_the_message(listener):
    report = listener.hear(listener.latents, listener.model.id).report('robot', 'camera')
    text = MESSAGE.read_text()
    fields = re.findall(r'^[\w/]+(?:<=\d+)? (\w+)(?: |$)', text, re.M)
    assert {'compression_trust', 'reason', 'model_b', 'probes'} < set(fields)
    for name in set(fields) - {'header'}:
        assert hasattr(report, name), name
    levels = dict(re.findall(r'LEVEL_(\w+)=(\d)', text))
    assert {level.name: str(level.value) for level in Level} == levels
    assert (report.entity_a, report.entity_b, report.probes) == ('robot', 'camera', 512)
    assert len(report.reason) <= 256


def test_a_report_of_what_was_not_measured_has_no_level():
    report = Report('a', 'b', STRANGER, math.nan, 1.0, False, 0, 'no probes yet')
    assert math.isnan(report.compression_trust)
    assert report.level is Level.UNKNOWN


def test_sage_calibrate(tmp_path, capsys):
    assert commands.main(['tinyvae', 'tinyvae', '--json', '--cache', str(tmp_path)]) == 0
    result = json.loads(capsys.readouterr().out)
    assert result['before']['compression_trust'] == 1.0
    assert result['before']['level'] == 'HIGH'
    assert Path(result['file']).is_file()
    assert commands.main(['tinyvae', 'tinyvae', '--cache', str(tmp_path)]) == 0
    assert 'share directly' in capsys.readouterr().out


def test_sage_calibrate_names_a_model_that_is_not_there(tmp_path, capsys):
    assert commands.main(['tinyvae', 'nobody', '--cache', str(tmp_path)]) == 2
    assert "'nobody'" in capsys.readouterr().err


def test_sage_trust_matrix(tmp_path):
    image = tmp_path / 'matrix.png'
    assert commands.main_matrix(['tinyvae', '-o', str(image)]) == 0
    assert min(cv2.imread(str(image)).shape[:2]) > 200
    assert commands.main_matrix(['tinyvae', '-o', str(tmp_path / 'none' / 'matrix.png')]) == 2
