# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""ROS: its packages, distribution and middleware, and the messages of sage."""

from __future__ import annotations

import datetime
import os
import subprocess
import sys
from importlib.util import find_spec
from typing import NamedTuple

from sage_perception.bringup.environment import dds_environment
from sage_perception.bringup.prefix import is_indexed
from sage_perception.installation.finding import MISSING, OK, OPTIONAL, Finding
from sage_perception.installation.packages import distribution_version

ROS_PACKAGES = (
    'ament_index_python',
    'builtin_interfaces',
    'diagnostic_msgs',
    'geometry_msgs',
    'lifecycle_msgs',
    'nav_msgs',
    'rcl_interfaces',
    'rclpy',
    'rosgraph_msgs',
    'sensor_msgs',
    'std_msgs',
    'trajectory_msgs',
    'visualization_msgs',
)
IMPORT_TIMEOUT_S = 60.0
SETUP = 'source install/setup.bash of the colcon workspace, or run "make build"'


class Distribution(NamedTuple):
    """A ROS distribution: the major version of its rclpy, and its last month (REP-2000)."""

    rclpy: int
    end: datetime.date


DISTRIBUTIONS = {
    'humble': Distribution(3, datetime.date(2027, 5, 31)),
    'jazzy': Distribution(7, datetime.date(2029, 5, 31)),
    'kilted': Distribution(9, datetime.date(2026, 12, 31)),
    'lyrical': Distribution(10, datetime.date(2031, 5, 31)),
}
NOTICE = datetime.timedelta(days=60)
"""Time before the end of life of a distribution from which it is reported."""


def distribution_name() -> str:
    """Return the name of the ROS distribution, '<distro>' if it is unknown."""
    if 'ROS_DISTRO' in os.environ:
        return os.environ['ROS_DISTRO']
    major = distribution_version('rclpy').partition('.')[0]
    known = (name for name, entry in DISTRIBUTIONS.items() if str(entry.rclpy) == major)
    return next(known, '<distro>')


def packages() -> Finding:
    """Check that the ROS packages that sage imports are installed."""
    missing = [name for name in ROS_PACKAGES if find_spec(name) is None]
    if missing:
        fix = 'source /opt/ros/<distro>/setup.bash, or run "make build" to install wheels'
        return Finding('ROS', MISSING, f'not installed: {", ".join(missing)}', fix)
    return Finding('ROS', OK, f'rclpy {distribution_version("rclpy")}')


def distribution(today: datetime.date | None = None) -> Finding:
    """Check that the ROS distribution is supported on a day, by default today."""
    name = distribution_name()
    if name not in DISTRIBUTIONS:
        detail = f'{name}; sage supports {", ".join(DISTRIBUTIONS)}'
        return Finding('ROS distribution', OPTIONAL, detail, 'use a supported distribution')
    end = DISTRIBUTIONS[name].end
    detail = f'{name}, end of life in {end:%B %Y}'
    if (today or datetime.date.today()) > end - NOTICE:
        later = [n for n, other in DISTRIBUTIONS.items() if other.end > end + 6 * NOTICE]
        fix = f'move to {" or ".join(later)}' if later else 'move to a newer distribution'
        return Finding('ROS distribution', OPTIONAL, detail, fix)
    return Finding('ROS distribution', OK, detail)


def index() -> Finding:
    """Check that `AMENT_PREFIX_PATH` contains sage, as `ros2 launch` and bags require."""
    lacking = [name for name in ('sage_perception', 'sage_msgs') if not is_indexed(name)]
    if lacking:
        detail = f'AMENT_PREFIX_PATH contains no prefix of {" and ".join(lacking)}'
        return Finding('ament index', MISSING, detail, SETUP)
    return Finding('ament index', OK, 'contains sage_perception and sage_msgs')


def middleware() -> Finding:
    """Check that rclpy loads its middleware, in a process because a failure ends the process."""
    if find_spec('rclpy') is None:
        raise ModuleNotFoundError("No module named 'rclpy'")
    query = 'from rclpy.utilities import get_rmw_implementation_identifier as name; print(name())'
    failure, output = _try(query)
    if failure:
        wanted = os.environ.get('RMW_IMPLEMENTATION', '')
        package = (wanted or 'rmw_fastrtps_cpp').replace('_', '-')
        fix = f'apt install ros-{distribution_name()}-{package}'
        fix = f'unset RMW_IMPLEMENTATION, or {fix}' if wanted else fix
        detail = f'RMW_IMPLEMENTATION={wanted}: {failure}' if wanted else failure
        return Finding('middleware', MISSING, detail, fix)
    if dds_environment({'RMW_IMPLEMENTATION': output, **os.environ}):
        return Finding('middleware', OK, f'{output}, with config/fastdds_shm.xml')
    detail = f'{output}, configured by the environment; large images require tuned transports'
    return Finding('middleware', OK, detail)


def messages() -> Finding:
    """Check that the interface package is built for this Python."""
    if find_spec('sage_msgs') is None:
        fix = 'run "make build", or "colcon build" and "source install/setup.bash"'
        return Finding('sage_msgs', MISSING, 'not built', fix)
    from sage_msgs.msg import LCT

    return Finding('sage_msgs', OK, f'{len(LCT.get_fields_and_field_types())} fields in an LCT')


def launch() -> Finding:
    """Check that the launch files can be used."""
    if find_spec('launch') and find_spec('launch_ros'):
        return Finding('launch_ros', OK, 'ros2 launch is available')
    fix = (
        f'apt install ros-{distribution_name()}-launch-ros, or use "sage up", which runs the same '
        'graphs'
    )
    return Finding('launch_ros', OPTIONAL, 'not installed', fix)


def bridge() -> Finding:
    """Check that numpy can load the cv_bridge of this ROS, which converts images."""
    if find_spec('cv_bridge') is None:
        fix = f'apt install ros-{distribution_name()}-cv-bridge'
        return Finding('cv_bridge', OPTIONAL, 'not installed; OpenCV converts images', fix)
    failure, _ = _try('import cv_bridge.boost.cv_bridge_boost')
    if not failure:
        return Finding('cv_bridge', OK, 'converts images')
    numpy = distribution_version('numpy')
    detail = f'cannot be loaded with numpy {numpy}: {failure}; OpenCV converts images'
    fix = f'apt install --reinstall ros-{distribution_name()}-cv-bridge'
    if int(numpy.partition('.')[0]) >= 2:
        fix = 'pip install "numpy<2", the version that this cv_bridge was built with'
    return Finding('cv_bridge', OPTIONAL, detail, fix)


def detections() -> Finding:
    """Check for the messages in which attention takes and publishes boxes."""
    if find_spec('vision_msgs') is None:
        fix = f'apt install ros-{distribution_name()}-vision-msgs'
        return Finding('vision_msgs', OPTIONAL, 'not installed; no detections of others', fix)
    return Finding('vision_msgs', OK, 'attention takes detections')


def transforms() -> Finding:
    """Check for the messages in which the arbiter publishes where cameras are mounted."""
    if find_spec('tf2_msgs') is None:
        fix = f'apt install ros-{distribution_name()}-tf2-msgs'
        return Finding('tf2_msgs', OPTIONAL, 'not installed; poses of cameras are not on tf', fix)
    return Finding('tf2_msgs', OK, 'poses of cameras are on tf')


def _try(program: str) -> tuple[str, str]:
    """Run a Python program; return the last line of its errors ('' if it succeeded) and output."""
    done = subprocess.run(
        [sys.executable, '-c', program],
        capture_output=True,
        text=True,
        errors='replace',
        timeout=IMPORT_TIMEOUT_S,
    )
    if not done.returncode:
        return '', done.stdout.strip()
    lines = done.stderr.strip().splitlines()
    return (lines[-1] if lines else f'exit code {done.returncode}'), ''
