# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Distillation: the effect of each of the five terms, and its absence when disabled."""

import math
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.distributions import Normal, kl_divergence

from sage_perception.models.artifact import ModelError
from sage_perception.models.networks.tinyvae import TinyVAE, TinyVAEConfig
from sage_perception.training.config import (
    ConfigError,
    DataConfig,
    DistillationConfig,
    RunConfig,
    TrainingConfig,
    read_config,
    write_config,
)
from sage_perception.training.losses import perceptual
from sage_perception.training.tasks.distillation import new_distillation
from sage_perception.training.tasks.distillation_module import (
    DistillationModule,
    Projection,
    softened_divergence,
)

pytestmark = pytest.mark.usefixtures('one_thread')

SMALL = {'img_size': 32, 'encoder_width': 16, 'decoder_width': 12}
TERMS = ('reconstruction', 'kl', 'latent', 'output', 'perceptual')
ALL_TERMS = DistillationConfig(teacher='teacher', batch_share=1)
NO_TERMS = dict.fromkeys(TERMS, 0)


@pytest.fixture
def images():
    """Return smooth random images, float32 `[8, 3, 32, 32]`."""
    return smooth(8)


def smooth(count):
    coarse = torch.rand(count, 3, 5, 5)
    return torch.nn.functional.interpolate(coarse, size=32, mode='bicubic').clamp(0, 1)


def network(dims):
    return TinyVAE(TinyVAEConfig(latent_dim=dims, **SMALL))


def module_of(config=ALL_TERMS, dims=6, teacher_dims=20):
    wants_teacher = config.latent or config.output
    teacher = network(teacher_dims) if wants_teacher else None
    return DistillationModule(network(dims), TrainingConfig(ssim_from=2.0), config, teacher)


def terms_of(module, x):
    return module.terms(x, *module.model(x))


means = st.floats(-3, 3)
variances = st.floats(0.01, 5)


@given(mean_p=means, mean_q=means, var_p=variances, var_q=variances, t=st.floats(0.3, 10))
def test_softened_divergence_is_that_of_softened_gaussians(mean_p, mean_q, var_p, var_q, t):
    def soft(mean, var):  # the density to the power 1/T², normalized
        return Normal(torch.tensor(mean).double(), t * math.sqrt(var))

    expected = t**2 * kl_divergence(soft(mean_p, var_p), soft(mean_q, var_q))
    values = torch.tensor([mean_p, var_p, mean_q, var_q]).double()
    found = softened_divergence(*values, t)
    torch.testing.assert_close(found, expected.to(found), atol=1e-4, rtol=1e-4)


@given(error=st.floats(0.1, 3), var_p=variances, t=st.floats(0.5, 10))
def test_temperature_divides_the_optimal_variance_of_an_error(error, var_p, t):
    best = torch.tensor(var_p + error**2 / t**2, dtype=torch.float64, requires_grad=True)
    one = torch.ones((), dtype=torch.float64)
    softened_divergence(error * one, var_p * one, 0 * one, best, t).backward()
    assert abs(best.grad) < 1e-6


def test_projection_starts_at_least_squares_with_the_residual_variance():
    student = torch.randn(500, 4)
    target = student @ torch.randn(4, 9) + torch.randn(9)
    noise = torch.linspace(0.1, 2, 9)
    projection = Projection(4, 9)
    residual = noise * torch.randn(500, 9)
    projection.fit(student, target + residual, torch.full((500, 9), 0.25), temperature=2)
    mean, variance = projection(student, torch.full((500, 4), -30.0))
    assert (mean - target).abs().mean() < 0.15
    torch.testing.assert_close(variance[0], 0.25 + noise**2 / 4, rtol=0.2, atol=0)
    widened = projection(student, torch.zeros(500, 4))[1]
    propagated = projection.linear.weight.square().sum(1)
    torch.testing.assert_close(widened - variance, propagated.expand(500, 9))


def test_default_weights_leave_the_terms_without_teacher_unchanged(images):
    module = module_of()
    outputs = module.model.eval()(images)
    ours = module.terms(images, *outputs)
    plain = super(DistillationModule, module).terms(images, *outputs)
    torch.testing.assert_close({name: ours[name] for name in plain}, plain)
    assert set(ours) == {'error', 'kl', 'latent', 'output', 'perceptual'}


@pytest.mark.parametrize('name', TERMS)
def test_training_on_each_term_alone_lowers_it(images, name):
    # A configuration needs a term that depends on the images: a negligible one is added.
    module = module_of(replace(ALL_TERMS, **{**NO_TERMS, 'reconstruction': 1e-9, name: 1.0}))
    if module.projection is not None:
        module.fit_projection(smooth(64))
    key = {'reconstruction': 'error'}.get(name, name)
    optimizer = torch.optim.Adam(module.model.parameters(), 3e-3)
    values = []
    for _ in range(12):
        terms = terms_of(module.eval(), images)
        assert set(terms) == {'error', key}
        optimizer.zero_grad()
        sum(terms.values()).backward()
        optimizer.step()
        values.append(terms[key].item())
    assert values[-1] < 0.97 * values[0]


@pytest.mark.parametrize('name', TERMS)
def test_disabled_term_is_not_computed(images, name, monkeypatch):
    config = replace(ALL_TERMS, **{name: 0})
    if name == 'perceptual':
        monkeypatch.setattr(perceptual, 'perceptual_distance', None)  # a call would raise
    module = module_of(config)
    if name == 'output':
        monkeypatch.setattr(module.teacher.network, 'decode', None)
    terms = terms_of(module, images)
    assert {'reconstruction': 'error'}.get(name, name) not in terms
    assert len(terms) == 4
    assert (module.projection is None) == (name == 'latent')


def test_terms_without_teacher_do_not_require_one(images):
    module = module_of(DistillationConfig(latent=0, output=0))
    assert module.teacher is None
    assert set(terms_of(module, images)) == {'error', 'kl', 'perceptual'}


def gradient(module, x):
    """Return the gradient at the student's parameters of its latent term, in one vector."""
    module.zero_grad()
    terms_of(module.eval(), x)['latent'].backward()
    return torch.cat([p.grad.flatten() for p in module.model.encoder.parameters()])


def test_temperature_changes_the_gradient_of_the_student(images):
    module = module_of()
    with torch.no_grad():  # the variances of the teacher differ between dimensions
        module.teacher.network.encoder.log_var.bias.copy_(torch.linspace(-9, 0, 20))
    others = smooth(64)
    directions = []
    for temperature in (0.3, 3.0):
        module.distillation = replace(ALL_TERMS, temperature=temperature)
        module.fit_projection(others)
        directions.append(torch.nn.functional.normalize(gradient(module, images), dim=0))
        assert directions[-1].isfinite().all()
    assert (directions[0] @ directions[1]).item() < 0.97


def test_teacher_encodes_a_share_of_the_batch(images, monkeypatch):
    module = module_of(replace(ALL_TERMS, batch_share=0.25))
    sizes = []
    encode = module.teacher.encode
    monkeypatch.setattr(module.teacher, 'encode', lambda x: (sizes.append(len(x)), encode(x))[1])
    terms_of(module, images)
    assert sizes == [2]


def test_teacher_is_frozen_and_absent_from_the_checkpoint(images):
    module = module_of()
    before = [p.clone() for p in module.teacher.network.parameters()]
    sum(terms_of(module.train(), images).values()).backward()
    assert all(p.grad is None for p in module.teacher.network.parameters())
    optimizer = module.configure_optimizers()['optimizer']
    optimizer.step()
    torch.testing.assert_close(before, list(module.teacher.network.parameters()))
    trained = sum(p.numel() for group in optimizer.param_groups for p in group['params'])
    assert trained == sum(p.numel() for p in module.model.parameters()) + 6 * 20 + 2 * 20
    assert not any('teacher' in name for name in module.state_dict())


def run_config(**changes):
    distillation = replace(DistillationConfig(teacher='tinyvae'), **changes)
    return RunConfig(
        'n',
        '1',
        'tinyvae',
        TinyVAEConfig(**SMALL),
        DataConfig('d'),
        TrainingConfig(),
        '',
        distillation,
    )


def test_rejects_missing_and_incompatible_teachers(monkeypatch):
    config = run_config()
    with pytest.raises(ConfigError, match='teacher tinyvae has img_size 64, the model has 32'):
        new_distillation(network(4), config)
    with pytest.raises(ModelError, match='nowhere'):
        new_distillation(network(4), run_config(teacher='nowhere'))
    monkeypatch.setattr(perceptual, 'installed', lambda: False)
    with pytest.raises(ConfigError, match='perceptual requires a network: pip install'):
        new_distillation(network(4), config)


@pytest.mark.parametrize(
    ('changes', 'message'),
    [
        ({'teacher': ''}, 'teacher is missing'),
        ({'latent': -1}, 'latent is -1; it must be a number of at least 0'),
        ({'temperature': 0}, 'temperature is 0; it must be a number above 0'),
        ({'batch_share': 0}, r'batch_share is 0; it must be a number in \(0, 1\]'),
        ({'reconstruction': 0, 'output': 0, 'perceptual': 0}, 'no other term'),
    ],
)
def test_rejects_invalid_settings(changes, message):
    with pytest.raises(ValueError, match=message):
        run_config(**changes)


@settings(max_examples=20)
@given(share=st.floats(0, 1), temperature=st.floats(0.1, 10))
def test_configuration_is_read_back_as_written(tmp_path_factory, share, temperature):
    config = run_config(latent=share, temperature=temperature)
    path = tmp_path_factory.mktemp('run') / 'run.yaml'
    write_config(config, path)
    again = read_config(path)
    assert again.distillation == config.distillation
    assert (again.model, again.training) == (config.model, config.training)
    alone = replace(config, distillation=None)
    write_config(alone, path)
    assert read_config(path).distillation is None
