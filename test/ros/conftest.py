# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Fixtures of the tests with nodes in the test process."""

import json
import os
import signal
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
from vision_interfaces import fingerprint, write_packages

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def keep_signals():
    """Restore the signal handlers, which nodes in this process change."""
    numbers = (signal.SIGINT, signal.SIGTERM)
    before = {number: signal.getsignal(number) for number in numbers}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.fixture(scope='session')
def prefix(tmp_path_factory):
    """Return an ament prefix with vision_msgs and tf2_msgs, built once for this environment."""
    if find_spec('vision_msgs') and find_spec('tf2_msgs'):
        return None
    if find_spec('colcon_core') is None:
        pytest.skip('vision_msgs is not installed, nor is colcon, which builds it')
    folder = ROOT / 'out' / 'vision_msgs' / fingerprint()
    done = folder / 'done'
    if not done.exists():
        work = tmp_path_factory.mktemp('colcon')
        source = write_packages(work / 'source')
        version = f'{sys.version_info[0]}.{sys.version_info[1]}'
        python_folder = f'lib/python{version}/site-packages'
        environment = {
            **os.environ,
            'CMAKE_PREFIX_PATH': os.environ['AMENT_PREFIX_PATH'],
            'COLCON_LOG_PATH': str(work / 'log'),
        }
        command = [sys.executable, '-m', 'colcon', 'build', '--merge-install']
        command += ['--base-paths', str(source), '--build-base', str(work / 'build')]
        command += ['--install-base', str(folder), '--cmake-args', '-DBUILD_TESTING=OFF']
        command += [f'-DPython3_EXECUTABLE={sys.executable}', '-Wno-dev']
        command += [f'-DPYTHON_INSTALL_DIR={python_folder}']
        built = subprocess.run(command, env=environment, capture_output=True, text=True)
        assert built.returncode == 0, built.stdout + built.stderr
        done.touch()
    return folder


@pytest.fixture
def optional_messages(prefix):
    """Return a function that runs a program with vision_msgs and tf2_msgs.

    It returns the object that the program prints in JSON.
    """
    environment = dict(os.environ)
    own = [str(ROOT / 'test'), str(ROOT / 'test' / 'ros'), environment.get('PYTHONPATH', '')]
    environment['PYTHONPATH'] = os.pathsep.join(filter(None, own))
    if prefix is not None:
        packages = next(prefix.glob('lib/python3.*/site-packages'))
        for name, folder in (
            ('PYTHONPATH', packages),
            ('AMENT_PREFIX_PATH', prefix),
            ('LD_LIBRARY_PATH', prefix / 'lib'),
        ):
            others = [environment[name]] if environment.get(name) else []
            environment[name] = os.pathsep.join([str(folder), *others])
        # Otherwise the wheels of ROS do not add their libraries to the path.
        environment.pop('_ROS_WHEELS_BOOTSTRAP_COMPLETE', None)

    def run(program):
        done = subprocess.run(
            [sys.executable, '-m', program.stem],
            env=environment,
            capture_output=True,
            text=True,
            timeout=150,
        )
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout.splitlines()[-1])

    return run
