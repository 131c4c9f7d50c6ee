# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Training configurations: reading, writing, and one-line errors."""

import re
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from sage_perception.training.config import ConfigError, read_config, write_config

SHIPPED = sorted((Path(__file__).resolve().parents[2] / 'config/train').glob('*.yaml'))
CODEC = {'name': 'n', 'version': '1', 'model': {}, 'data': {'root': 'd'}, 'training': {}}
COMPRESSOR = CODEC | {'family': 'h_to_l', 'contexts': {}}


@pytest.fixture
def error_of(tmp_path):
    """Return a function that reads a text and returns the error message without the path."""

    def read(text):
        path = tmp_path / 'c.yaml'
        path.write_text(text)
        with pytest.raises(ConfigError, match=re.escape(str(path))) as raised:
            read_config(path)
        message = str(raised.value)
        assert '\n' not in message
        return message.removeprefix(str(path))

    return read


@pytest.mark.parametrize('path', SHIPPED, ids=lambda path: path.stem)
def test_shipped_configurations_are_read_back_as_written(path, tmp_path):
    config = read_config(path)
    write_config(config, tmp_path / 'run.yaml')
    assert read_config(tmp_path / 'run.yaml') == config


def test_a_string_is_one_pattern_and_a_number_is_a_string(tmp_path):
    path = tmp_path / 'c.yaml'
    data = {'root': 2024, 'held_out': '*b.png', 'exclude': []}
    path.write_text(yaml.safe_dump(CODEC | {'version': 3, 'data': data}))
    config = read_config(path)
    assert (config.version, config.data.root) == ('3', '2024')
    assert (config.data.held_out, config.data.exclude) == (('*b.png',), ())


def test_like_inherits_the_data_section_of_another_file(tmp_path):
    first, other = tmp_path / 'first.yaml', tmp_path / 'other.yaml'
    first.write_text(yaml.safe_dump(CODEC | {'data': {'root': 'd', 'held_out': ['a', 'b']}}))
    other.write_text(yaml.safe_dump(CODEC | {'data': {'like': first.name, 'smallest': 100}}))
    base, derived = (read_config(path).data for path in (first, other))
    assert derived == replace(base, smallest=100)


@pytest.mark.parametrize(
    ('changes', 'message'),
    [
        ({'epoch': 0}, 'epoch is 0; it must be an integer of at least 1'),
        ({'steps': -4}, 'steps is -4; it must be an integer of at least 1'),
        ({'steps': 'abc'}, "steps is 'abc'; it must be an integer of at least 1"),
        ({'steps': '2e4'}, "steps is '2e4'; it must be an integer of at least 1"),
        ({'steps': True}, 'steps is True; it must be an integer of at least 1'),
        ({'steps': 17, 'epoch': 8}, 'steps is 17, not a multiple of epoch 8'),
        ({'batch': 0}, 'batch is 0; it must be an integer of at least 1'),
        ({'warmup': 0}, 'warmup is 0; it must be an integer of at least 1'),
        ({'ema': 2}, 'ema is 2; it must be a number in [0, 1]'),
        ({'learning_rate': -1}, 'learning_rate is -1; it must be a number of at least 0'),
        (
            {'learning_rate': '1e-3'},
            "learning_rate is '1e-3'; it must be a number of at least 0: write 1.0e-3",
        ),
        ({'beta': float('nan')}, 'beta is nan; it must be a number of at least 0'),
        ({'beta': float('inf')}, 'beta is inf; it must be a number of at least 0'),
        ({'squared_first': 1}, 'squared_first is 1; it must be true or false'),
        (
            {'precision': 'fp16'},
            "precision is 'fp16'; it must be one of 32-true, 16-mixed, bf16-mixed",
        ),
        ({'patience': -1}, 'patience is -1; it must be an integer of at least 0'),
        ({'seed': 2**32}, 'seed is 4294967296; it must be an integer in [0, 4294967295]'),
        ({'setps': 3}, 'setps is unknown: did you mean steps?'),
    ],
)
def test_rejects_invalid_training_settings(error_of, changes, message):
    assert error_of(yaml.safe_dump(CODEC | {'training': changes})) == f': training.{message}'


@pytest.mark.parametrize(
    ('changes', 'message'),
    [
        (
            {'training': {'xyz': 3}},
            'training.xyz is unknown: expected one of steps, batch, learning_',
        ),
        ({'training': None}, 'training is empty; it must be a mapping of steps, batch'),
        ({'training': [1]}, 'training is [1]; it must be a mapping of steps, batch'),
        ({'data': 'out'}, "data is 'out'; it must be a mapping of root"),
        ({'data': {}}, 'data.root is missing'),
        (
            {'data': {'root': 'd', 'smallest': 7}},
            'data.smallest is 7; it must be an integer of at least 8',
        ),
        (
            {'data': {'root': 'd', 'held_out': [1]}},
            'data.held_out is (1,); it must be a list, each item',
        ),
        (
            {'data': {'root': 'd', 'exclude': None}},
            'data.exclude is empty; it must be a list, each item',
        ),
        ({'data': {'like': 'c.yaml'}}, "data.like is 'c.yaml': name a file whose section data"),
        (
            {'model': {'latent_dim': 16.5}},
            'model.latent_dim is 16.5; it must be an integer of at least 1',
        ),
        (
            {'model': {'latent_dim': -3}},
            'model.latent_dim is -3; it must be an integer of at least 1',
        ),
        ({'model': {'latent_dims': 3}}, 'model.latent_dims is unknown: did you mean latent_dim'),
        (
            {'model': {'input_channels': 3.0}},
            'model.input_channels is 3.0; it must be one of 1, 3',
        ),
        ({'model': {'img_size': 65}}, 'model.img_size is 65; it must be 32, 64'),
        (
            {'family': 'lightweight', 'model': {'img_size': '224'}},
            "model.img_size is '224'; it must",
        ),
        (
            {'distillation': {'temprature': 3}},
            'distillation.temprature is unknown: did you mean tem',
        ),
        ({'distillation': {'latent': 1}}, 'distillation.teacher is missing'),
        (
            {'distillation': {'batch_share': 0}},
            'distillation.batch_share is 0; it must be a number in (0, 1]',
        ),
        ({'distillation': None}, 'distillation is empty; it must be a mapping of teacher'),
        ({'name': None}, 'name is empty; it must be a string'),
        (
            {'family': 'vae'},
            "family is 'vae'; it must be one of tinyvae, lightweight, identity, codes, h_to_l",
        ),
        ({'family': [1]}, 'family is [1]; it must be one of'),
        ({'trainig': {}}, 'trainig is unknown: did you mean training'),
        ({'contexts': {}}, 'contexts is for family h_to_l, not tinyvae: remove it'),
        ({'family': 'h_to_l'}, 'contexts is missing: family h_to_l learns from contexts'),
    ],
)
def test_rejects_invalid_sections(error_of, changes, message):
    assert error_of(yaml.safe_dump(CODEC | changes)).startswith(f': {message}')


@pytest.mark.parametrize(
    ('changes', 'message'),
    [
        ({'contexts': {'runs': 0}}, 'contexts.runs is 0; it must be an integer of at least 1'),
        (
            {'contexts': {'montages': -1}},
            'contexts.montages is -1; it must be an integer of at least 0',
        ),
        ({'encoder': 'tinyvae'}, 'encoder cannot be combined with contexts'),
        (
            {'distillation': {'teacher': 'tinyvae'}},
            'distillation cannot be combined with contexts',
        ),
        ({'model': {'variant': 'best'}}, "model.variant is 'best'; it must be one of bottleneck"),
        ({'model': {'width': 50}}, 'model.width is 50; it must be a multiple'),
        ({'model': {'groups': {'a': 5}}}, 'model.groups.a is 5; it must be a mapping of count'),
        ({'model': {'groups': {'a': {'count': 1}}}}, 'model.groups.a.parts is missing'),
    ],
)
def test_rejects_invalid_configurations_of_compressors(error_of, changes, message):
    assert error_of(yaml.safe_dump(COMPRESSOR | changes)).startswith(f': {message}')


@pytest.mark.parametrize(
    ('text', 'message'),
    [
        ('', ': the file is empty, expected a mapping'),
        ('- name', ': the file holds a list, expected a mapping'),
        ('name: a\nmodel: {}', ': version is missing'),
        ('name: a\ntraining:\n  steps: [4\n  batch: 3', ", line 4: expected ',' or ']'"),
        ('name: \0', ': unacceptable character #x0000'),
        ('name: 2026-13-01', ': month must be in 1..12'),
        ('name: !!timestamp x', ': a tagged value does not match its tag'),
        ('a: &a [1]\nname: *a', ', line 2: alias *a is not allowed'),
        ('a: ' + 40 * '[' + 40 * ']', ', line 1: more than 32 nested levels'),
    ],
)
def test_rejects_files_that_are_not_configurations(error_of, text, message):
    assert error_of(text).startswith(message)


def test_rejects_like_without_its_file(error_of, tmp_path):
    message = error_of(yaml.safe_dump(CODEC | {'data': {'like': 'none.yaml'}}))
    assert message == f': {tmp_path / "none.yaml"}: no such file or directory'
