# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Compressors of contexts: shapes, masks, what is retained, and the artifact on both backends."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sage_perception.context.layout import BLOCKS, DIM, LAYOUT
from sage_perception.models import ModelError, load
from sage_perception.models.networks.h_to_l import (
    VARIANTS,
    HToLCompressor,
    HToLConfig,
    explained_variance,
)
from sage_perception.models.networks.h_to_l.initialization import init_from_contexts
from sage_perception.models.networks.h_to_l.l_module import ACTIONS, HRMLatentBridge, LModule
from sage_perception.models.networks.h_to_l.tokens import Tokens
from sage_perception.training.config import (
    ContextsConfig,
    DataConfig,
    RunConfig,
    TrainingConfig,
    read_config,
)
from sage_perception.training.contexts.dataset import Contexts, joined
from sage_perception.training.tasks.h_to_l import task as task_module
from sage_perception.training.tasks.h_to_l.data import augment
from sage_perception.training.tasks.h_to_l.module import FREE_NATS, free_divergence
from sage_perception.training.tasks.h_to_l.tokens import GROUPS, ITEM_BLOCKS
from sage_perception.training.train import train

KINDS = {
    'things': {'count': 6, 'parts': [[0, 8], [64, 2]], 'keep': 8, 'rate': 7},
    'views': {'count': 2, 'parts': [[80, 5]], 'keep': 5, 'rate': 1},
}
FULL = {'input_dim': DIM, 'code_dim': 256, 'hidden': 64, 'width': 16, 'queries': 16}
SMALL = {'groups': KINDS, 'input_dim': 96, 'code_dim': 8, 'hidden': 32, 'width': 16, 'queries': 4}


def world(count=256, seed=0):
    """Contexts of one to six things, each described by ten numbers that three decide."""
    rng = np.random.default_rng(seed)
    mixing = np.random.default_rng(99).normal(size=(3, 10))
    values, mask = np.zeros((count, 96), np.float32), np.zeros((count, 96), np.float32)
    for row in range(count):
        for thing in range(rng.integers(1, 7)):
            numbers = rng.normal(size=3) @ mixing + 1
            for start, width, part in ((0, 8, numbers[:8]), (64, 2, numbers[8:])):
                at = slice(start + thing * width, start + (thing + 1) * width)
                values[row, at], mask[row, at] = part, 1
    mask[:, 80:85] = 1
    values[:, 80:85] = rng.normal(size=(count, 5)) * 0.1
    return torch.from_numpy(values), torch.from_numpy(mask)


def compressor(variant='hybrid', **change):
    torch.manual_seed(0)
    return HToLCompressor(HToLConfig(**{**SMALL, 'variant': variant, **change})).eval()


def started(variant='hybrid', **change):
    model = compressor(variant, **change)
    init_from_contexts(model, *world())
    return model


def test_tokens_go_there_and_back():
    tokens = Tokens(HToLConfig(groups=GROUPS))
    x = torch.randn(3, DIM)
    rows = tokens.split(x)
    assert [tuple(row.shape[1:]) for row in rows] == [
        (group['count'], sum(width for _, width in group['parts'])) for group in GROUPS.values()
    ]
    back = tokens.join(rows)
    told = back != 0
    assert torch.equal(back[told], x[told])
    assert told.sum(1).tolist() == [sum(row[0].numel() for row in rows)] * 3


@pytest.mark.parametrize(
    'parts',
    [[[0, 8], [40, 2]], [[0, 8], [90, 2]], [[0, 8], [76, 2]]],
    ids=['self', 'end', 'other'],
)
def test_groups_that_overlap_or_leave_the_context_are_refused(parts):
    things = {**KINDS['things'], 'parts': parts}
    with pytest.raises(ValueError, match='overlap or exceed'):
        Tokens(HToLConfig(**{**SMALL, 'groups': {**KINDS, 'things': things}}))


@pytest.mark.parametrize('variant', VARIANTS)
def test_every_variant_compresses_and_tells_how_well(variant):
    model = compressor(variant, **({'groups': GROUPS, **FULL}))
    context, mask = torch.randn(2, DIM), (torch.rand(2, DIM) < 0.3).float()
    out = model(context, mask)
    assert out.compressed.shape == out.log_var.shape == (2, 256)
    assert out.reconstruction.shape == (2, DIM)
    assert set(out.metrics) == {'reconstruction_loss', 'kl', 'information_retained'}
    assert all(torch.isfinite(value) for value in out.metrics.values())
    wild = torch.where(mask > 0, context, torch.full_like(context, 7.0))
    assert torch.allclose(model(wild, mask).compressed, out.compressed, atol=1e-5)


def test_the_code_is_sampled_in_training_only():
    model, (context, mask) = started(), world(8, 1)
    assert torch.equal(model(context, mask).reconstruction, model(context, mask).reconstruction)
    model.train()
    first, again = model(context, mask), model(context, mask)
    assert not torch.equal(first.reconstruction, again.reconstruction)
    assert torch.equal(first.compressed, again.compressed)


@pytest.mark.parametrize('variant', VARIANTS)
def test_principal_components_are_the_start(variant):
    context, mask = world(256, 1)
    cold = float(compressor(variant)(context, mask).metrics['information_retained'])
    out = started(variant)(context, mask)
    assert float(out.metrics['information_retained']) > max(cold, 0) + 0.2
    assert 0.3 < float(out.compressed.detach().var(0).mean()) < 3


@pytest.mark.parametrize('variant', ['bottleneck', 'attention', 'linear'])
def test_what_knows_no_tokens_starts_at_exactly_the_principal_components(variant):
    context, mask = world()
    model = started(variant)
    x = model.encoder.centered(context, mask)
    _, _, rows = torch.linalg.svd(x, full_matrices=False)
    kept = x @ rows[:8].T @ rows[:8] + model.encoder.mean
    assert torch.allclose(model(context, mask).reconstruction, kept, atol=1e-4)


def test_layers_too_narrow_to_pass_a_code_on_are_refused():
    with pytest.raises(ValueError, match='hidden is 12, it must be at least 16'):
        started('bottleneck', hidden=12)


def test_inference_from_what_is_known_beats_projection():
    """Of few things eight numbers can say all, if none are spent on those that are absent."""
    context, mask = world(256, 1)
    few = mask[:, 30] == 0  # three things at most: nine numbers decide them
    kept = [
        float(started(rounds=rounds)(context[few], mask[few]).metrics['information_retained'])
        for rounds in (0, 2, 8)
    ]
    assert kept[0] < kept[1] < kept[2]


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 5), st.integers(0, 1000))
def test_explained_variance_is_what_it_says(dims, seed):
    rng = np.random.default_rng(seed)
    x = torch.from_numpy(rng.normal(size=(20, dims)).astype(np.float32))
    mask = torch.from_numpy((rng.random((20, dims)) < 0.8).astype(np.float32))
    assert float(explained_variance(x, x, mask)) == pytest.approx(1)
    mean = (x * mask).sum(0) / mask.sum(0)
    assert float(explained_variance(mean.expand_as(x), x, mask)) == pytest.approx(0, abs=1e-5)
    wrong = x + (1 - mask) * 100
    assert float(explained_variance(wrong, x, mask)) == pytest.approx(1)


def test_divergence_is_free_up_to_a_little_and_a_mean_over_dimensions():
    none = free_divergence(torch.zeros(4, 3), torch.zeros(4, 3))
    assert float(none) == pytest.approx(FREE_NATS)
    one = torch.zeros(4, 3)
    one[:, 0] = 2.0
    assert float(free_divergence(one, torch.zeros(4, 3))) == pytest.approx((2 + 2 * 0.05) / 3)
    assert float(free_divergence(one.repeat(5, 1), torch.zeros(20, 3))) == pytest.approx(2.1 / 3)


def test_variation_never_claims_to_know_what_it_does_not():
    rng = np.random.default_rng(3)
    values = torch.from_numpy(rng.normal(size=(16, DIM)).astype(np.float32))
    mask = torch.from_numpy((rng.random((16, DIM)) < 0.5).astype(np.float32))
    varied, known = augment(values * mask, mask, rng)
    assert not varied[known == 0].any()
    assert known.sum() < mask.sum()
    again = augment(values * mask, mask, np.random.default_rng(4))
    assert torch.equal(again[0], augment(values * mask, mask, np.random.default_rng(4))[0])


@pytest.fixture(scope='module')
def contexts():
    """Contexts of a few things, as recorded ones."""
    rng = np.random.default_rng(5)
    mixing = rng.normal(size=(20, DIM)).astype(np.float32)
    mask = np.zeros((64, DIM), bool)
    for name in ITEM_BLOCKS:
        for row, known in enumerate(BLOCKS[name].rows(mask)):
            known[: 2 + row % 5] = True
    values = np.where(mask, rng.normal(size=(64, 20)).astype(np.float32) @ mixing, 0)
    return Contexts(
        values.astype(np.float32),
        mask,
        run=np.arange(64) // 8,
        source=np.zeros(64, int),
        sources=('clip.avi',),
        label=np.full(64, -1),
        track=np.ones(64, int),
        later=np.zeros((64, 2), np.float32),
        stamp=np.arange(64.0),
        model=load('tinyvae').id.fingerprint.hex(),
    )


def test_recorded_contexts_are_kept_as_they_are(contexts, tmp_path):
    contexts.write(tmp_path / 'kept.npz')
    again = Contexts.read(tmp_path / 'kept.npz')
    assert np.array_equal(again.mask, contexts.mask)
    assert again.values == pytest.approx(contexts.values, abs=0.02)
    assert (again.sources, again.model) == (contexts.sources, contexts.model)
    both = joined([contexts, None, contexts])
    assert len(both) == 128
    assert both.run.max() == 1


def test_a_compressor_is_trained_exported_and_loaded(contexts, tmp_path, monkeypatch):
    monkeypatch.setattr(task_module, 'load_contexts', lambda *_, **__: contexts)
    training = {'steps': 4, 'epoch': 2, 'batch': 8, 'warmup': 1, 'patience': 2}
    config = RunConfig(
        'small',
        '1',
        'h_to_l',
        HToLConfig(variant='hybrid', width=16),
        DataConfig('nowhere'),
        TrainingConfig(**training),
        contexts=ContextsConfig(),
    )
    run, folder = tmp_path / 'run', tmp_path / 'model'
    train(config, run, progress=False)
    assert 'val_r2' in (run / 'metrics.json').read_text()
    task_module.HToLTask(config).export(run, folder)
    codes = [
        load(folder, backend=backend).compress(contexts.values[:3], contexts.mask[:3])
        for backend in ('torch', 'onnxruntime')
    ]
    assert codes[0] == pytest.approx(codes[1], abs=1e-3)
    again = read_config(run / 'run.yaml')
    assert again.model.latents == contexts.model
    assert again.contexts == config.contexts


def test_the_bridge_comes_back_to_where_it_was():
    torch.manual_seed(0)
    bridge = HRMLatentBridge(16, 64, 32)
    h = torch.randn(8, 16)
    assert bridge.h_to_l(h).shape == (8, 64)
    assert float(bridge.cycle_loss(h).detach()) < 1e-8
    noise = torch.randn(8, 64)
    assert float(bridge.cycle_loss(h, noise).detach()) > 0.1  # 16 numbers do not hold any 64


def test_the_l_module_acts():
    module = LModule()
    assert module(torch.randn(3, 256)).shape == (3, ACTIONS)


@pytest.fixture(scope='module')
def shipped():
    return {
        backend: load('h_to_l_hybrid', backend=backend) for backend in ('torch', 'onnxruntime')
    }


def test_both_backends_compute_the_same(shipped):
    rng = np.random.default_rng(0)
    context = rng.normal(size=(5, DIM)).astype(np.float32)
    mask = rng.random((5, DIM)) < 0.3
    codes = {name: model.compress(context, mask) for name, model in shipped.items()}
    assert codes['torch'].shape == (5, 256)
    assert codes['torch'] == pytest.approx(codes['onnxruntime'], abs=2e-4)
    told = {name: model.decompress(codes['torch']) for name, model in shipped.items()}
    assert told['torch'].shape == (5, DIM)
    assert told['torch'] == pytest.approx(told['onnxruntime'], abs=2e-4)


def test_the_shipped_compressor_is_for_the_contexts_of_the_shipped_encoder(shipped):
    model = shipped['onnxruntime']
    assert model.layout == LAYOUT
    assert model.latents.fingerprint == load('tinyvae').id.fingerprint
    assert model.space_mean.shape == model.space_std.shape == (64,)
    size = sum(path.stat().st_size for path in model.artifact.path.iterdir())
    assert size < 12e6


def test_what_is_masked_may_be_anything_and_what_is_known_may_not(shipped):
    model = shipped['onnxruntime']
    context, mask = np.zeros((1, DIM), np.float32), np.zeros((1, DIM), bool)
    mask[0, :100] = True
    spoilt = context.copy()
    spoilt[0, 200] = np.nan
    assert np.array_equal(model.compress(spoilt, mask), model.compress(context, mask))
    spoilt[0, 5] = np.inf
    with pytest.raises(ModelError, match='not finite'):
        model.compress(spoilt, mask)
    with pytest.raises(ModelError, match=r'\[B, 4096\]'):
        model.compress(context[:, :100], mask[:, :100])
    with pytest.raises(ModelError, match=r'\[B, 256\]'):
        model.decompress(np.zeros((1, 64)))
    assert model.compress(context[:0], mask[:0]).shape == (0, 256)
    assert model.decompress(np.zeros((0, 256))).shape == (0, DIM)
