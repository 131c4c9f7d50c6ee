# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""The ament prefix that sage is installed in, and the environment variables that name it.

ROS looks up packages, message definitions and middleware in `AMENT_PREFIX_PATH` and shared
libraries in `LD_LIBRARY_PATH`. The setup files of a colcon workspace set both. A virtual
environment that contains sage has no setup file, so that each program of sage completes the
variables itself; child processes inherit them.
"""

from __future__ import annotations

import os
import sys
from collections.abc import MutableMapping
from pathlib import Path

MARKER = Path('share', 'ament_index', 'resource_index', 'packages')
"""Folder of a prefix that contains an empty file for each installed ROS package."""
MESSAGE_LIBRARY = 'libsage_msgs__rosidl_typesupport_c.so'


def own_prefix(package: str = 'sage_perception') -> Path | None:
    """Return the ament prefix of this Python process that contains `package`, or None.

    It is the folder that colcon installed this file to, or else that of the interpreter.
    """
    places = [*Path(__file__).resolve().parents, Path(sys.prefix)]
    return next((place for place in places if (place / MARKER / package).is_file()), None)


def is_indexed(package: str, environment: MutableMapping[str, str] = os.environ) -> bool:
    """Return whether a prefix in `AMENT_PREFIX_PATH` contains a ROS package."""
    prefixes = environment.get('AMENT_PREFIX_PATH', '').split(os.pathsep)
    return any((Path(prefix) / MARKER / package).is_file() for prefix in prefixes if prefix)


def complete_environment(environment: MutableMapping[str, str] = os.environ) -> bool:
    """Prepend the own prefix to the environment variables that lack it.

    Returns whether `LD_LIBRARY_PATH` changed: the dynamic linker reads it only when a process
    starts, so that libraries are found only after `restart` and in child processes.
    """
    prefix = own_prefix()
    if prefix is None:
        return False
    _prepend(environment, 'AMENT_PREFIX_PATH', prefix)
    if not (prefix / 'lib' / MESSAGE_LIBRARY).is_file():
        return False
    return _prepend(environment, 'LD_LIBRARY_PATH', prefix / 'lib')


def prepare_ros(package: str = 'sage_msgs') -> None:
    """Complete the environment of a script before it imports ROS.

    The script starts again if the dynamic linker must know the libraries. It exits with one line
    that names the fix if no prefix contains `package`.
    """
    if complete_environment():
        restart()
    if not is_indexed(package):
        sys.exit(
            f'{Path(sys.argv[0]).name}: AMENT_PREFIX_PATH names no prefix with {package}: '
            'run "make build" and use .venv/bin/python, or source the setup file of the workspace'
        )


def restart() -> None:
    """Replace this process by a new one with the same command line and the current environment."""
    sys.stdout.flush()
    sys.stderr.flush()
    os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])


def _prepend(environment: MutableMapping[str, str], name: str, folder: Path) -> bool:
    """Prepend a folder to a search path unless it is in there; return whether it was not."""
    present = [part for part in environment.get(name, '').split(os.pathsep) if part]
    if any(Path(part).resolve() == folder.resolve() for part in present):
        return False
    environment[name] = os.pathsep.join([str(folder), *present])
    return True
