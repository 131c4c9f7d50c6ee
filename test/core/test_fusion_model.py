# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""The shipped fusion network, without the sentence encoder."""

from dataclasses import replace

import numpy as np
import pytest

from sage_perception.models import ModelError, load_codec, load_codes, load_fusion
from sage_perception.models.fusion import MAX_OBJECTS, FusionModel


@pytest.fixture(scope='module')
def model():
    return load_fusion()


def inputs(count=4, seed=0):
    rng = np.random.default_rng(seed)
    text = rng.normal(size=384).astype(np.float32)
    appearance = rng.normal(size=(count, 64)).astype(np.float32)
    position = rng.uniform(-0.9, 0.9, (count, 4)).astype(np.float32)
    return appearance, position, text / np.linalg.norm(text)


def test_weights_are_probabilities_and_follow_the_order_of_the_objects(model):
    appearance, position, text = inputs()
    meaning = model(appearance, position, text)
    assert meaning.fused.shape == (256,)
    assert meaning.weights.sum() == pytest.approx(1, abs=1e-5)
    order = [2, 0, 3, 1]
    turned = model(appearance[order], position[order], text)
    np.testing.assert_allclose(turned.weights, meaning.weights[order], atol=1e-5)
    np.testing.assert_allclose(turned.fused, meaning.fused, atol=1e-3)


def test_a_single_object_has_all_the_weight_and_objects_without_trust_have_none(model):
    assert model(*inputs(1)).weights.tolist() == [1.0]
    appearance, position, text = inputs()
    trust = np.array([1, 0, 1, 0.5])
    weights = model(appearance, position, text, trust).weights
    assert weights[1] == 0
    assert weights.sum() == pytest.approx(1, abs=1e-5)
    assert not model(appearance, position, text, np.zeros(4)).weights.any()


@pytest.mark.parametrize('count', [0, MAX_OBJECTS + 1])
def test_too_many_objects_or_none_are_an_error(model, count):
    with pytest.raises(ModelError, match=f'1 to {MAX_OBJECTS}'):
        model(*inputs(count))


def test_values_that_are_not_finite_are_an_error(model):
    appearance, position, text = inputs()
    appearance[0, 0] = np.nan
    with pytest.raises(ModelError, match='must be finite'):
        model(appearance, position, text)


@pytest.mark.parametrize(
    ('key', 'value', 'reason'),
    [
        ('appearance_space', 'z' * 64, 'appearance_space'),
        ('semantic_dim', 63, 'their parts'),
        ('token_dim', 200, 'their parts'),
        ('temperature', float('nan'), 'temperature'),
    ],
)
def test_a_configuration_that_does_not_fit_is_an_error_at_the_start(model, key, value, reason):
    config = {**model.artifact.config, key: value}
    with pytest.raises(ModelError, match=reason):
        FusionModel(replace(model.artifact, config=config), 'cpu', 'fp32')


def test_other_loaders_reject_the_model_and_its_loader_others():
    with pytest.raises(ModelError, match='has no latents of images'):
        load_codec('fusion')
    with pytest.raises(ModelError, match='has no semantic codes'):
        load_codes('fusion')
    with pytest.raises(ModelError, match='does not relate words'):
        load_fusion('tinyvae')
