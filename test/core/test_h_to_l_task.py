# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Training of compressors of contexts: loss, augmentation, export."""

import numpy as np
import pytest
import torch

from sage_perception.context.layout import BLOCKS, DIM
from sage_perception.models import load
from sage_perception.models.networks.h_to_l import (
    HToLConfig,
)
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
from sage_perception.training.tasks.h_to_l.tokens import ITEM_BLOCKS
from sage_perception.training.train import train


def test_free_nats_and_mean_over_dimensions():
    none = free_divergence(torch.zeros(4, 3), torch.zeros(4, 3))
    assert float(none) == pytest.approx(FREE_NATS)
    one = torch.zeros(4, 3)
    one[:, 0] = 2.0
    assert float(free_divergence(one, torch.zeros(4, 3))) == pytest.approx((2 + 2 * 0.05) / 3)
    assert float(free_divergence(one.repeat(5, 1), torch.zeros(20, 3))) == pytest.approx(2.1 / 3)


def test_augmentation_keeps_unknown_values_zero():
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
    """Return contexts of a few objects, like recorded ones."""
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


def test_contexts_round_trip(contexts, tmp_path):
    contexts.write(tmp_path / 'kept.npz')
    again = Contexts.read(tmp_path / 'kept.npz')
    assert np.array_equal(again.mask, contexts.mask)
    assert again.values == pytest.approx(contexts.values, abs=0.02)
    assert (again.sources, again.model) == (contexts.sources, contexts.model)
    both = joined([contexts, None, contexts])
    assert len(both) == 128
    assert both.run.max() == 1


def test_trains_exports_and_loads(contexts, tmp_path, monkeypatch):
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
