# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Middleware settings, shared memory and configuration files of a graph."""

import fcntl
import os

import pytest
from stubs import ROOT

from sage_perception.bringup.environment import (
    config_path,
    dds_environment,
    remove_stale_shared_memory,
)


@pytest.mark.parametrize(
    'environment',
    [
        {'FASTDDS_DEFAULT_PROFILES_FILE': '/mine.xml'},
        {'FASTRTPS_DEFAULT_PROFILES_FILE': '/mine.xml'},
        {'FASTDDS_BUILTIN_TRANSPORTS': 'UDPv4'},
        {'RMW_IMPLEMENTATION': 'rmw_cyclonedds_cpp'},
    ],
)
def test_keeps_dds_settings_of_the_user(environment):
    assert dds_environment(environment) == {}


@pytest.mark.parametrize('environment', [{}, {'RMW_IMPLEMENTATION': 'rmw_fastrtps_cpp'}])
@pytest.mark.parametrize(
    ('rclpy', 'variable'),
    [
        ('3.3.15', 'FASTRTPS_DEFAULT_PROFILES_FILE'),
        ('7.1.6', 'FASTRTPS_DEFAULT_PROFILES_FILE'),
        ('9.1.2', 'FASTDDS_DEFAULT_PROFILES_FILE'),
    ],
)
def test_variable_of_the_profile_depends_on_the_distribution(
    environment, rclpy, variable, monkeypatch
):
    monkeypatch.setattr('importlib.metadata.version', lambda name: {'rclpy': rclpy}[name])
    given = dds_environment(environment)
    assert list(given) == [variable]
    assert os.path.isfile(given[variable])


def test_removes_shared_memory_of_killed_processes_only(tmp_path):
    for name in ('killed', 'alive', 'young'):
        (tmp_path / f'fastdds_{name}').write_bytes(b'segment')
        (tmp_path / f'fastdds_{name}_el').touch()
        if name != 'young':
            os.utime(tmp_path / f'fastdds_{name}_el', (0, 0))
    (tmp_path / 'other_el').touch()
    with open(tmp_path / 'fastdds_alive_el') as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert remove_stale_shared_memory(tmp_path) == 1
    left = {path.name.removesuffix('_el') for path in tmp_path.iterdir()}
    assert left == {'fastdds_alive', 'fastdds_young', 'other'}


def test_config_files_of_the_source_tree_are_preferred():
    assert config_path('dual_camera.yaml') == ROOT / 'config' / 'dual_camera.yaml'


def test_missing_config_file_is_reported_with_the_searched_folders():
    with pytest.raises(FileNotFoundError, match=r'absent\.yaml is missing; searched /'):
        config_path('absent.yaml')
