# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""`sage doctor`: what is there, what is missing, and the fix for each."""

from __future__ import annotations

import argparse
import glob
import importlib
import importlib.metadata
import importlib.util
import json
import os
import platform
import shutil
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass

from rich.console import Console
from rich.table import Table

from sage_perception import __version__

OK, OPTIONAL, MISSING = 'ok', 'optional', 'missing'
STYLES = {OK: 'green', OPTIONAL: 'yellow', MISSING: 'bold red'}
LEAST_SHM_MIB = 256


@dataclass(frozen=True)
class Finding:
    """One thing looked at: how it is, what was seen, and how to mend it."""

    name: str
    state: str
    seen: str
    fix: str = ''


def _module(name: str, fix: str, state: str = MISSING, version: str = '__version__') -> Finding:
    try:
        module = importlib.import_module(name)
    except ImportError as error:
        return Finding(name, state, str(error).splitlines()[0], fix)
    return Finding(name, OK, str(getattr(module, version, 'installed')))


def _python() -> Finding:
    return Finding('Python', OK, f'{platform.python_version()} on {platform.machine()}')


def _ros() -> Finding:
    found = _module(
        'rclpy', 'source /opt/ros/<distro>/setup.bash, or run `make build` to install wheels'
    )
    if found.state == OK:
        return Finding('rclpy', OK, importlib.metadata.version('rclpy'))
    return found


def _middleware() -> Finding:
    try:
        from rclpy.utilities import get_rmw_implementation_identifier
    except ImportError:
        return Finding('middleware', MISSING, 'no rclpy', 'see rclpy')
    name = get_rmw_implementation_identifier()
    if 'fastrtps' not in name:
        return Finding('middleware', OK, f'{name}; large pictures need its own tuning')
    return Finding('middleware', OK, f'{name}, with config/fastdds_shm.xml')


def _messages() -> Finding:
    fix = '`make build`, or `colcon build` and then `source install/setup.bash`'
    try:
        from sage_msgs.msg import LCT
    except ImportError as error:
        return Finding('sage_msgs', MISSING, str(error).splitlines()[0], fix)
    return Finding('sage_msgs', OK, f'{len(LCT.get_fields_and_field_types())} fields in an LCT')


def _launch() -> Finding:
    if importlib.util.find_spec('launch_ros'):
        return Finding('launch_ros', OK, 'ros2 launch works')
    fix = 'apt install ros-<distro>-launch-ros; until then `sage up` runs the same graphs'
    return Finding('launch_ros', OPTIONAL, 'not installed', fix)


def _bridge() -> Finding:
    if importlib.util.find_spec('cv_bridge'):
        return Finding('cv_bridge', OK, 'converts the pictures')
    fix = 'nothing to do, or apt install ros-<distro>-cv-bridge'
    return Finding('cv_bridge', OPTIONAL, 'not installed: numpy converts the pictures', fix)


def _opencv() -> Finding:
    found = _module('cv2', 'pip install opencv-python-headless, or apt install python3-opencv')
    if found.state != OK:
        return found
    import cv2

    lines = cv2.getBuildInformation().splitlines()
    gstreamer = any('GStreamer' in line and 'YES' in line for line in lines)
    return Finding('cv2', OK, f'{found.seen}, {"with" if gstreamer else "without"} GStreamer')


def _torch() -> Finding:
    fix = 'pip install torch (on a Jetson: the wheel for your JetPack)'
    found = _module('torch', fix, OPTIONAL)
    if found.state != OK:
        return found
    import torch

    devices = torch.cuda.get_device_name(0) if torch.cuda.is_available() else 'no CUDA device'
    return Finding('torch', OK, f'{found.seen}, {devices}')


def _inference() -> Finding:
    fix = 'pip install onnxruntime; until then torch runs the models'
    return _module('onnxruntime', fix, OPTIONAL)


def _model() -> Finding:
    try:
        from sage_perception import models

        codec = models.load('tinyvae')
    except (ImportError, models.ModelError) as error:
        return Finding('model', MISSING, str(error), 'reinstall sage_perception')
    return Finding('model', OK, f'{codec.id} on {codec.backend}')


def _cameras() -> Finding:
    devices = sorted(glob.glob('/dev/video*'))
    if not devices:
        return Finding(
            'cameras',
            OPTIONAL,
            'no /dev/video*',
            'plug a camera in, or use file://, rtsp:// or synthetic:// as source',
        )
    closed = [device for device in devices if not os.access(device, os.R_OK | os.W_OK)]
    if closed:
        fix = 'sudo usermod -aG video $USER, then log in again'
        return Finding('cameras', MISSING, f'no permission for {", ".join(closed)}', fix)
    return Finding('cameras', OK, ', '.join(devices))


def _shared_memory() -> Finding:
    free = shutil.disk_usage('/dev/shm').free >> 20 if os.path.isdir('/dev/shm') else 0
    if free < LEAST_SHM_MIB:
        fix = (
            'docker run --shm-size=1g, or --ipc=host; `fastdds shm clean` removes what '
            'killed nodes left'
        )
        return Finding('/dev/shm', MISSING, f'{free} MiB free', fix)
    return Finding('/dev/shm', OK, f'{free} MiB free')


CHECKS: tuple[Callable[[], Finding], ...] = (
    _python,
    _ros,
    _middleware,
    _messages,
    _launch,
    _bridge,
    _opencv,
    _inference,
    _torch,
    _model,
    _cameras,
    _shared_memory,
)


def main(argv: list[str] | None = None) -> int:
    """Print the findings; return 1 when something is missing that the graph needs."""
    parser = argparse.ArgumentParser(
        prog='sage doctor',
        description='See what is installed, what is missing, and the fix for each.',
    )
    parser.add_argument('--json', action='store_true', help='print one JSON object')
    args = parser.parse_args(argv)
    findings = [check() for check in CHECKS]
    if args.json:
        print(json.dumps({'version': __version__, 'findings': [asdict(f) for f in findings]}))
    else:
        table = Table(title=f'sage {__version__}', title_justify='left', box=None)
        for heading in ('', 'state', 'seen', 'fix'):
            table.add_column(heading, overflow='fold')
        for finding in findings:
            style = STYLES[finding.state]
            state = f'[{style}]{finding.state}[/]'
            table.add_row(finding.name, state, finding.seen, finding.fix)
        Console().print(table)
    return int(any(finding.state == MISSING for finding in findings))


if __name__ == '__main__':
    sys.exit(main())
