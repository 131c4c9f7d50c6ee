# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Damaged files of nodes: the exact line on stderr, and the exit code."""

import pytest

from sage_perception.bringup.respawn import CONFIGURATION_ERROR
from sage_perception.nodes.arbiter_node import ArbiterNode
from sage_perception.nodes.camera_node import CameraNode
from sage_perception.ros.run import run

CALIBRATION = """\
image_width: 640
image_height: 480
camera_matrix: {data: [500, 0, 320, 0, 500, 240, 0, 0, 1]}
distortion_coefficients: {data: [0, 0, 0, 0, 0]}
rectification_matrix: {data: [1, 0, 0, 0, 1, 0, 0, 0, 1]}
"""
FISHEYE = CALIBRATION + 'projection_matrix: {data: [1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0]}\n'
TAGGED = FISHEYE + 'distortion_model: !!timestamp x\n'
UNPRINTABLE = FISHEYE + 'distortion_model: "\\ud800"\n'
NO_PROJECTION = CALIBRATION + 'distortion_model: plumb_bob\n'
URL = "parameter 'camera_info_url': "


def error_of(kind, capfd, *parameters):
    """Run a node with parameters; return its lines on stderr."""
    words = [word for parameter in parameters for word in ('-p', parameter)]
    assert run(kind, ['--ros-args', *words]) == CONFIGURATION_ERROR
    error = capfd.readouterr().err
    assert 'Traceback' not in error
    return error.splitlines()[-1]


@pytest.mark.usefixtures('keep_signals')
@pytest.mark.parametrize(
    ('content', 'reason'),
    [
        (TAGGED, 'a tagged value does not match its tag'),
        (UNPRINTABLE, r"distortion_model '\ud800' is not printable text"),
        (FISHEYE, 'distortion_model is missing'),
        (NO_PROJECTION, 'projection_matrix is missing'),
        ('', 'the file is empty, expected a mapping'),
        ('a: ' + '[' * 5000, 'line 1: more than 32 nested levels'),
    ],
)
def test_calibration(content, reason, tmp_path, capfd):
    path = tmp_path / 'camera.yaml'
    path.write_text(content)
    line = error_of(CameraNode, capfd, 'source:=synthetic://', f'camera_info_url:={path}')
    assert line == f'error: {URL}{path} is not a calibration: {reason}'


@pytest.mark.usefixtures('keep_signals')
def test_calibration_that_is_missing(tmp_path, capfd):
    for url, reason in (
        (f'{tmp_path}/none.yaml', f'{tmp_path}/none.yaml: No such file or directory'),
        (str(tmp_path), f'{tmp_path}: Is a directory'),
        ('package://none/c.yaml', "'package://none/c.yaml': there is no ROS package 'none'"),
    ):
        line = error_of(CameraNode, capfd, 'source:=synthetic://', f'camera_info_url:={url}')
        assert line == f'error: {URL}{reason}'


@pytest.mark.usefixtures('keep_signals')
def test_geometry(tmp_path, capfd):
    path = tmp_path / 'geometry.yaml'
    path.write_text('homography: !!timestamp x\ntolerance_px: 10\n')
    line = error_of(ArbiterNode, capfd, f'camera_geometry:=cam1={path}')
    assert line == (
        f"error: parameter 'camera_geometry': {path}: a tagged value does not match its tag; a "
        'camera geometry file has homography or fundamental, 3 rows of 3 numbers, and tolerance_px'
    )
    line = error_of(ArbiterNode, capfd, f'camera_geometry:={path}')
    assert line == (
        f"error: parameter 'camera_geometry': '{path}' is not camera=value, where camera is one "
        'of cam0, cam1'
    )


@pytest.mark.usefixtures('keep_signals')
def test_log_folder_that_cannot_be_written(capfd, monkeypatch):
    monkeypatch.setenv('HOME', '/proc/none')
    monkeypatch.delenv('ROS_HOME', raising=False)
    monkeypatch.delenv('ROS_LOG_DIR', raising=False)
    line = error_of(ArbiterNode, capfd)
    assert line == (
        "error: failed to initialize logging: Failed to create log directory '/proc/none/.ros/log'"
        ': 2; set ROS_LOG_DIR to a folder that can be written'
    )
