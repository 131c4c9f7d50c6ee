# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""What is written of the nodes is what they are."""

import importlib
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
# What a graph decides for itself, and the cameras' addresses.
OF_THE_GRAPH = {'source', 'cameras'}


def node_class(name):
    module = importlib.import_module(f'sage_perception.nodes.{name}_node')
    return getattr(module, f'{name.capitalize()}Node')


def test_the_reference_in_the_readme_is_up_to_date():
    command = [sys.executable, str(ROOT / 'tools' / 'make_docs.py'), '--check']
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize('path', sorted((ROOT / 'config').glob('*.yaml')), ids=lambda p: p.name)
def test_parameter_files_hold_the_defaults_of_the_code(path):
    for key, content in yaml.safe_load(path.read_text()).items():
        table = {p.name: p for p in node_class(key.rpartition('/')[2]).PARAMETERS}
        for name, value in content['ros__parameters'].items():
            assert table[name].check(value) == value
            if name not in OF_THE_GRAPH:
                assert value == table[name].default, f'{path.name}: {key} {name}'


@pytest.mark.parametrize(
    'name', ['camera', 'attention', 'encoder', 'arbiter', 'viewer', 'memory', 'compressor']
)
def test_every_parameter_is_described_and_its_default_is_allowed(name):
    for parameter in node_class(name).PARAMETERS:
        assert parameter.description
        default = parameter.default
        assert parameter.check(default) == default
