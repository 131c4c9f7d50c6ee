# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""The node graphs as data, and the files in `config/` that go with them."""

import fcntl
import os
import re
from pathlib import Path
from xml.etree import ElementTree

import pytest
import yaml

from sage_perception.bringup import environment as runtime
from sage_perception.bringup.environment import DeathRecord
from sage_perception.bringup.graph import Camera, dual_camera, fleet, single_camera

CONFIG = Path(__file__).resolve().parents[2] / 'config'
PARAMS_FILES = ('single_camera.yaml', 'dual_camera.yaml', 'jetson_dual_csi.yaml')


def paths(specs):
    return [spec.path for spec in specs]


def by_path(specs):
    return {spec.path: spec for spec in specs}


def test_each_camera_has_its_nodes_and_the_graph_one_arbiter_and_viewer():
    assert paths(single_camera()) == [
        'cam0/camera',
        'cam0/attention',
        'cam0/encoder',
        'arbiter',
        'viewer',
    ]
    assert paths(dual_camera()) == [
        f'{camera}/{node}'
        for camera in ('cam0', 'cam1')
        for node in ('camera', 'attention', 'encoder')
    ] + ['arbiter', 'viewer']
    assert by_path(dual_camera())['cam1/encoder'].executable == 'encoder_node'


def test_a_graph_decides_no_more_than_it_is_asked_to():
    given = {spec.path: dict(spec.parameters) for spec in dual_camera() if spec.parameters}
    cameras = {'cameras': ['cam0', 'cam1']}
    assert given == {'arbiter': cameras, 'viewer': cameras}


def test_options_reach_the_nodes_that_have_them():
    specs = by_path(
        single_camera(
            [Camera('left', 'csi://0')],
            device='cpu',
            autostart=False,
            use_sim_time=True,
            viewer=False,
        )
    )
    assert specs['left/camera'].parameters == {
        'source': 'csi://0',
        'autostart': False,
        'use_sim_time': True,
    }
    assert specs['left/encoder'].parameters == {
        'device': 'cpu',
        'autostart': False,
        'use_sim_time': True,
    }
    assert specs['left/attention'].parameters == {'use_sim_time': True}
    assert specs['arbiter'].parameters == {'cameras': ['left'], 'use_sim_time': True}
    assert 'viewer' not in specs


def test_an_image_topic_stands_in_for_the_camera_node():
    specs = by_path(dual_camera([Camera('cam0', topic='/front/image_raw'), Camera('cam1')]))
    assert 'cam0/camera' not in specs
    assert 'cam1/camera' in specs
    assert specs['cam0/attention'].remappings == (('image_raw', '/front/image_raw'),)
    assert specs['viewer'].remappings == (
        ('cam0/image_raw', '/front/image_raw'),
        ('cam0/camera_info', '/front/camera_info'),
    )
    assert specs['cam1/attention'].remappings == ()


def test_a_namespace_holds_the_whole_graph():
    inside = dual_camera(namespace='/robot1/')
    assert paths(inside) == [f'robot1/{path}' for path in paths(dual_camera())]


def test_robots_of_a_fleet_share_neither_names_nor_frames():
    specs = fleet(['r1', 'r2'], namespace='site')
    assert len(set(paths(specs))) == len(specs) == 2 * len(dual_camera())
    frames = [s.parameters['frame_id'] for s in specs if s.name == 'camera']
    assert frames == [f'{r}/{c}_optical_frame' for r in ('r1', 'r2') for c in ('cam0', 'cam1')]
    assert 'site/r2/cam1/camera' in paths(specs)


def test_no_absolute_names():
    for spec in fleet(['r1']):
        assert not spec.namespace.startswith('/')
        assert not any(name.startswith('/') for pair in spec.remappings for name in pair)


@pytest.mark.parametrize(
    ('build', 'message'),
    [
        (lambda: Camera('front cam'), "camera name 'front cam'"),
        (lambda: Camera('cam0', topic='image_raw'), 'must be absolute'),
        (lambda: Camera('cam0', 'csi://0', '/image'), 'give one of them'),
        (lambda: dual_camera([Camera('a'), Camera('a')]), 'different names'),
        (lambda: dual_camera([Camera('a')]), 'two cameras, not 1'),
        (lambda: single_camera([]), 'one camera, not 0'),
        (lambda: single_camera(namespace='a//b'), "namespace 'a//b'"),
        (lambda: single_camera(respawn_delay_s=-1.0), 'negative'),
        (lambda: fleet(['r1', 'r1']), 'different names'),
        (lambda: fleet([]), 'different names'),
    ],
)
def test_what_ros_would_refuse_is_refused_by_name(build, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        build()


# --- when a node is given up --------------------------------------------------------------------


def test_five_deaths_within_the_window_are_too_many():
    deaths = DeathRecord(respawn=True)
    assert [deaths.verdict(1, t) for t in (0.0, 7.0, 14.0, 21.0)] == [None] * 4
    assert 'died 5 times within 30 s' in deaths.verdict(-9, 28.0)


def test_deaths_that_are_far_apart_are_forgiven():
    deaths = DeathRecord(respawn=True)
    assert all(deaths.verdict(1, 8.0 * n) is None for n in range(50))


def test_a_configuration_error_and_respawn_off_end_it_at_once():
    assert 'configuration error' in DeathRecord(respawn=True).verdict(2, 0.0)
    assert 'killed by signal 11' in DeathRecord(respawn=False).verdict(-11, 0.0)


# --- config/ ------------------------------------------------------------------------------------


def matches(key: str, path: str) -> bool:
    """Tell whether a key of a parameter file means a node, as rcl decides it."""
    return re.fullmatch(key.replace('/*', r'(/\w+)'), '/' + path) is not None


@pytest.mark.parametrize('name', PARAMS_FILES)
def test_every_key_of_a_parameter_file_means_a_node_of_its_graph(name):
    keys = yaml.safe_load((CONFIG / name).read_text())
    graph = single_camera if name.startswith('single') else dual_camera
    specs = graph(memory=True, compressor=True)
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
def test_every_camera_has_a_source_by_default(name, sources):
    keys = yaml.safe_load((CONFIG / name).read_text())
    for number, source in enumerate(sources):
        merged = {}
        for key, content in keys.items():
            if matches(key, f'robot1/cam{number}/camera'):
                merged.update(content['ros__parameters'])
        assert merged['source'] == source


def test_the_dds_profile_makes_room_for_images():
    root = ElementTree.parse(CONFIG / 'fastdds_shm.xml').getroot()
    names = {'d': root.tag[1:].partition('}')[0]}
    transports = {
        node.find('d:transport_id', names).text: node
        for node in root.iterfind('.//d:transport_descriptor', names)
    }
    used = [node.text for node in root.iterfind('.//d:userTransports/d:transport_id', names)]
    kinds = [transports[name].find('d:type', names).text for name in used]
    assert kinds == ['SHM', 'UDPv4']
    shm = transports[used[0]]
    assert int(shm.find('d:segment_size', names).text) == 64 * 2**20
    assert int(shm.find('d:maxMessageSize', names).text) == 16 * 2**20
    assert root.find('d:participant', names).get('is_default_profile') == 'true'


@pytest.mark.parametrize(
    'environment',
    [
        {'FASTDDS_DEFAULT_PROFILES_FILE': '/mine.xml'},
        {'FASTRTPS_DEFAULT_PROFILES_FILE': '/mine.xml'},
        {'FASTDDS_BUILTIN_TRANSPORTS': 'UDPv4'},
        {'RMW_IMPLEMENTATION': 'rmw_cyclonedds_cpp'},
    ],
)
def test_the_users_own_dds_settings_stand(environment):
    assert runtime.dds_environment(environment) == {}


@pytest.mark.parametrize('environment', [{}, {'RMW_IMPLEMENTATION': 'rmw_fastrtps_cpp'}])
@pytest.mark.parametrize(
    ('rclpy', 'variable'),
    [
        ('3.3.15', 'FASTRTPS_DEFAULT_PROFILES_FILE'),
        ('7.1.6', 'FASTRTPS_DEFAULT_PROFILES_FILE'),
        ('9.1.2', 'FASTDDS_DEFAULT_PROFILES_FILE'),
    ],
)
def test_fast_dds_gets_our_profile_by_the_name_it_reads(environment, rclpy, variable, monkeypatch):
    monkeypatch.setattr('importlib.metadata.version', lambda name: {'rclpy': rclpy}[name])
    given = runtime.dds_environment(environment)
    assert list(given) == [variable]
    assert os.path.isfile(given[variable])


def test_only_the_shared_memory_of_the_dead_is_removed(tmp_path):
    for name in ('dead', 'alive', 'young'):
        (tmp_path / f'fastdds_{name}').write_bytes(b'segment')
        (tmp_path / f'fastdds_{name}_el').touch()
        if name != 'young':
            os.utime(tmp_path / f'fastdds_{name}_el', (0, 0))
    (tmp_path / 'other_el').touch()
    with open(tmp_path / 'fastdds_alive_el') as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert runtime.remove_stale_shared_memory(tmp_path) == 1
    left = {path.name.removesuffix('_el') for path in tmp_path.iterdir()}
    assert left == {'fastdds_alive', 'fastdds_young', 'other'}


def test_a_missing_config_file_says_where_it_was_looked_for():
    with pytest.raises(FileNotFoundError, match=r'absent\.yaml is in none of'):
        runtime.config_path('absent.yaml')


def displays(tree):
    for display in tree['Displays']:
        if display['Class'] == 'rviz_common/Group':
            yield from displays(display)
        else:
            yield display


def test_rviz_shows_every_image_reliably_under_relative_names():
    manager = yaml.safe_load((CONFIG / 'sage.rviz').read_text())['Visualization Manager']
    topics = {}
    for display in displays(manager):
        topics[display['Topic']['Value']] = display['Class']
        assert display['Topic']['Reliability Policy'] == 'Reliable'
        assert display['Enabled'] is display['Value'] is True
    image, markers = 'rviz_default_plugins/Image', 'rviz_default_plugins/MarkerArray'
    assert topics == {
        'mosaic': image,
        **{f'{c}/crop_image': image for c in ('cam0', 'cam1')},
        **{f'{c}/reconstruction': image for c in ('cam0', 'cam1')},
        **{f'{c}/markers': markers for c in ('cam0', 'cam1')},
    }
    assert manager['Global Options']['Fixed Frame'] == 'cam0_optical_frame'


def test_a_memory_is_there_when_it_is_asked_for():
    names = [spec.name for spec in single_camera(memory=True)]
    assert names.count('memory') == 1
    assert 'memory' not in [spec.name for spec in single_camera()]


def test_a_compressor_is_there_when_it_is_asked_for():
    (spec,) = (spec for spec in dual_camera(compressor=True) if spec.name == 'compressor')
    assert spec.parameters == {'cameras': ['cam0', 'cam1']}
    assert 'compressor' not in [spec.name for spec in dual_camera()]
