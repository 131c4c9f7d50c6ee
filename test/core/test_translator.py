# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Translation of LCTs into the latent space of one model."""

import itertools

import numpy as np
import pytest
from thumbnails import Thumbnails

from sage_perception.core.latent import Latent, Telemetry
from sage_perception.core.lct import LCT, Operation
from sage_perception.trust.compatibility import probe_set
from sage_perception.trust.compatibility.estimator import CompatibilityEstimator
from sage_perception.trust.compatibility.translator import Translator
from sage_perception.trust.security.limits import MAX_ABS
from sage_perception.trust.security.rejection import RejectionReason
from sage_perception.trust.security.validation import find_fault

OWN = Thumbnails()
RNG = np.random.default_rng(0)
ROTATED = Thumbnails(name='rotated', turn=np.linalg.qr(RNG.standard_normal((48, 48)))[0])
IMAGES = probe_set.scale(probe_set.images()[400:404], 8, 3)


@pytest.fixture(scope='module')
def estimator():
    return CompatibilityEstimator(OWN)


@pytest.fixture
def translator():
    counter = itertools.count(7)
    return Translator(OWN, 'arbiter', lambda: next(counter))


def an_lct(model, mean=None, log_var=None):
    mean = model.encode(IMAGES)[0] if mean is None else mean
    latent = Latent(np.float32(mean), log_var, model=model.id, telemetry=Telemetry(trust=0.8))
    return LCT.encoded(latent, entity_id='cam0', sequence=1, stamp_ns=10**9)


def result_of(estimator, model, latents=None):
    latents = probe_set.probe_latents(model) if latents is None else latents
    return estimator.evaluate(latents, model.id)


def test_returns_an_lct_of_the_same_model_unchanged(estimator, translator):
    lct = an_lct(OWN)
    assert translator.translate(lct, None) is lct
    assert translator.translate(lct, result_of(estimator, OWN)) is lct


def test_translates_an_lct_of_another_model(estimator, translator):
    lct = an_lct(ROTATED, log_var=np.full(48, -3, np.float32))
    result = result_of(estimator, ROTATED)
    translated = translator.translate(lct, result)
    assert (translated.entity_id, translated.sequence, translated.stamp_ns) == (
        'arbiter',
        7,
        10**9,
    )
    assert translated.signature == b''
    assert translated.latent.model == OWN.id
    np.testing.assert_allclose(translated.latent.mean, OWN.encode(IMAGES)[0], atol=1e-2)
    expected = result.latent_map.apply_log_var(lct.latent.log_var[None])[0]
    np.testing.assert_array_equal(translated.latent.log_var, expected)
    *before, step = translated.provenance
    assert tuple(before) == lct.provenance
    assert (step.operation, step.entity_id, step.model) == (Operation.TRANSLATE, 'arbiter', OWN.id)
    assert (step.parent_id, step.trust) == (lct.id, result.trust.compression_trust)
    assert translated.trust == pytest.approx(0.8 * step.trust)
    assert find_fault(translated) is None


def test_rejects_another_model_until_it_is_measured(estimator, translator):
    lct = an_lct(ROTATED)
    assert translator.translate(lct, None) is RejectionReason.NOT_MEASURED
    # The result of another latent space does not count.
    of_another = result_of(estimator, OWN)
    assert translator.translate(lct, of_another) is RejectionReason.NOT_MEASURED


@pytest.mark.parametrize('model', [OWN, ROTATED], ids=['own', 'other'])
def test_rejects_latents_without_trust(estimator, translator, model):
    noise = np.random.default_rng(1).standard_normal((probe_set.COUNT, 48))
    result = result_of(estimator, model, noise)
    assert translator.translate(an_lct(model), result) is RejectionReason.INCOMPATIBLE


def test_rejects_latents_of_another_dimension_than_measured(estimator, translator):
    lct = an_lct(ROTATED, mean=np.zeros(5))
    result = result_of(estimator, ROTATED)
    assert translator.translate(lct, result) is RejectionReason.DIMENSION


def test_rejects_a_translation_out_of_range(estimator, translator):
    result = result_of(estimator, ROTATED)
    large = an_lct(ROTATED, mean=np.full(48, MAX_ABS))
    assert translator.translate(large, result) is RejectionReason.OUT_OF_RANGE
    translated = translator.translate(an_lct(ROTATED), result)
    assert translated.sequence == 7, 'a rejected LCT uses no sequence number'
