# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Launch the two-camera graph with the parameters for two CSI cameras of a Jetson."""

from pathlib import Path

from launch import LaunchDescription
from launch.actions import DeclareLaunchArgument, IncludeLaunchDescription
from launch.launch_description_sources import PythonLaunchDescriptionSource

from sage_perception.bringup.environment import config_path


def generate_launch_description() -> LaunchDescription:
    """Return the launch description."""
    dual_camera = Path(__file__).with_name('dual_camera.launch.py')
    return LaunchDescription(
        [
            DeclareLaunchArgument(
                'params_file',
                default_value=str(config_path('jetson_dual_csi.yaml')),
                description='Parameter file of all nodes',
            ),
            DeclareLaunchArgument(
                'composition',
                default_value='true',
                description='Run all nodes in one process (true), those of each camera in one '
                '(camera), or each in its own (false)',
                choices=['true', 'True', 'camera', 'false', 'False'],
            ),
            IncludeLaunchDescription(PythonLaunchDescriptionSource(str(dual_camera))),
        ]
    )
