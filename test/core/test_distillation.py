# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Distillation: what each of the five terms pulls at, and that it is gone when switched off."""

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
from sage_perception.training.tasks import distillation
from sage_perception.training.tasks.distillation_module import (
    DistillationModule,
    Projection,
    softened_divergence,
)

pytestmark = pytest.mark.usefixtures('one_thread')

SMALL = {'img_size': 32, 'encoder_width': 16, 'decoder_width': 12}
TERMS = ('reconstruction', 'kl', 'latent', 'output', 'perceptual')
ALL = DistillationConfig(teacher='teacher', batch_share=1)
NONE = dict.fromkeys(TERMS, 0)


@pytest.fixture
def images():
    """Return smooth random images, float32 `[8, 3, 32, 32]`."""
    return smooth(8)


def smooth(count):
    coarse = torch.rand(count, 3, 5, 5)
    return torch.nn.functional.interpolate(coarse, size=32, mode='bicubic').clamp(0, 1)


def network(dims):
    return TinyVAE(TinyVAEConfig(latent_dim=dims, **SMALL))


def distiller(config=ALL, dims=6, teacher_dims=20):
    wants_teacher = config.latent or config.output
    teacher = network(teacher_dims) if wants_teacher else None
    return DistillationModule(network(dims), TrainingConfig(ssim_from=2.0), config, teacher)


def terms_of(module, x):
    return module.terms(x, *module.model(x))


numbers = st.floats(-3, 3)
variances = st.floats(0.01, 5)


@given(mean_p=numbers, mean_q=numbers, var_p=variances, var_q=variances, t=st.floats(0.3, 10))
def test_softened_divergence_is_that_of_the_softened_gaussians(mean_p, mean_q, var_p, var_q, t):
    def soft(mean, var):  # the density to the power 1/T², normalized
        return Normal(torch.tensor(mean).double(), t * math.sqrt(var))

    expected = t**2 * kl_divergence(soft(mean_p, var_p), soft(mean_q, var_q))
    values = torch.tensor([mean_p, var_p, mean_q, var_q]).double()
    found = softened_divergence(*values, t)
    torch.testing.assert_close(found, expected.to(found), atol=1e-4, rtol=1e-4)


@given(miss=st.floats(0.1, 3), var_p=variances, t=st.floats(0.5, 10))
def test_temperature_says_how_much_of_a_miss_is_blamed_on_the_spread(miss, var_p, t):
    best = torch.tensor(var_p + miss**2 / t**2, dtype=torch.float64, requires_grad=True)
    one = torch.ones((), dtype=torch.float64)
    softened_divergence(miss * one, var_p * one, 0 * one, best, t).backward()
    assert abs(best.grad) < 1e-6


def test_projection_starts_at_least_squares_and_knows_what_is_left():
    student = torch.randn(500, 4)
    told = student @ torch.randn(4, 9) + torch.randn(9)
    noise = torch.linspace(0.1, 2, 9)
    projection = Projection(4, 9)
    missed = noise * torch.randn(500, 9)
    projection.fit(student, told + missed, torch.full((500, 9), 0.25), temperature=2)
    mean, variance = projection(student, torch.full((500, 4), -30.0))
    assert (mean - told).abs().mean() < 0.15
    torch.testing.assert_close(variance[0], 0.25 + noise**2 / 4, rtol=0.2, atol=0)
    blurred = projection(student, torch.zeros(500, 4))[1]
    carried = projection.linear.weight.square().sum(1)
    torch.testing.assert_close(blurred - variance, carried.expand(500, 9))


def test_at_the_defaults_own_terms_weigh_what_they_weigh_without_a_teacher(images):
    module = distiller()
    outputs = module.model.eval()(images)
    ours = module.terms(images, *outputs)
    plain = super(DistillationModule, module).terms(images, *outputs)
    torch.testing.assert_close({name: ours[name] for name in plain}, plain)
    assert set(ours) == {'error', 'kl', 'latent', 'output', 'perceptual'}


@pytest.mark.parametrize('name', TERMS)
def test_each_term_alone_is_lowered_by_training_on_it(images, name):
    # Divergence alone is refused, it says nothing of images: beside it the least of another.
    module = distiller(replace(ALL, **{**NONE, 'reconstruction': 1e-9, name: 1.0}))
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
def test_a_term_that_is_off_is_neither_computed_nor_asked_for(images, name, monkeypatch):
    config = replace(ALL, **{name: 0})
    if name == 'perceptual':
        monkeypatch.setattr(perceptual, 'perceptual_distance', None)  # a call would raise
    module = distiller(config)
    if name == 'output':
        monkeypatch.setattr(module.teacher.network, 'decode', None)
    terms = terms_of(module, images)
    assert {'reconstruction': 'error'}.get(name, name) not in terms
    assert len(terms) == 4
    assert (module.projection is None) == (name == 'latent')


def test_without_teacher_terms_no_teacher_is_needed(images):
    module = distiller(DistillationConfig(latent=0, output=0))
    assert module.teacher is None
    assert set(terms_of(module, images)) == {'error', 'kl', 'perceptual'}


def gradient(module, x):
    """Return the gradient at the student's parameters of its latent term, in one vector."""
    module.zero_grad()
    terms_of(module.eval(), x)['latent'].backward()
    return torch.cat([p.grad.flatten() for p in module.model.encoder.parameters()])


def test_temperature_changes_what_the_student_learns(images):
    module = distiller()
    with torch.no_grad():  # a teacher that resolves some of its numbers finely, others coarsely
        module.teacher.network.encoder.log_var.bias.copy_(torch.linspace(-9, 0, 20))
    others = smooth(64)
    directions = []
    for temperature in (0.3, 3.0):
        module.distillation = replace(ALL, temperature=temperature)
        module.fit_projection(others)
        directions.append(torch.nn.functional.normalize(gradient(module, images), dim=0))
        assert directions[-1].isfinite().all()
    assert (directions[0] @ directions[1]).item() < 0.97


def test_the_teacher_is_asked_about_a_share_of_the_batch(images, monkeypatch):
    module = distiller(replace(ALL, batch_share=0.25))
    sizes = []
    encode = module.teacher.encode
    monkeypatch.setattr(module.teacher, 'encode', lambda x: (sizes.append(len(x)), encode(x))[1])
    terms_of(module, images)
    assert sizes == [2]


def test_the_teacher_does_not_learn_and_is_in_no_checkpoint(images):
    module = distiller()
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
    wanted = replace(DistillationConfig(teacher='tinyvae'), **changes)
    return RunConfig(
        'n', '1', 'tinyvae', TinyVAEConfig(**SMALL), DataConfig('d'), TrainingConfig(), '', wanted
    )


def test_mistakes_with_the_teacher_are_named(monkeypatch):
    config = run_config()
    with pytest.raises(ConfigError, match='teacher tinyvae has img_size 64, the model has 32'):
        distillation.new_distillation(network(4), config)
    with pytest.raises(ModelError, match='nowhere'):
        distillation.new_distillation(network(4), run_config(teacher='nowhere'))
    monkeypatch.setattr(perceptual, 'installed', lambda: False)
    with pytest.raises(ConfigError, match='perceptual requires a network: pip install'):
        distillation.new_distillation(network(4), config)


@pytest.mark.parametrize(
    ('changes', 'message'),
    [
        ({'teacher': ''}, 'teacher is missing'),
        ({'latent': -1}, 'latent is -1, it must be a number of at least 0'),
        ({'temperature': 0}, 'temperature is 0, it must be a number above 0'),
        ({'batch_share': 0}, r'batch_share is 0, it must be a number in \(0, 1\]'),
        ({'reconstruction': 0, 'output': 0, 'perceptual': 0}, 'no other term'),
    ],
)
def test_mistakes_in_the_section_are_named(changes, message):
    with pytest.raises(ValueError, match=message):
        run_config(**changes)


@settings(max_examples=20)
@given(share=st.floats(0, 1), temperature=st.floats(0.1, 10))
def test_a_configuration_survives_its_file(tmp_path_factory, share, temperature):
    config = run_config(latent=share, temperature=temperature)
    path = tmp_path_factory.mktemp('run') / 'run.yaml'
    write_config(config, path)
    again = read_config(path)
    assert again.distillation == config.distillation
    assert (again.model, again.training) == (config.model, config.training)
    alone = replace(config, distillation=None)
    write_config(alone, path)
    assert read_config(path).distillation is None
