# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Configuration files and middleware settings of a graph."""

from __future__ import annotations

import fcntl
import importlib.metadata
import os
import sys
import time
from collections.abc import Mapping
from pathlib import Path

from sage_perception.bringup.graph import PACKAGE
from sage_perception.core.reading import open_regular


def config_path(name: str) -> Path:
    """Return the path of a file in `config/`, in the source tree or the installed package.

    Raises `FileNotFoundError` if it is in neither.
    """
    prefixes = [*os.environ.get('AMENT_PREFIX_PATH', '').split(os.pathsep), sys.prefix]
    places = [Path(__file__).resolve().parents[2] / 'config']
    places += [Path(prefix, 'share', PACKAGE, 'config') for prefix in prefixes if prefix]
    for place in places:
        if (place / name).is_file():
            return place / name
    raise FileNotFoundError(
        f'{name} is missing; searched {", ".join(map(str, places))}; reinstall the package'
    )


def dds_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the environment variables that load `config/fastdds_shm.xml` in the nodes.

    The result is empty if `environment` selects another middleware or configures the transports of
    Fast DDS.
    """
    if 'fastrtps' not in environment.get('RMW_IMPLEMENTATION', 'rmw_fastrtps_cpp'):
        return {}
    names = {'FASTDDS_DEFAULT_PROFILES_FILE', 'FASTRTPS_DEFAULT_PROFILES_FILE'}
    if any(environment.get(name) for name in names | {'FASTDDS_BUILTIN_TRANSPORTS'}):
        return {}
    profile = str(config_path('fastdds_shm.xml'))
    # Fast DDS 3 (Kilted) renamed the variable and warns about the old name.
    try:
        modern = int(importlib.metadata.version('rclpy').split('.')[0]) >= 9
    except importlib.metadata.PackageNotFoundError:
        return dict.fromkeys(sorted(names), profile)
    name = 'FASTDDS_DEFAULT_PROFILES_FILE' if modern else 'FASTRTPS_DEFAULT_PROFILES_FILE'
    return {name: profile}


def remove_stale_shared_memory(folder: Path = Path('/dev/shm'), age_s: float = 5.0) -> int:
    """Remove the shared memory segments of killed Fast DDS processes; return their number.

    A killed process leaves its segment behind, 64 MiB with `config/fastdds_shm.xml`. A live
    process holds a lock on `<segment>_el`, so that a segment whose lock is free is stale. Segments
    younger than `age_s` seconds are kept, because they may not be locked yet.
    """
    removed = 0
    for lock in folder.glob('fast*_el'):
        segment = lock.with_name(lock.name.removesuffix('_el'))
        if 'port' in lock.name or not os.access(lock, os.W_OK):
            continue
        try:
            with open_regular(lock) as file:
                if time.time() - os.fstat(file.fileno()).st_mtime < age_s:
                    continue
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                segment.unlink(missing_ok=True)
                lock.unlink()
                removed += 1
        except OSError:  # locked, already removed, or not a segment of Fast DDS
            continue
    return removed
