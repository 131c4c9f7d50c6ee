# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Networks that compress contexts: shapes, masks, initialization, explained variance."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sage_perception.context.layout import DIM
from sage_perception.models.networks.h_to_l import (
    VARIANTS,
    HToLCompressor,
    HToLConfig,
    explained_variance,
)
from sage_perception.models.networks.h_to_l.initialization import init_from_contexts
from sage_perception.models.networks.h_to_l.l_module import ACTIONS, HRMLatentBridge, LModule
from sage_perception.models.networks.h_to_l.tokens import Tokens
from sage_perception.training.tasks.h_to_l.tokens import GROUPS

KINDS = {
    'objects': {'count': 6, 'parts': [[0, 8], [64, 2]], 'keep': 8, 'rate': 7},
    'views': {'count': 2, 'parts': [[80, 5]], 'keep': 5, 'rate': 1},
}
FULL = {'input_dim': DIM, 'code_dim': 256, 'hidden': 64, 'width': 16, 'queries': 16}
SMALL = {'groups': KINDS, 'input_dim': 96, 'code_dim': 8, 'hidden': 32, 'width': 16, 'queries': 4}


def world(count=256, seed=0):
    """Return contexts of one to six objects, each with ten values of three degrees of freedom."""
    rng = np.random.default_rng(seed)
    mixing = np.random.default_rng(99).normal(size=(3, 10))
    values, mask = np.zeros((count, 96), np.float32), np.zeros((count, 96), np.float32)
    for row in range(count):
        for item in range(rng.integers(1, 7)):
            described = rng.normal(size=3) @ mixing + 1
            for start, width, part in ((0, 8, described[:8]), (64, 2, described[8:])):
                span = slice(start + item * width, start + (item + 1) * width)
                values[row, span], mask[row, span] = part, 1
    mask[:, 80:85] = 1
    values[:, 80:85] = rng.normal(size=(count, 5)) * 0.1
    return torch.from_numpy(values), torch.from_numpy(mask)


def compressor(variant='hybrid', **change):
    torch.manual_seed(0)
    return HToLCompressor(HToLConfig(**{**SMALL, 'variant': variant, **change})).eval()


def initialized(variant='hybrid', **change):
    model = compressor(variant, **change)
    init_from_contexts(model, *world())
    return model


def test_joins_the_tokens_it_split():
    tokens = Tokens(HToLConfig(groups=GROUPS))
    x = torch.randn(3, DIM)
    rows = tokens.split(x)
    assert [tuple(row.shape[1:]) for row in rows] == [
        (group['count'], sum(width for _, width in group['parts'])) for group in GROUPS.values()
    ]
    back = tokens.join(rows)
    covered = back != 0
    assert torch.equal(back[covered], x[covered])
    assert covered.sum(1).tolist() == [sum(row[0].numel() for row in rows)] * 3


@pytest.mark.parametrize(
    'parts',
    [[[0, 8], [40, 2]], [[0, 8], [90, 2]], [[0, 8], [76, 2]]],
    ids=['self', 'end', 'other'],
)
def test_rejects_groups_that_overlap_or_exceed_the_context(parts):
    objects = {**KINDS['objects'], 'parts': parts}
    with pytest.raises(ValueError, match='overlap or exceed'):
        Tokens(HToLConfig(**{**SMALL, 'groups': {**KINDS, 'objects': objects}}))


@pytest.mark.parametrize('variant', VARIANTS)
def test_shapes_and_metrics_of_every_variant(variant):
    model = compressor(variant, **({'groups': GROUPS, **FULL}))
    context, mask = torch.randn(2, DIM), (torch.rand(2, DIM) < 0.3).float()
    out = model(context, mask)
    assert out.compressed.shape == out.log_var.shape == (2, 256)
    assert out.reconstruction.shape == (2, DIM)
    assert set(out.metrics) == {'reconstruction_loss', 'kl', 'information_retained'}
    assert all(torch.isfinite(value) for value in out.metrics.values())
    wild = torch.where(mask > 0, context, torch.full_like(context, 7.0))
    assert torch.allclose(model(wild, mask).compressed, out.compressed, atol=1e-5)


def test_samples_the_code_in_training_only():
    model, (context, mask) = initialized(), world(8, 1)
    assert torch.equal(model(context, mask).reconstruction, model(context, mask).reconstruction)
    model.train()
    first, again = model(context, mask), model(context, mask)
    assert not torch.equal(first.reconstruction, again.reconstruction)
    assert torch.equal(first.compressed, again.compressed)


@pytest.mark.parametrize('variant', VARIANTS)
def test_initialization_retains_more_than_random_weights(variant):
    context, mask = world(256, 1)
    cold = float(compressor(variant)(context, mask).metrics['information_retained'])
    out = initialized(variant)(context, mask)
    assert float(out.metrics['information_retained']) > max(cold, 0) + 0.2
    assert 0.3 < float(out.compressed.detach().var(0).mean()) < 3


@pytest.mark.parametrize('variant', ['bottleneck', 'attention', 'linear'])
def test_variants_without_token_projections_start_exactly_at_pca(variant):
    context, mask = world()
    model = initialized(variant)
    x = model.encoder.centered(context, mask)
    _, _, rows = torch.linalg.svd(x, full_matrices=False)
    kept = x @ rows[:8].T @ rows[:8] + model.encoder.mean
    assert torch.allclose(model(context, mask).reconstruction, kept, atol=1e-4)


def test_rejects_layers_too_narrow_for_initialization():
    with pytest.raises(ValueError, match='hidden is 12; it must be at least 16'):
        initialized('bottleneck', hidden=12)


def test_inference_from_known_tokens_beats_projection():
    """Eight dimensions suffice for few objects, if none are spent on absent ones."""
    context, mask = world(256, 1)
    few = mask[:, 30] == 0  # at most three objects: nine degrees of freedom
    kept = [
        float(initialized(rounds=rounds)(context[few], mask[few]).metrics['information_retained'])
        for rounds in (0, 2, 8)
    ]
    assert kept[0] < kept[1] < kept[2]


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 5), st.integers(0, 1000))
def test_explained_variance_of_exact_and_mean_predictions(dims, seed):
    rng = np.random.default_rng(seed)
    x = torch.from_numpy(rng.normal(size=(20, dims)).astype(np.float32))
    mask = torch.from_numpy((rng.random((20, dims)) < 0.8).astype(np.float32))
    assert float(explained_variance(x, x, mask)) == pytest.approx(1)
    mean = (x * mask).sum(0) / mask.sum(0)
    assert float(explained_variance(mean.expand_as(x), x, mask)) == pytest.approx(0, abs=1e-5)
    wrong = x + (1 - mask) * 100
    assert float(explained_variance(wrong, x, mask)) == pytest.approx(1)


def test_bridge_is_cycle_consistent_from_the_start():
    torch.manual_seed(0)
    bridge = HRMLatentBridge(16, 64, 32)
    h = torch.randn(8, 16)
    assert bridge.h_to_l(h).shape == (8, 64)
    assert float(bridge.cycle_loss(h).detach()) < 1e-8
    noise = torch.randn(8, 64)
    assert float(bridge.cycle_loss(h, noise).detach()) > 0.1


def test_l_module_returns_actions():
    module = LModule()
    assert module(torch.randn(3, 256)).shape == (3, ACTIONS)
