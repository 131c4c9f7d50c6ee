# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Discovery of refinement plugins, and the command that lists them."""

import importlib.metadata

import pytest

from sage_perception.cli import irp as command
from sage_perception.irp import available, discovery, load
from sage_perception.irp.tinyvae import TinyVAEIRP


def test_finds_the_plugins_of_this_package():
    assert {'tinyvae', 'adaptive_vae'} <= set(available())


def test_loads_a_plugin_with_its_options():
    assert isinstance(load('tinyvae', model='tinyvae'), TinyVAEIRP)


@pytest.mark.parametrize(
    ('name', 'message'),
    [
        ('x', "unknown IRP plugin 'x'; installed: no_module, no_plugin"),
        ('no_module', "cannot import the IRP plugin 'no_module': No module"),
        ('no_plugin', "the IRP plugin 'no_plugin' is math:sqrt, not an IRPPlugin"),
    ],
)
def test_names_a_plugin_that_cannot_be_loaded(monkeypatch, name, message):
    points = [
        importlib.metadata.EntryPoint('no_module', 'no_such_module:Plugin', discovery.GROUP),
        importlib.metadata.EntryPoint('no_plugin', 'math:sqrt', discovery.GROUP),
    ]
    monkeypatch.setattr(discovery, 'entry_points', lambda group: points)
    with pytest.raises(ValueError, match=message):
        load(name)


def test_the_command_lists_name_class_and_package(capsys):
    assert command.main(['list']) == 0
    lines = capsys.readouterr().out.splitlines()
    assert any(
        line.split()[:2] == ['tinyvae', 'sage_perception.irp.tinyvae:TinyVAEIRP'] for line in lines
    )
