# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""An interface package with the fields of vision_msgs 4.1, for tests: there is no wheel of it."""

import hashlib
import sys
from pathlib import Path

NAME = 'vision_msgs'
MESSAGES = {
    'BoundingBox2D': 'vision_msgs/Pose2D center; float64 size_x; float64 size_y',
    'Detection2D': 'std_msgs/Header header; vision_msgs/ObjectHypothesisWithPose[] results; '
    'vision_msgs/BoundingBox2D bbox; string id',
    'Detection2DArray': 'std_msgs/Header header; vision_msgs/Detection2D[] detections',
    'ObjectHypothesis': 'string class_id; float64 score',
    'ObjectHypothesisWithPose': 'vision_msgs/ObjectHypothesis hypothesis; '
    'geometry_msgs/PoseWithCovariance pose',
    'Point2D': 'float64 x; float64 y',
    'Pose2D': 'vision_msgs/Point2D position; float64 theta',
}
"""The fields of each message, separated by semicolons."""
PACKAGE = f"""\
<?xml version="1.0"?>
<package format="3">
  <name>{NAME}</name>
  <version>4.1.1</version>
  <description>The fields of vision_msgs, for tests.</description>
  <maintainer email="sage@example.org">The sage authors</maintainer>
  <license>Apache-2.0</license>
  <buildtool_depend>ament_cmake</buildtool_depend>
  <buildtool_depend>rosidl_default_generators</buildtool_depend>
  <depend>geometry_msgs</depend>
  <depend>std_msgs</depend>
  <exec_depend>rosidl_default_runtime</exec_depend>
  <member_of_group>rosidl_interface_packages</member_of_group>
  <export>
    <build_type>ament_cmake</build_type>
  </export>
</package>
"""
CMAKE = f"""\
cmake_minimum_required(VERSION 3.8)
project({NAME})
find_package(ament_cmake REQUIRED)
find_package(geometry_msgs REQUIRED)
find_package(rosidl_default_generators REQUIRED)
find_package(std_msgs REQUIRED)
rosidl_generate_interfaces({NAME}
  {' '.join(f'msg/{name}.msg' for name in MESSAGES)}
  DEPENDENCIES geometry_msgs std_msgs
)
ament_export_dependencies(rosidl_default_runtime)
ament_package()
"""


def write_package(folder: Path) -> Path:
    """Write the sources of the package to a new folder; return it."""
    (folder / 'msg').mkdir(parents=True)
    (folder / 'package.xml').write_text(PACKAGE)
    (folder / 'CMakeLists.txt').write_text(CMAKE)
    for name, text in MESSAGES.items():
        (folder / 'msg' / f'{name}.msg').write_text('\n'.join(text.split('; ')) + '\n')
    return folder


def fingerprint() -> str:
    """Return a short text that identifies the sources and the environment of a build."""
    content = repr((PACKAGE, CMAKE, MESSAGES, sys.prefix, sys.version_info[:2]))
    return hashlib.sha256(content.encode()).hexdigest()[:12]
