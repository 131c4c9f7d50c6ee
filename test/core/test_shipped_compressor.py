# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""The shipped compressor of contexts on both backends."""

import numpy as np
import pytest

from sage_perception.context.layout import DIM, LAYOUT
from sage_perception.models import ModelError, load


@pytest.fixture(scope='module')
def shipped():
    return {
        backend: load('h_to_l_hybrid', backend=backend) for backend in ('torch', 'onnxruntime')
    }


def test_backends_agree(shipped):
    rng = np.random.default_rng(0)
    context = rng.normal(size=(5, DIM)).astype(np.float32)
    mask = rng.random((5, DIM)) < 0.3
    codes = {name: model.compress(context, mask) for name, model in shipped.items()}
    assert codes['torch'].shape == (5, 256)
    assert codes['torch'] == pytest.approx(codes['onnxruntime'], abs=2e-4)
    decoded = {name: model.decompress(codes['torch']) for name, model in shipped.items()}
    assert decoded['torch'].shape == (5, DIM)
    assert decoded['torch'] == pytest.approx(decoded['onnxruntime'], abs=2e-4)


def test_matches_the_shipped_encoder(shipped):
    model = shipped['onnxruntime']
    assert model.layout == LAYOUT
    assert model.latents.fingerprint == load('tinyvae').id.fingerprint
    assert model.space_mean.shape == model.space_std.shape == (64,)
    size = sum(path.stat().st_size for path in model.artifact.path.iterdir())
    assert size < 12e6


def test_ignores_masked_values_and_rejects_known_ones_that_are_not_finite(shipped):
    model = shipped['onnxruntime']
    context, mask = np.zeros((1, DIM), np.float32), np.zeros((1, DIM), bool)
    mask[0, :100] = True
    changed = context.copy()
    changed[0, 200] = np.nan
    assert np.array_equal(model.compress(changed, mask), model.compress(context, mask))
    changed[0, 5] = np.inf
    with pytest.raises(ModelError, match='not finite'):
        model.compress(changed, mask)
    with pytest.raises(ModelError, match=r'\[B, 4096\]'):
        model.compress(context[:, :100], mask[:, :100])
    with pytest.raises(ModelError, match=r'\[B, 256\]'):
        model.decompress(np.zeros((1, 64)))
    assert model.compress(context[:0], mask[:0]).shape == (0, 256)
    assert model.decompress(np.zeros((0, 256))).shape == (0, DIM)
