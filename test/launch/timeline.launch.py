# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Replay a bag into the graph of one camera, and judge its timeline.

Copy this file to test a robot's own bags:

    launch_test timeline.launch.py bag:=BAG timeline:=BAG.timeline.yaml
"""

import sys
import unittest
from pathlib import Path

import launch_testing.actions
import launch_testing.asserts
import pytest
from launch import LaunchDescription
from launch.actions import (
    DeclareLaunchArgument,
    ExecuteProcess,
    IncludeLaunchDescription,
    RegisterEventHandler,
)
from launch.event_handlers import OnProcessIO
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch.substitutions import LaunchConfiguration

SAGE = [sys.executable, '-m', 'sage_perception.cli.main']
LAUNCH = Path(__file__).resolve().parents[2] / 'launch' / 'single_camera.launch.py'


@pytest.mark.launch_test
def generate_test_description():
    watch = ExecuteProcess(
        cmd=[*SAGE, 'watch', LaunchConfiguration('timeline'), '--use-sim-time'], output='screen'
    )
    replay = ExecuteProcess(
        cmd=[
            *SAGE,
            *('replay', LaunchConfiguration('bag'), '--clock', '100', '--wait-for-subscribers'),
        ],
        output='screen',
    )
    replayed = []

    def start_replay(_):
        # Time 0 of the timeline is the first frame that `sage watch` receives.
        if replayed:
            return []
        replayed.append(replay)
        return [replay]

    graph = IncludeLaunchDescription(
        PythonLaunchDescriptionSource(str(LAUNCH)),
        launch_arguments={
            'image': LaunchConfiguration('image'),
            'use_sim_time': 'true',
            'use_viewer': 'false',
        }.items(),
    )
    description = LaunchDescription(
        [
            DeclareLaunchArgument('bag', description='bag with the images of the camera'),
            DeclareLaunchArgument('timeline', description='its expectations'),
            DeclareLaunchArgument('image', default_value='/cam0/image_raw'),
            graph,
            watch,
            RegisterEventHandler(OnProcessIO(target_action=watch, on_stderr=start_replay)),
            launch_testing.actions.ReadyToTest(),
        ]
    )
    return description, {'watch': watch}


class TestReplay(unittest.TestCase):
    def test_timeline_is_judged(self, proc_info, watch):
        proc_info.assertWaitForShutdown(process=watch, timeout=90)


@launch_testing.post_shutdown_test()
class TestVerdict(unittest.TestCase):
    def test_all_expectations_are_met(self, proc_info, watch):
        launch_testing.asserts.assertExitCodes(proc_info, process=watch)
