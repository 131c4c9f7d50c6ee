# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""The node graphs as data."""

import re

import pytest

from sage_perception.bringup.graph import Camera, dual_camera, fleet, single_camera


def paths(specs):
    return [spec.path for spec in specs]


def by_path(specs):
    return {spec.path: spec for spec in specs}


def test_graph_has_three_nodes_per_camera_an_arbiter_and_a_viewer():
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


def test_sets_only_the_cameras_by_default():
    given = {spec.path: dict(spec.parameters) for spec in dual_camera() if spec.parameters}
    cameras = {'cameras': ['cam0', 'cam1']}
    assert given == {'arbiter': cameras, 'viewer': cameras}


def test_options_reach_the_nodes_that_accept_them():
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


def test_image_topic_replaces_the_camera_node():
    specs = by_path(dual_camera([Camera('cam0', topic='/front/image_raw'), Camera('cam1')]))
    assert 'cam0/camera' not in specs
    assert 'cam1/camera' in specs
    assert specs['cam0/attention'].remappings == (
        ('image_raw', '/front/image_raw'),
        ('camera_info', '/front/camera_info'),
    )
    assert specs['viewer'].remappings == (
        ('cam0/image_raw', '/front/image_raw'),
        ('cam0/camera_info', '/front/camera_info'),
    )
    assert specs['cam1/attention'].remappings == ()


def test_namespace_contains_all_nodes():
    inside = dual_camera(namespace='/robot1/')
    assert paths(inside) == [f'robot1/{path}' for path in paths(dual_camera())]


def test_robots_of_a_fleet_have_distinct_names_and_frames():
    specs = fleet(['r1', 'r2'], namespace='site')
    assert len(set(paths(specs))) == len(specs) == 2 * len(dual_camera())
    frames = [s.parameters['frame_id'] for s in specs if s.name == 'camera']
    assert frames == [f'{r}/{c}_optical_frame' for r in ('r1', 'r2') for c in ('cam0', 'cam1')]
    assert 'site/r2/cam1/camera' in paths(specs)


def test_names_are_relative():
    for spec in fleet(['r1']):
        assert not spec.namespace.startswith('/')
        assert not any(name.startswith('/') for pair in spec.remappings for name in pair)


@pytest.mark.parametrize(
    ('build', 'message'),
    [
        (lambda: Camera('front cam'), "camera name 'front cam'"),
        (lambda: Camera('cam0', topic='image_raw'), 'must be absolute'),
        (lambda: Camera('cam0', 'csi://0', '/image'), 'give only one'),
        (lambda: Camera('cam0', pose='0 0 1'), "pose of cam0: '0 0 1' is not a pose"),
        (lambda: dual_camera([Camera('a'), Camera('a')]), 'distinct names'),
        (lambda: dual_camera([Camera('a')]), 'requires two cameras; got 1'),
        (lambda: single_camera([]), 'requires one camera; got 0'),
        (lambda: single_camera(namespace='a//b'), "namespace 'a//b'"),
        (lambda: single_camera(namespace='warehouse_robot_number_17-left'), 'is not valid'),
        (lambda: single_camera(respawn_delay_s=-1.0), 'it must be at least 0'),
        (lambda: single_camera(respawn_delay_s=float('nan')), 'it must be at least 0'),
        (lambda: fleet(['r1', 'r1']), 'distinct names'),
        (lambda: fleet([]), 'distinct names'),
    ],
)
def test_rejects_invalid_names(build, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        build()


def test_memory_is_optional():
    names = [spec.name for spec in single_camera(memory=True)]
    assert names.count('memory') == 1
    assert 'memory' not in [spec.name for spec in single_camera()]


def test_compressor_is_optional():
    (spec,) = (spec for spec in dual_camera(compressor=True) if spec.name == 'compressor')
    assert spec.parameters == {'cameras': ['cam0', 'cam1']}
    assert 'compressor' not in [spec.name for spec in dual_camera()]


def test_poses_reach_the_nodes_that_use_them():
    turned = Camera('cam1', topic='/b/image', pose='0 0 0 0 0 1')
    cameras = [Camera('cam0', pose='0 0.1 0 0 0 0'), turned]
    specs = by_path(dual_camera(cameras, positions=True, frame_prefix='r1/'))
    for name in ('arbiter', 'positions'):
        parameters = specs[name].parameters
        assert parameters['camera_poses'] == 'cam0=0 0.1 0 0 0 0, cam1=0 0 0 0 0 1'
        assert parameters['base_frame'] == 'r1/base_link'
        assert ('cam1/camera_info', '/b/camera_info') in specs[name].remappings
    assert not any('camera_poses' in spec.parameters for spec in dual_camera(positions=True))
