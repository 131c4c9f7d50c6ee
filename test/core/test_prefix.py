# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""The own ament prefix is found without the variables that setup files and make set."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from stubs import ROOT

from sage_perception.bringup import prefix

INSTALLED = (Path(sys.prefix) / prefix.MARKER / 'sage_perception').is_file()


@pytest.fixture
def installed(tmp_path, monkeypatch):
    """An ament prefix that the interpreter belongs to."""
    monkeypatch.setattr(sys, 'prefix', str(tmp_path))
    marker = tmp_path / prefix.MARKER / 'sage_perception'
    marker.parent.mkdir(parents=True)
    marker.touch()
    return tmp_path


def test_environment_is_completed_once(installed):
    environment = {'AMENT_PREFIX_PATH': '/opt/ros/jazzy'}
    assert prefix.complete_environment(environment) is False
    assert environment == {'AMENT_PREFIX_PATH': f'{installed}:/opt/ros/jazzy'}
    assert prefix.complete_environment(environment) is False
    assert environment == {'AMENT_PREFIX_PATH': f'{installed}:/opt/ros/jazzy'}


def test_libraries_of_messages_require_a_restart(installed):
    (installed / 'lib').mkdir()
    (installed / 'lib' / prefix.MESSAGE_LIBRARY).touch()
    environment = {}
    assert prefix.complete_environment(environment) is True
    assert environment['LD_LIBRARY_PATH'] == f'{installed}/lib'
    assert prefix.complete_environment(environment) is False


def test_a_prefix_of_colcon_comes_before_that_of_the_interpreter(installed, monkeypatch):
    assert prefix.own_prefix() == installed
    workspace = installed / 'install' / 'sage_perception'
    (workspace / prefix.MARKER).mkdir(parents=True)
    (workspace / prefix.MARKER / 'sage_perception').touch()
    module = workspace / 'lib/python3/site-packages/sage_perception/bringup/prefix.py'
    monkeypatch.setattr(prefix, '__file__', str(module))
    assert prefix.own_prefix() == workspace


def test_environment_is_unchanged_without_an_installation(installed):
    (installed / prefix.MARKER / 'sage_perception').unlink()
    environment = {}
    assert prefix.complete_environment(environment) is False
    assert environment == {}


def test_is_indexed_by_any_prefix(installed):
    environment = {'AMENT_PREFIX_PATH': f'/absent:{installed}'}
    assert prefix.is_indexed('sage_perception', environment)
    assert not prefix.is_indexed('sage_msgs', environment)
    assert not prefix.is_indexed('sage_perception', {})


@pytest.mark.skipif(not INSTALLED, reason='sage is not installed in this environment')
def test_a_command_finds_messages_and_middleware_in_an_empty_environment(tmp_path):
    pytest.importorskip('rclpy')
    program = (
        'import sys; from sage_perception.cli.main import main; sys.argv[1:] = ["--version"]; '
        'main(); import rclpy, sage_msgs.msg; '
        'from ament_index_python import get_package_share_directory as share; '
        'rclpy.init(); rclpy.create_node("a"); print(share("sage_msgs"))'
    )
    environment = {'PATH': '/usr/bin:/bin', 'HOME': str(tmp_path), 'PYTHONPATH': str(ROOT)}
    environment['ROS_DOMAIN_ID'] = os.environ['ROS_DOMAIN_ID']
    done = subprocess.run(
        [sys.executable, '-c', program],
        env=environment,
        capture_output=True,
        text=True,
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == str(Path(sys.prefix, 'share', 'sage_msgs'))


def test_script_without_ros_ends_in_one_line(tmp_path):
    script = tmp_path / 'measure.py'
    script.write_text(
        'from sage_perception.bringup.prefix import prepare_ros\nprepare_ros("no_msgs")'
    )
    environment = {'PATH': os.environ['PATH'], 'PYTHONPATH': str(ROOT)}
    done = subprocess.run(
        [sys.executable, str(script)], env=environment, capture_output=True, text=True
    )
    assert done.returncode == 1
    assert done.stderr.startswith('measure.py: AMENT_PREFIX_PATH names no prefix with')
    assert done.stderr.count('\n') == 1


@pytest.mark.skipif(not INSTALLED, reason='sage is not installed in this environment')
def test_script_finds_the_messages_without_the_variables(tmp_path):
    script = tmp_path / 'measure.py'
    script.write_text(
        'from sage_perception.bringup.prefix import prepare_ros\n'
        'prepare_ros()\nfrom sage_msgs.msg import LCT\nprint(LCT().entity_id == "")\n'
    )
    environment = {'PATH': os.environ['PATH'], 'PYTHONPATH': str(ROOT)}
    done = subprocess.run(
        [sys.executable, str(script)], env=environment, capture_output=True, text=True
    )
    assert (done.stdout, done.returncode) == ('True\n', 0), done.stderr
