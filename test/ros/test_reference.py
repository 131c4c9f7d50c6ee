# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""The reference and the parameter files agree with the tables of the nodes."""

import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from sage_perception.bringup.graph import NODES
from sage_perception.bringup.node_class import node_class
from sage_perception.cli.main import COMMANDS, usage

ROOT = Path(__file__).resolve().parents[2]
# Parameters that the graph sets itself, and the URIs of the cameras.
SET_BY_THE_GRAPH = {'source', 'cameras'}


def test_reference_is_up_to_date():
    command = [sys.executable, str(ROOT / 'tools' / 'make_docs.py'), '--check']
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize('path', sorted((ROOT / 'config').glob('*.yaml')), ids=lambda p: p.name)
def test_parameter_files_have_the_defaults_of_the_code(path):
    for key, content in yaml.safe_load(path.read_text()).items():
        table = {p.name: p for p in node_class(f'{key.rpartition("/")[2]}_node').PARAMETERS}
        for name, value in content['ros__parameters'].items():
            assert table[name].check(value) == value
            if name not in SET_BY_THE_GRAPH:
                assert value == table[name].default, f'{path.name}: {key} {name}'


@pytest.mark.parametrize('name', NODES)
def test_every_parameter_has_a_description_and_a_valid_default(name):
    for parameter in node_class(f'{name}_node').PARAMETERS:
        assert parameter.description
        assert parameter.check(parameter.default) == parameter.default


def test_no_topic_is_published_by_two_kinds_of_nodes():
    tables = {name: node_class(f'{name}_node').PUBLISHES for name in NODES}
    topics = [(topic.name, name) for name, table in tables.items() for topic in table]
    publishers = {topic: [n for t, n in topics if t == topic] for topic, _ in topics}
    assert {topic: names for topic, names in publishers.items() if len(names) > 1} == {}


def test_help_lists_every_command_once():
    lines = usage().splitlines()
    for name, command in COMMANDS.items():
        assert [line for line in lines if line.startswith(f'  {name:<16} ')] == [
            f'  {name:<16} {command.help}'
        ]


def test_every_node_is_part_of_graphs():
    files = {path.stem for path in (ROOT / 'sage_perception' / 'nodes').glob('*_node.py')}
    assert files - {'container_node'} == {f'{name}_node' for name in NODES}
