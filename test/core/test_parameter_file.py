# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Parameter files read without nodes, with the rules of rcl."""

import re
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from sage_perception.ros.node_parameters.arbiter import ARBITER
from sage_perception.ros.node_parameters.encoder import ENCODER
from sage_perception.ros.parameter_file import ParameterFile, matches

CONFIG = Path(__file__).resolve().parents[2] / 'config'


def parameter_file(tmp_path, text):
    path = tmp_path / 'params.yaml'
    path.write_text(text)
    return ParameterFile(path)


@pytest.mark.parametrize(
    ('pattern', 'matching', 'other'),
    [
        ('/**', ['/encoder', '/cam0/encoder', '/a/b/encoder'], []),
        ('/**/encoder', ['/encoder', '/cam0/encoder', '/a/b/encoder'], ['/cam0/attention']),
        ('/*/encoder', ['/cam0/encoder'], ['/encoder', '/a/b/encoder']),
        ('/cam*/encoder', ['/cam0/encoder', '/cam/encoder'], ['/rear/encoder', '/cam0/x/encoder']),
        ('cam0/encoder', ['/cam0/encoder'], ['/cam1/encoder', '/a/cam0/encoder']),
        ('/**/cam0/encoder', ['/cam0/encoder', '/a/cam0/encoder'], ['/cam1/encoder']),
    ],
)
def test_patterns(tmp_path, pattern, matching, other):
    file = parameter_file(tmp_path, f'{pattern}:\n  ros__parameters:\n    model: x\n')
    assert all(file.of(node) == {'model': 'x'} for node in matching)
    assert all(file.of(node) == {} for node in other)


parts = st.text('ab*', min_size=1, max_size=4).filter(lambda part: '***' not in part)
names = st.text('ab', min_size=1, max_size=4)


@given(st.lists(parts, min_size=1, max_size=4), st.lists(names, min_size=1, max_size=4))
@example(['a*b'], ['ab'])
@example(['ab*ba'], ['aba'])
@example(['**', 'a', '**'], ['a'])
def test_patterns_match_as_their_regular_expression(pattern, node):
    any_names, any_characters = '(/[ab]+)*', '[ab]*'
    expression = ''.join(
        any_names if part == '**' else '/' + re.sub(r'\*+', any_characters, part)
        for part in pattern
    )
    expected = re.fullmatch(expression, '/' + '/'.join(node)) is not None
    assert matches('/'.join(pattern), '/' + '/'.join(node)) == expected


def test_a_pattern_of_many_wildcards_takes_no_time(tmp_path):
    for pattern in ('a*' * 300 + 'b', '**/' * 300 + 'b'):
        file = parameter_file(tmp_path, f'"{pattern}":\n  ros__parameters:\n    model: x\n')
        assert file.of('/' + '/'.join(['a' * 60] * 4)) == {}


def test_last_section_wins_and_namespaces_and_names_may_be_nested(tmp_path):
    file = parameter_file(
        tmp_path,
        '/**: {ros__parameters: {model: a, device: cpu}}\n'
        'cam0: {encoder: {ros__parameters: {model: b, part: {one: 1}}}}\n',
    )
    assert file.of('/cam0/encoder') == {'model': 'b', 'device': 'cpu', 'part.one': 1}
    assert file.of('/cam1/encoder') == {'model': 'a', 'device': 'cpu'}


@pytest.mark.parametrize('name', ['single_camera', 'dual_camera', 'jetson_dual_csi'])
def test_shipped_files_have_known_values(name):
    file = ParameterFile(CONFIG / f'{name}.yaml')
    values, notes = file.resolve('/cam0/encoder', ENCODER)
    assert (values['model'], values['refine_budget_ms'], notes) == ('tinyvae', 0.0, [])
    assert file.resolve('/arbiter', ARBITER)[0]['sync_timeout_s'] == 0.15


def test_values_are_checked_and_overrides_take_precedence(tmp_path):
    file = parameter_file(
        tmp_path, '/arbiter:\n  ros__parameters: {agreement_threshold: 1, agreement_treshold: 2}\n'
    )
    values, notes = file.resolve('/arbiter', ARBITER)
    assert values['agreement_threshold'] == 1.0
    assert notes == [
        "/arbiter: ignoring unknown parameter 'agreement_treshold': "
        'did you mean agreement_threshold?'
    ]
    values, _ = file.resolve('/arbiter', ARBITER, {'agreement_threshold': 0.5})
    assert values['agreement_threshold'] == 0.5


@pytest.mark.parametrize(
    ('text', 'message'),
    [
        ('/arbiter: 3', '/arbiter is not a mapping; a parameter file maps each node to'),
        ('/arbiter: {ros__parameters: 3}', 'ros__parameters of /arbiter is not a mapping'),
        ('[]', 'the file holds a list, expected a mapping'),
        ('/arbiter: {ros__parameters: {agreement_threshold: 2.0}}', "'agreement_threshold': 2.0"),
        ('/arbiter: {ros__parameters: {model: 3}}', "'model': 3 is not a string"),
    ],
)
def test_invalid_file_is_named(tmp_path, text, message):
    with pytest.raises(ValueError, match=r'params\.yaml') as error:
        parameter_file(tmp_path, text).resolve('/arbiter', ARBITER)
    assert message in str(error.value)
