# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""The files in `config/`."""

import re
from pathlib import Path
from xml.etree import ElementTree

import pytest
import yaml

from sage_perception.bringup.graph import dual_camera, single_camera
from sage_perception.bringup.optional_nodes import OPTIONAL_NODES

CONFIG = Path(__file__).resolve().parents[2] / 'config'
PARAMS_FILES = ('single_camera.yaml', 'dual_camera.yaml', 'jetson_dual_csi.yaml')


def matches(key: str, path: str) -> bool:
    """Return whether a key of a parameter file matches a node, by the rules of rcl."""
    return re.fullmatch(key.replace('/*', r'(/\w+)'), '/' + path) is not None


@pytest.mark.parametrize('name', PARAMS_FILES)
def test_every_key_matches_a_node_of_the_graph(name):
    keys = yaml.safe_load((CONFIG / name).read_text())
    graph = single_camera if name.startswith('single') else dual_camera
    specs = graph(**{node.name: True for node in OPTIONAL_NODES})
    for key, content in keys.items():
        assert set(content) == {'ros__parameters'}
        assert any(matches(key, spec.path) for spec in specs), key
    for spec in specs:
        assert any(matches(key, spec.path) for key in keys), spec.path


@pytest.mark.parametrize(
    ('name', 'sources'),
    [
        ('single_camera.yaml', ['v4l2:///dev/video0']),
        ('dual_camera.yaml', ['v4l2:///dev/video0', 'v4l2:///dev/video2']),
        ('jetson_dual_csi.yaml', ['csi://0', 'csi://1']),
    ],
)
def test_every_camera_has_a_source(name, sources):
    keys = yaml.safe_load((CONFIG / name).read_text())
    for number, source in enumerate(sources):
        merged = {}
        for key, content in keys.items():
            if matches(key, f'robot1/cam{number}/camera'):
                merged.update(content['ros__parameters'])
        assert merged['source'] == source


@pytest.mark.parametrize(
    ('profile', 'segment', 'message'),
    [
        ('fastdds_shm.xml', 64 << 20, 16 << 20),  # with room for images
        ('fastdds_composed.xml', 64 << 20, 16 << 20),
        ('fastdds_small.xml', 8 << 20, 4 << 20),
    ],
)
def test_dds_profiles_share_memory_first(profile, segment, message):
    root = ElementTree.parse(CONFIG / profile).getroot()
    names = {'d': root.tag[1:].partition('}')[0]}
    transports = {
        node.find('d:transport_id', names).text: node
        for node in root.iterfind('.//d:transport_descriptor', names)
    }
    used = [node.text for node in root.iterfind('.//d:userTransports/d:transport_id', names)]
    kinds = [transports[name].find('d:type', names).text for name in used]
    assert kinds == ['SHM', 'UDPv4']
    shm = transports[used[0]]
    assert int(shm.find('d:segment_size', names).text) == segment
    assert int(shm.find('d:maxMessageSize', names).text) == message
    assert root.find('d:participant', names).get('is_default_profile') == 'true'


def displays(tree):
    for display in tree['Displays']:
        if display['Class'] == 'rviz_common/Group':
            yield from displays(display)
        else:
            yield display


def test_rviz_shows_every_image_reliably_by_relative_names():
    manager = yaml.safe_load((CONFIG / 'sage.rviz').read_text())['Visualization Manager']
    topics = {}
    shown = list(displays(manager))
    assert [display['Class'] for display in shown].count('rviz_default_plugins/TF') == 1
    for display in (each for each in shown if 'Topic' in each):
        topics[display['Topic']['Value']] = display['Class']
        assert display['Topic']['Reliability Policy'] == 'Reliable'
        assert display['Enabled'] is display['Value'] is True
    image, markers = 'rviz_default_plugins/Image', 'rviz_default_plugins/MarkerArray'
    assert topics == {
        'mosaic': image,
        **{f'{c}/crop_image': image for c in ('cam0', 'cam1')},
        **{f'{c}/reconstruction': image for c in ('cam0', 'cam1')},
        **{f'{c}/markers': markers for c in ('cam0', 'cam1')},
        'position_markers': markers,
    }
    assert manager['Global Options']['Fixed Frame'] == 'cam0_optical_frame'
