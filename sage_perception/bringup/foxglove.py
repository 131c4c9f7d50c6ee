# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""The node of foxglove_bridge, to which Foxglove connects."""

from __future__ import annotations

import os
from pathlib import Path

from sage_perception.bringup.graph import NodeSpec
from sage_perception.bringup.prefix import MARKER

PACKAGE = 'foxglove_bridge'
PORT = 8765
"""The port that Foxglove tries first."""


def foxglove_bridge(
    option: str, port: int = PORT, *, namespace: str = '', use_sim_time: bool | None = None
) -> NodeSpec:
    """Return the node of the bridge. Its executable is the path of the program.

    `option` is the option that asks for it, for the messages. Raises `ValueError` for a port that
    does not exist, and `FileNotFoundError` with the fix if the bridge is not installed.
    """
    if not 0 < port < 2**16:
        raise ValueError(f'{option}: {port} is not a port, 1 to 65535')
    for prefix in os.environ.get('AMENT_PREFIX_PATH', '').split(os.pathsep):
        program = Path(prefix, 'lib', PACKAGE, PACKAGE)
        if prefix and Path(prefix, MARKER, PACKAGE).is_file() and os.access(program, os.X_OK):
            return NodeSpec(
                package=PACKAGE,
                executable=str(program),
                name=PACKAGE,
                namespace=namespace.strip('/'),
                parameters={'port': port, 'use_sim_time': bool(use_sim_time)},
            )
    distro = os.environ.get('ROS_DISTRO', 'jazzy')
    raise FileNotFoundError(
        f'{option}: {PACKAGE} is not installed: sudo apt install ros-{distro}-foxglove-bridge'
    )
