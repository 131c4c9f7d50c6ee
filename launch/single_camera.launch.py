# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Launch the graph of a robot with one camera; `--show-args` lists the arguments."""

from launch import LaunchDescription

from sage_perception.bringup.graph import single_camera
from sage_perception.bringup.launch_description import describe


def generate_launch_description() -> LaunchDescription:
    """Return the launch description."""
    return describe(single_camera, 'single_camera.yaml', camera_suffixes=[''])
