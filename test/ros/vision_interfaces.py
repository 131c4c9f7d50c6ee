# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Packages with fields of vision_msgs 4.1 and of tf2_msgs, which have no wheels, for tests."""

import hashlib
import sys
from pathlib import Path

MESSAGES = {
    'vision_msgs': {
        'BoundingBox2D': 'vision_msgs/Pose2D center; float64 size_x; float64 size_y',
        'BoundingBox3D': 'geometry_msgs/Pose center; geometry_msgs/Vector3 size',
        'Detection2D': 'std_msgs/Header header; vision_msgs/ObjectHypothesisWithPose[] results; '
        'vision_msgs/BoundingBox2D bbox; string id',
        'Detection2DArray': 'std_msgs/Header header; vision_msgs/Detection2D[] detections',
        'Detection3D': 'std_msgs/Header header; vision_msgs/ObjectHypothesisWithPose[] results; '
        'vision_msgs/BoundingBox3D bbox; string id',
        'Detection3DArray': 'std_msgs/Header header; vision_msgs/Detection3D[] detections',
        'ObjectHypothesis': 'string class_id; float64 score',
        'ObjectHypothesisWithPose': 'vision_msgs/ObjectHypothesis hypothesis; '
        'geometry_msgs/PoseWithCovariance pose',
        'Point2D': 'float64 x; float64 y',
        'Pose2D': 'vision_msgs/Point2D position; float64 theta',
    },
    'tf2_msgs': {'TFMessage': 'geometry_msgs/TransformStamped[] transforms'},
}
"""The fields of each message of each package, separated by semicolons."""
PACKAGE = """\
<?xml version="1.0"?>
<package format="3">
  <name>{name}</name>
  <version>4.1.1</version>
  <description>The fields of {name}, for tests.</description>
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
CMAKE = """\
cmake_minimum_required(VERSION 3.8)
project({name})
find_package(ament_cmake REQUIRED)
find_package(geometry_msgs REQUIRED)
find_package(rosidl_default_generators REQUIRED)
find_package(std_msgs REQUIRED)
rosidl_generate_interfaces({name}
  {files}
  DEPENDENCIES geometry_msgs std_msgs
)
ament_export_dependencies(rosidl_default_runtime)
ament_package()
"""


def write_packages(folder: Path) -> Path:
    """Write the sources of the packages to a new folder; return it."""
    for name, messages in MESSAGES.items():
        (folder / name / 'msg').mkdir(parents=True)
        files = ' '.join(f'msg/{each}.msg' for each in messages)
        (folder / name / 'package.xml').write_text(PACKAGE.format(name=name))
        (folder / name / 'CMakeLists.txt').write_text(CMAKE.format(name=name, files=files))
        for each, text in messages.items():
            (folder / name / 'msg' / f'{each}.msg').write_text('\n'.join(text.split('; ')) + '\n')
    return folder


def fingerprint() -> str:
    """Return a short text that identifies the sources and the environment of a build."""
    content = repr((PACKAGE, CMAKE, MESSAGES, sys.prefix, sys.version_info[:2]))
    return hashlib.sha256(content.encode()).hexdigest()[:12]
