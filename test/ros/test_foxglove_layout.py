# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""`config/foxglove_layout.json`: panels, topics and message paths exist, and have values."""

import importlib
import json
import re
from pathlib import Path

import numpy as np
import pytest

from sage_perception.bags.reader import open_bag
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
    """The message class of each topic of the graph with two cameras, memory and Z-space."""
    found = {}
    for spec in dual_camera(memory=True, zspace=True):
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


@pytest.fixture(scope='module')
def recorded():
    """The messages of recorded graphs by topic, each from the newest bag that has it."""
    found = {}
    for path in sorted((Path(__file__).parents[1] / 'data' / 'bags').glob('sage_msgs_*/')):
        messages = {}
        with open_bag(path) as bag:
            for message in bag:
                decoded = bag.decode(message.topic, message.data)
                messages.setdefault(message.topic, []).append(decoded)
        found |= messages
    return found


def values_at(value, steps):
    """Yield the numbers that a message has at the steps of a path, such as `lcts[:]`, `trust`."""
    if not steps:
        yield value
        return
    name, _, index = steps[0].partition('[')
    inner = len(value) if name == 'length' else getattr(value, name)
    if not index:
        yield from values_at(inner, steps[1:])
        return
    part = slice(None) if index == ':]' else slice(int(index[:-1]), int(index[:-1]) + 1)
    for element in inner[part]:
        yield from values_at(element, steps[1:])


@pytest.mark.parametrize('path', PATHS)
def test_plotted_fields_have_values_in_a_recorded_graph(recorded, path):
    """A field may exist and be empty in all messages, as `lcts` of the arrays of an encoder."""
    topic, _, fields = PATH.fullmatch(path).groups()
    if topic not in recorded:
        pytest.skip(f'no recorded graph has {topic}')
    steps = fields.strip('.').split('.')
    found = [value for message in recorded[topic] for value in values_at(message, steps)]
    assert found
    assert np.isfinite(np.array(found, float)).all()


def test_other_panels_show_topics_of_the_graph(types):
    shown = {panel['topicToRender'] for panel in PANELS.values() if 'topicToRender' in panel}
    assert shown <= {*types, '/diagnostics', '/rosout'}
