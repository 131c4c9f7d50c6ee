# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""The environment of a measurement: versions, processor and thread counts."""

from __future__ import annotations

import importlib.metadata
import os
import platform
from pathlib import Path

from sage_perception import __version__

PACKAGES = ('numpy', 'opencv-python-headless', 'onnxruntime', 'torch', 'rclpy', 'rosbags')


def environment() -> tuple[tuple[str, str], ...]:
    """Return names and values: the versions of sage, Python and libraries, and the machine."""
    rows = [('sage', __version__), ('Python', platform.python_version())]
    for package in PACKAGES:
        try:
            rows.append((package, importlib.metadata.version(package)))
        except importlib.metadata.PackageNotFoundError:
            continue
    rows += [
        ('ROS distribution', os.environ.get('ROS_DISTRO', 'not set')),
        ('system', f'{platform.system()} {platform.release()}, {platform.machine()}'),
        ('processor', f'{_processor()}, {os.cpu_count()} cores'),
    ]
    return tuple(rows)


def _processor() -> str:
    """Return the name of the processor."""
    try:
        lines = Path('/proc/cpuinfo').read_text(errors='replace').splitlines()
    except OSError:
        lines = []
    names = [line.partition(':')[2].strip() for line in lines if line.startswith('model name')]
    return names[0] if names else platform.processor() or 'unknown'
