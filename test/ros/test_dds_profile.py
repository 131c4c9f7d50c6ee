# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Which nodes reserve shared memory for images."""

import os

import pytest

from sage_perception.bringup.environment import config_path
from sage_perception.bringup.graph import NODES
from sage_perception.bringup.node_class import node_class
from sage_perception.ros.dds_profile import WITHOUT_IMAGES, select_profile, sends_images

VARIABLE = 'FASTRTPS_DEFAULT_PROFILES_FILE'


def test_only_nodes_that_send_whole_images_reserve_memory_for_them():
    with_images = {name for name in NODES if sends_images(node_class(f'{name}_node'))}
    assert {'camera', 'viewer'} <= with_images
    assert not with_images & {'attention', 'encoder', 'arbiter', 'memory', 'compressor'}


def test_a_function_that_makes_a_node_counts_as_one_with_images():
    assert sends_images(lambda: None)


@pytest.mark.parametrize('given', ['/mine.xml', '', 'fastdds_composed.xml'])
def test_only_the_default_profile_is_replaced(given, monkeypatch):
    monkeypatch.setenv(VARIABLE, given)
    select_profile(WITHOUT_IMAGES)
    assert given == os.environ[VARIABLE]


def test_the_default_profile_is_replaced(monkeypatch):
    monkeypatch.setenv(VARIABLE, str(config_path('fastdds_shm.xml')))
    select_profile(WITHOUT_IMAGES)
    assert os.environ[VARIABLE] == str(config_path('fastdds_small.xml'))
