# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""The host: Python, PATH, folders, disk and shared memory."""

from __future__ import annotations

import os
import platform
import shutil
import sys
import sysconfig
import tempfile
from pathlib import Path

from sage_perception.bringup.prefix import own_prefix
from sage_perception.core.files import cache_folder
from sage_perception.installation.finding import MISSING, OK, OPTIONAL, Finding

MIN_SHM_MIB = 256
"""Free space in /dev/shm that the nodes of a graph require, MiB."""
MIN_DISK_MIB = 256
"""Free space for logs, caches and bags below which it is reported, MiB."""


def python() -> Finding:
    """Check that pip can install packages for this Python."""
    detail = f'{platform.python_version()} on {platform.machine()}'
    managed = Path(sysconfig.get_path('stdlib'), 'EXTERNALLY-MANAGED').is_file()
    if managed and sys.prefix == sys.base_prefix:
        fix = (
            'run "python3 -m venv --system-site-packages .venv" and "source .venv/bin/activate", '
            'then pip'
        )
        detail += '; pip installs nothing outside a virtual environment (PEP 668)'
        return Finding('Python', OPTIONAL, detail, fix)
    return Finding('Python', OK, detail)


def command() -> Finding:
    """Check that `sage` on PATH is the command of this installation."""
    prefix = own_prefix()
    fix = 'source install/setup.bash of the colcon workspace'
    if prefix is not None and (prefix / 'bin' / 'sage').exists():
        fix = f'run "export PATH={prefix / "bin"}:$PATH"'
    found = shutil.which('sage')
    if found is None:
        return Finding('command', OPTIONAL, 'sage is not on PATH', fix)
    if prefix is not None and not Path(found).resolve().is_relative_to(prefix.resolve()):
        detail = f'sage on PATH is another program: {found}'
        return Finding('command', OPTIONAL, detail, fix)
    return Finding('command', OK, found)


def folders() -> Finding:
    """Check that the folders of logs and caches exist or can be created."""
    logs = os.environ.get('ROS_LOG_DIR') or Path(
        os.environ.get('ROS_HOME') or Path.home() / '.ros', 'log'
    )
    closed = [
        (folder, variable)
        for folder, variable in ((Path(logs), 'ROS_LOG_DIR'), (cache_folder(), 'XDG_CACHE_HOME'))
        if not _can_create(folder)
    ]
    if closed:
        detail = f'not writable: {", ".join(str(folder) for folder, _ in closed)}'
        places = ' '.join(f'{variable}=FOLDER' for _, variable in closed)
        fix = f'run "export {places}" with a folder that this user can write to'
        return Finding('folders', MISSING, detail, fix)
    return Finding('folders', OK, f'logs in {logs}, caches in {cache_folder()}')


def _can_create(folder: Path) -> bool:
    """Return whether files can be created in a folder, or the folder in an existing one.

    ROS does not create the home folder.
    """
    if folder.is_relative_to(Path.home()) and not Path.home().is_dir():
        return False
    present = next(path for path in (folder, *folder.parents) if path.exists())
    return present.is_dir() and os.access(present, os.W_OK | os.X_OK)


def disk() -> Finding:
    """Check the free space of the home folder, the temporary folder and the current folder."""
    places = [Path.home(), Path(tempfile.gettempdir()), Path.cwd()]
    free = {place: shutil.disk_usage(place).free >> 20 for place in places if place.is_dir()}
    full = [f'{place}: {mib} MiB free' for place, mib in free.items() if mib < MIN_DISK_MIB]
    if full:
        fix = 'delete old bags, logs and caches, or use a folder on another disk'
        return Finding('disk', MISSING, ', '.join(full), fix)
    return Finding('disk', OK, f'{min(free.values()) >> 10} GiB free' if free else 'no folders')


def shared_memory() -> Finding:
    """Check that /dev/shm has room for the segments of the nodes."""
    free = shutil.disk_usage('/dev/shm').free >> 20 if os.path.isdir('/dev/shm') else 0
    if free < MIN_SHM_MIB:
        fix = (
            'use docker run --shm-size=1g or --ipc=host; "fastdds shm clean" removes the segments '
            'of killed nodes'
        )
        return Finding('/dev/shm', MISSING, f'{free} MiB free', fix)
    return Finding('/dev/shm', OK, f'{free} MiB free')
