# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""What both ways to run a graph share: its files, its middleware, and when to give a node up."""

from __future__ import annotations

import fcntl
import importlib.metadata
import os
import sys
import time
from collections.abc import Mapping
from pathlib import Path

from sage_perception.bringup.graph import PACKAGE


def config_path(name: str) -> Path:
    """Find a file of `config/`, in a source tree or where the package is installed.

    Raises FileNotFoundError when it is in neither.
    """
    prefixes = [*os.environ.get('AMENT_PREFIX_PATH', '').split(os.pathsep), sys.prefix]
    places = [Path(__file__).resolve().parents[1] / 'config']
    places += [Path(prefix, 'share', PACKAGE, 'config') for prefix in prefixes if prefix]
    for place in places:
        if (place / name).is_file():
            return place / name
    raise FileNotFoundError(f'{name} is in none of {", ".join(map(str, places))}: reinstall')


def dds_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the variables that give the nodes our Fast DDS profile.

    Empty when another middleware is chosen, or when the user has configured Fast DDS's
    transports already.
    """
    if 'fastrtps' not in environment.get('RMW_IMPLEMENTATION', 'rmw_fastrtps_cpp'):
        return {}
    ours = {'FASTDDS_DEFAULT_PROFILES_FILE', 'FASTRTPS_DEFAULT_PROFILES_FILE'}
    if any(environment.get(name) for name in ours | {'FASTDDS_BUILTIN_TRANSPORTS'}):
        return {}
    profile = str(config_path('fastdds_shm.xml'))
    # Fast DDS 3 (Kilted) renamed the variable, and each node warns about the old one.
    try:
        modern = int(importlib.metadata.version('rclpy').split('.')[0]) >= 9
    except importlib.metadata.PackageNotFoundError:
        return dict.fromkeys(sorted(ours), profile)
    name = 'FASTDDS_DEFAULT_PROFILES_FILE' if modern else 'FASTRTPS_DEFAULT_PROFILES_FILE'
    return {name: profile}


def remove_stale_shared_memory(folder: Path = Path('/dev/shm'), age_s: float = 5.0) -> int:
    """Remove the Fast DDS segments of processes that were killed; return how many there were.

    A killed process leaves its segment behind, 64 MiB with our profile, and nothing else removes
    it. While a process lives it holds a lock on `<segment>_el`: what can be locked is nobody's.
    Segments younger than `age_s` seconds are left alone, they may not have been locked yet.
    """
    removed = 0
    for lock in folder.glob('fast*_el'):
        segment = lock.with_name(lock.name.removesuffix('_el'))
        if 'port' in lock.name or not os.access(lock, os.W_OK):
            continue
        try:
            with open(lock) as file:
                if time.time() - os.fstat(file.fileno()).st_mtime < age_s:
                    continue
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                segment.unlink(missing_ok=True)
                lock.unlink()
                removed += 1
        except (BlockingIOError, FileNotFoundError):
            continue
    return removed


class DeathRecord:
    """When to give a node up: a configuration error, or too many deaths in a short time.

    A node that refuses its configuration exits with code 2; starting it again cannot help.
    """

    CONFIGURATION_ERROR = 2
    LIMIT = 5
    WINDOW_S = 30.0

    def __init__(self, respawn: bool) -> None:
        self._respawn = respawn
        self._deaths: list[float] = []

    def verdict(self, exit_code: int, now_s: float) -> str | None:
        """Note a death at `now_s` (monotonic seconds); return why it is the last one, or None."""
        self._deaths = [t for t in self._deaths if now_s - t < self.WINDOW_S] + [now_s]
        if exit_code == self.CONFIGURATION_ERROR:
            return 'configuration error (exit code 2), see its message above'
        if not self._respawn:
            return f'{describe_exit(exit_code)}, and respawn is off'
        if len(self._deaths) >= self.LIMIT:
            return (
                f'died {self.LIMIT} times within {self.WINDOW_S:.0f} s, {describe_exit(exit_code)}'
            )
        return None


def describe_exit(code: int) -> str:
    """Say what a process's exit code means, `-n` being signal n."""
    return f'killed by signal {-code}' if code < 0 else f'exit code {code}'
