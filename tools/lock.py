# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Resolve requirements/*.in to exact versions with hashes in requirements/lock/.

uv keeps the versions of the existing lock files unless `--upgrade` is given. It runs in an
environment of its own, because nothing else requires it.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
REQUIREMENTS = ROOT / 'requirements'
UV = 'uv==0.13.9'
# In this order: the wheels of a distribution are resolved with the versions of `common`.
LOCKS = {
    'common': ['base.in', 'dev.in'],
    'ros-jazzy': ['ros-jazzy.in', '-c', 'lock/common.txt'],
    'ros-kilted': ['ros-kilted.in', '-c', 'lock/common.txt'],
    'bench': ['bench.in', '-c', 'lock/common.txt'],
    'installed-ros': ['base.in', 'dev.in', 'installed-ros.in'],
    # The theme of the site requires Python 3.11.
    'docs': ['docs.in', '--python-version', '3.11'],
}


def install_uv(folder: Path) -> Path:
    """Create an environment in `folder` that has uv, unless it exists; return the uv program."""
    program = folder / 'bin' / 'uv'
    if not program.exists():
        subprocess.run([sys.executable, '-m', 'venv', folder], check=True)
        subprocess.run([folder / 'bin' / 'pip', 'install', '-q', UV], check=True)
    return program


def lock(uv: Path, options: list[str]) -> None:
    """Write each lock file."""
    environment = {**os.environ, 'UV_CUSTOM_COMPILE_COMMAND': 'make lock'}
    for name, sources in LOCKS.items():
        print(f'-- requirements/lock/{name}.txt', flush=True)
        command = [uv, '--config-file', 'uv.toml', 'pip', 'compile', '-q', *options, *sources]
        command += ['-o', f'lock/{name}.txt']
        subprocess.run(command, check=True, cwd=REQUIREMENTS, env=environment)


def main() -> int:
    """Resolve all requirements; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--venv', type=Path, default=ROOT / '.venv-lock', help='environment of uv')
    parser.add_argument('--upgrade', action='store_true', help='take the newest versions')
    args = parser.parse_args()
    try:
        lock(install_uv(args.venv), ['--upgrade'] if args.upgrade else [])
    except subprocess.CalledProcessError as error:
        return int(error.returncode)
    return 0


if __name__ == '__main__':
    sys.exit(main())
