# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""`config/foxglove_layout.json`: panels, topics and message paths exist in the graph."""

import importlib
import json
import re
from pathlib import Path

import pytest

from sage_perception.bringup.graph import dual_camera

LAYOUT = json.loads(
    (Path(__file__).resolve().parents[2] / 'config' / 'foxglove_layout.json').read_text()
)
PANELS = LAYOUT['configById']
# Panels of Foxglove by the part of their id before the exclamation mark.
TYPES = {'Image', 'Plot', 'DiagnosticSummary', 'RosOut', 'RawMessages', 'StateTransitions'}
# A topic, and the fields below it, such as /fused.lcts[:].trust or /a{b=="c"}.d
PATH = re.compile(r'(/[\w/]+)(?:\{(\w+)==[^}]+\})?((?:\.\w+(?:\[(?::|\d+)\])?)*)')


@pytest.fixture(scope='module')
def types():
    """The message class of each topic of the graph with two cameras and memory."""
    found = {}
    for spec in dual_camera(memory=True):
        module = importlib.import_module(f'sage_perception.nodes.{spec.executable}')
        node = next(
            value
            for value in vars(module).values()
            if isinstance(value, type) and value.__module__ == module.__name__
            if hasattr(value, 'PUBLISHES')
        )
        for topic in node.PUBLISHES:
            for camera in ('cam0', 'cam1') if '{camera}' in topic.name else (None,):
                name = topic.name.format(camera=camera)
                found[f'/{spec.namespace}/{name}'.replace('//', '/')] = topic.type
    return found


def leaves(tree):
    """Yield the panel ids of a layout tree."""
    if isinstance(tree, str):
        yield tree
        return
    assert tree['direction'] in ('row', 'column')
    assert 0 < tree['splitPercentage'] < 100
    yield from leaves(tree['first'])
    yield from leaves(tree['second'])


def test_every_panel_is_placed_once_and_known():
    placed = list(leaves(LAYOUT['layout']))
    assert sorted(placed) == sorted(PANELS)
    assert {panel.partition('!')[0] for panel in PANELS} <= TYPES


def test_images_are_topics_of_the_graph(types):
    for name, panel in PANELS.items():
        if name.startswith('Image!'):
            mode = panel['imageMode']
            assert types[mode['imageTopic']].__name__ in ('Image', 'CompressedImage')
            if 'calibrationTopic' in mode:
                assert types[mode['calibrationTopic']].__name__ == 'CameraInfo'


PATHS = [path['value'] for panel in PANELS.values() for path in panel.get('paths', ())]


@pytest.mark.parametrize('path', PATHS)
def test_plotted_fields_are_numbers_of_messages(types, path):
    match = PATH.fullmatch(path)
    assert match, path
    topic, filtered, fields = match.groups()
    kind = types[topic]
    if filtered:
        assert filtered in kind.get_fields_and_field_types()
    for step in fields.strip('.').split('.'):
        name, _, index = step.partition('[')
        if name == 'length':  # of the array before it
            return
        declared = kind.get_fields_and_field_types()[name]
        is_array = declared.startswith('sequence<') or declared.endswith(']')
        element = declared.removeprefix('sequence<').split(',')[0].split('[')[0].rstrip('>')
        if '/' in element:
            package, _, message = element.partition('/')
            kind = getattr(importlib.import_module(f'{package}.msg'), message)
        elif not index:
            assert not is_array
    assert re.fullmatch(r'float|double|u?int\d+', element), f'{path} is {element}'
