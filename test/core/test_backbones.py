# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Backbones: residual networks with skip gates, configurations of transformers, weights."""

import json

import numpy as np
import pytest
import torch

from sage_perception.models.backbones import SkipSlipSchedule
from sage_perception.models.backbones.resnet_cifar import CifarResNet, CifarResNetConfig
from sage_perception.models.backbones.state_dict import WeightsError, load_weights, save_weights
from sage_perception.models.backbones.transformers_backbone import (
    BackboneError,
    ConvNextConfig,
    ResNetConfig,
    StagedBackbone,
    ViTBackbone,
    ViTConfig,
)
from sage_perception.models.backbones.volumes import volume_of

SMALL = CifarResNetConfig(depths=(2, 2), channels=(4, 8), learnable_skip=True)
IMAGES = torch.linspace(0, 1, 2 * 3 * 16 * 16).reshape(2, 3, 16, 16)


def network(config=SMALL):
    torch.manual_seed(0)
    return CifarResNet(config).eval()


def test_sizes_are_those_of_the_paper():
    """Table 6 of He et al.: 0.27 million parameters for 20 layers, 0.85 million for 56."""
    counts = [
        sum(p.numel() for p in CifarResNet(make()).parameters() if p.requires_grad)
        for make in (CifarResNetConfig.resnet20, CifarResNetConfig.resnet56)
    ]
    assert counts == pytest.approx([0.27e6, 0.85e6], rel=0.02)
    layers = [
        m
        for m in CifarResNet(CifarResNetConfig.resnet56()).modules()
        if isinstance(m, (torch.nn.Conv2d, torch.nn.Linear))
    ]
    assert len(layers) == 56


def test_gates_get_gradients_only_if_learnable():
    learnable, fixed = network(), network(CifarResNetConfig(depths=(1,), channels=(4,)))
    for each in (learnable, fixed):
        each(IMAGES).square().sum().backward()
    gates = [p for name, p in learnable.named_parameters() if name.endswith('gate')]
    assert len(gates) == 4
    assert all(gate.grad.abs() > 0 for gate in gates)
    assert fixed.stages[0][0].gate.grad is None


def test_a_gate_of_zero_leaves_the_shortcut():
    features = network(CifarResNetConfig(depths=(2,), channels=(4,), skip_init=0.0)).features(
        IMAGES
    )
    torch.testing.assert_close(features['stage1'], features['stem'])


def test_blocks_have_the_factors_of_the_schedule():
    schedule = SkipSlipSchedule.linear(0.25, 1).with_power(1.2).per_stage()
    built = CifarResNet(CifarResNetConfig(depths=(3, 3), channels=(4, 8), skip_slip=schedule))
    slips = [[block.slip for block in stage] for stage in built.stages]
    np.testing.assert_allclose(slips, schedule.preview((3, 3)))
    default = CifarResNetConfig.resnet56(slip=True)
    assert default.skip_slip.preview([9])[0][0] == pytest.approx(0.35)


def test_features_have_the_named_stages_and_become_a_volume():
    features = network().features(IMAGES)
    assert {k: tuple(v.shape[1:]) for k, v in features.items()} == {
        'stem': (4, 16, 16),
        'stage1': (4, 16, 16),
        'stage2': (8, 8, 8),
    }
    one = {name: maps[:1] for name, maps in features.items()}
    volume = volume_of(one, ['stage1', 'stage2'])
    assert volume.shape == (2, 16, 16)
    np.testing.assert_allclose(volume.values.max(axis=(1, 2)), 1, rtol=1e-5)
    assert volume_of(one, ['stage2'], (4, 6)).shape == (1, 4, 6)
    with pytest.raises(ValueError, match="'stage9' is unknown"):
        volume_of(one, ['stage9'])
    with pytest.raises(ValueError, match=r'not \[1, C, H, W\]'):
        volume_of(features, ['stage1'])


@pytest.mark.parametrize('name', ['weights.safetensors', 'weights.json'])
def test_weights_round_trip(name, tmp_path):
    source, target = network(), CifarResNet(SMALL).eval()
    save_weights(source, tmp_path / name)
    assert not torch.equal(source(IMAGES), target(IMAGES))
    load_weights(target, tmp_path / name)
    torch.testing.assert_close(source(IMAGES), target(IMAGES))


@pytest.mark.parametrize(
    ('name', 'content', 'named'),
    [
        ('a.json', b'{"x": {"shape": [1], "data": [1]}}', 'missing or unknown'),
        ('a.json', b'[]', 'not a JSON object'),
        ('a.json', b'\xff', 'not a JSON object'),
        ('a.json', b'[' * 100_000, 'not a JSON object'),
        ('a.safetensors', b'noise', 'not a safetensors file'),
        ('a.npz', b'', 'must end with'),
    ],
)
def test_damaged_weights_are_named_and_change_nothing(name, content, named, tmp_path):
    path, target = tmp_path / name, network()
    path.write_bytes(content)
    before = target(IMAGES)
    with pytest.raises(WeightsError, match=named):
        load_weights(target, path)
    torch.testing.assert_close(target(IMAGES), before)


def test_shapes_and_values_of_weights_are_checked(tmp_path):
    path, target = tmp_path / 'weights.json', network()
    save_weights(target, path)
    tree = json.loads(path.read_text())
    tree['head.bias'] = {'shape': [2], 'data': [0, 0]}
    path.write_text(json.dumps(tree))
    with pytest.raises(WeightsError, match=r'head.bias has the shape \(2,\)'):
        load_weights(target, path)
    tree['head.bias'] = {'shape': [10], 'data': [float('nan')] * 10}
    path.write_text(json.dumps(tree))
    with pytest.raises(WeightsError, match='NaN'):
        load_weights(target, path)


@pytest.mark.parametrize(
    ('make', 'named'),
    [
        (lambda: CifarResNetConfig(depths=(1, 1)), 'one item per stage'),
        (lambda: CifarResNetConfig(depths=(0, 1, 1)), 'depths'),
        (lambda: CifarResNetConfig(skip_init=-1.0), 'skip_init'),
        (lambda: ResNetConfig(block_depths=(1,)), 'one item per stage'),
        (lambda: ViTConfig(image_size=30), 'does not divide'),
        (lambda: ViTConfig(heads=5), 'heads 5'),
        (lambda: ConvNextConfig(patch_size=0), 'patch_size'),
    ],
)
def test_invalid_configurations_are_named(make, named):
    with pytest.raises(ValueError, match=named):
        make()


CONFIGS = [
    ResNetConfig((8, 16), (1, 1), 8),
    ConvNextConfig((8, 16), (1, 1)),
    ViTConfig(32, 8, 16, 2, 2),
]


@pytest.mark.parametrize('config', CONFIGS, ids=lambda config: type(config).__name__)
def test_backbones_of_transformers(config, tmp_path):
    pytest.importorskip('transformers')
    kind = ViTBackbone if isinstance(config, ViTConfig) else StagedBackbone
    torch.manual_seed(0)
    images = torch.rand(2, 3, 32, 32)
    one, other = kind(config).eval(), kind(config).eval()
    with torch.no_grad():
        assert one(images).shape == (2, one.output_features)
        features = one.features(images)
        save_weights(one, tmp_path / 'weights.safetensors')
        load_weights(other, tmp_path / 'weights.safetensors')
        torch.testing.assert_close(one(images), other(images))
    assert len(features) == 2
    names = list(features)
    assert volume_of({k: v[:1] for k, v in features.items()}, names).depth == 2


def test_a_missing_library_is_named(monkeypatch):
    monkeypatch.setitem(__import__('sys').modules, 'transformers', None)
    with pytest.raises(BackboneError, match=r'pip install transformers==5.24.0'):
        ViTBackbone(ViTConfig())
