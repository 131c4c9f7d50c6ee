# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Calibration files of cameras, and the camera_info that a camera publishes with them."""

import re
from pathlib import Path

import pytest
import yaml
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from rclpy.serialization import deserialize_message, serialize_message
from sensor_msgs.msg import CameraInfo

from sage_perception.nodes.camera_node import CameraNode
from sage_perception.ros.camera_info import load_camera_info, path_of
from sage_perception.ros.errors import ConfigurationError

# The format of camera_calibration.
GOOD = {
    'image_width': 640,
    'image_height': 480,
    'camera_name': 'narrow_stereo',
    'camera_matrix': {'rows': 3, 'cols': 3, 'data': [500.0, 0, 320, 0, 501, 240, 0, 0, 1]},
    'distortion_model': 'plumb_bob',
    'distortion_coefficients': {'rows': 1, 'cols': 5, 'data': [0.1, -0.2, 0, 0, 0]},
    'rectification_matrix': {'rows': 3, 'cols': 3, 'data': [1, 0, 0, 0, 1, 0, 0, 0, 1]},
    'projection_matrix': {
        'rows': 3,
        'cols': 4,
        'data': [500, 0, 320, 0, 0, 501, 240, 0, 0, 0, 1, 0],
    },
}


def write(path, **changes):
    path.write_text(yaml.safe_dump({**GOOD, **changes}))
    return path


def test_calibration_for_another_image_size_is_not_published(ros, tmp_path):
    path = write(tmp_path / 'camera.yaml', image_width=1280, image_height=720)
    infos = ros.collect(CameraInfo, 'camera_info')
    health = ros.collect(DiagnosticArray, '/diagnostics')
    source = 'source:=synthetic://?width=160&height=120'
    ros.make(CameraNode, '-p', source, '-p', f'camera_info_url:={path}')
    info = ros.wait_for(lambda: infos and infos[0], 'a calibration')
    assert (info.width, info.height) == (160, 120)
    assert not any(info.k)

    def warning():
        statuses = [s for array in health for s in array.status if s.name.endswith('capture')]
        warned = statuses and statuses[-1].level == DiagnosticStatus.WARN
        return 'uncalibrated' in statuses[-1].message and statuses[-1].message if warned else ''

    message = ros.wait_for(warning, 'a warning')
    assert f'{path} is for images of 1280x720 pixels, the camera delivers 160x120' in message


@pytest.mark.parametrize('name', ['camera.yaml', 'front left#1.yaml'])
@pytest.mark.parametrize('as_url', [False, True])
def test_reads_all_fields(tmp_path, name, as_url):
    path = write(tmp_path / name)
    info = load_camera_info(path.as_uri() if as_url else str(path))
    assert (info.width, info.height, info.distortion_model) == (640, 480, 'plumb_bob')
    assert list(info.k) == GOOD['camera_matrix']['data']
    assert list(info.d) == GOOD['distortion_coefficients']['data']
    assert list(info.r) == GOOD['rectification_matrix']['data']
    assert list(info.p) == GOOD['projection_matrix']['data']
    assert deserialize_message(serialize_message(info), CameraInfo) == info


def test_empty_url_is_an_uncalibrated_camera():
    assert load_camera_info('') == CameraInfo()


@pytest.mark.parametrize(
    ('changes', 'reason'),
    [
        ({'image_width': 'wide'}, "'wide' is not a size in pixels"),
        ({'image_height': -1}, '-1 is not a size in pixels'),
        ({'camera_matrix': {'data': [1.0] * 8}}, 'camera_matrix has 8 elements, not 9'),
        ({'projection_matrix': {'data': []}}, 'projection_matrix has 0 elements, not 12'),
        ({'camera_matrix': [1.0] * 9}, 'camera_matrix has no list of numbers named data'),
        ({'camera_matrix': {'data': 'x' * 9}}, 'camera_matrix has no list of numbers'),
        ({'rectification_matrix': {'data': ['x'] * 9}}, "rectification_matrix contains 'x'"),
        (
            {'rectification_matrix': {'data': [[] for _ in range(9)]}},
            r'rectification_matrix contains \[\]',
        ),
        ({'rectification_matrix': {'data': [10**400] * 9}}, 'rectification_matrix contains 10'),
        ({'distortion_coefficients': {}}, 'distortion_coefficients has no list of numbers'),
        ({'distortion_model': '\ud800'}, r"distortion_model '\\ud800' is not printable text"),
        ({'distortion_model': 5}, 'distortion_model 5 is not printable text'),
    ],
)
def test_invalid_calibration_is_rejected_with_path_and_reason(tmp_path, changes, reason):
    path = write(tmp_path / 'camera.yaml', **changes)
    with pytest.raises(ConfigurationError, match=reason) as error:
        load_camera_info(str(path))
    assert f"parameter 'camera_info_url': {path} is not a calibration" in str(error.value)


@pytest.mark.parametrize(
    'text',
    [
        '',
        'a: b: c',
        '[]',
        'just words',
        '\x00',
        'camera_name: narrow_stereo',
        'projection_matrix:\n  data: !!timestamp x',
        'camera_matrix: ' + '[' * 5000,
        'a: &a [x]\ncamera_matrix: *a',
    ],
)
def test_file_without_calibration_is_rejected(tmp_path, text):
    path = tmp_path / 'camera.yaml'
    path.write_text(text)
    with pytest.raises(ConfigurationError, match=f'{path} is not a calibration: ') as error:
        load_camera_info(str(path))
    assert str(error.value).count(str(path)) == 1
    assert '\n' not in str(error.value)


def test_missing_file_and_unsupported_url_are_rejected(tmp_path):
    missing = tmp_path / 'none.yaml'
    with pytest.raises(ConfigurationError, match=f'{missing}: No such file or directory'):
        load_camera_info(str(missing))
    for url, reason in (
        ('package://absent/b.yaml', "'package://absent/b.yaml': there is no ROS package 'absent'"),
        ('https://x/b.yaml', 'is neither a file:// or package:// URL nor a path'),
        ('file://${ABSENT}/b.yaml', 'there is no environment variable ABSENT'),
        ('file://b/c.yaml', 'has no absolute path: write file:///b/c.yaml'),
        ('file://', 'has no absolute path'),
    ):
        with pytest.raises(ConfigurationError, match=re.escape(reason)):
            load_camera_info(url)


def test_urls_are_those_of_camera_info_manager(tmp_path, monkeypatch):
    home, share = tmp_path / 'home', tmp_path / 'share' / 'robot' / 'calibration'
    index = tmp_path / 'share' / 'ament_index' / 'resource_index' / 'packages' / 'robot'
    for folder in (home / '.ros' / 'camera_info', share, index.parent):
        folder.mkdir(parents=True)
    index.touch()
    written = {
        write(home / '.ros' / 'camera_info' / 'cam0.yaml'),
        write(share / 'front left.yaml'),
    }
    monkeypatch.setenv('HOME', str(home))
    monkeypatch.setenv('AMENT_PREFIX_PATH', str(tmp_path))
    monkeypatch.delenv('ROS_HOME', raising=False)
    urls = {
        'file://${ROS_HOME}/camera_info/${NAME}.yaml',
        'file://${HOME}/.ros/camera_info/cam0.yaml',
        'file://localhost${HOME}/.ros/camera_info/cam0.yaml',
        '~/.ros/camera_info/${NAME}.yaml',
        'file://~/.ros/camera_info/${NAME}.yaml',
        'package://robot/calibration/front%20left.yaml',
    }
    assert {Path(path_of(url, 'cam0')) for url in urls} == written
    for url in urls:
        assert load_camera_info(url, 'cam0').width == 640
    monkeypatch.setenv('ROS_HOME', str(tmp_path / 'share' / 'robot'))
    assert load_camera_info('${ROS_HOME}/calibration/front left.yaml').width == 640
