# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""`sage doctor`: complete, independent of the packages it checks, and a fix for each fault."""

import ast
import datetime
import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
from collections import namedtuple
from pathlib import Path
from xml.etree import ElementTree

import pytest

from sage_perception.cli import doctor
from sage_perception.installation import (
    MISSING,
    OK,
    OPTIONAL,
    PACKAGES,
    Finding,
    Package,
    host,
    packages,
    ros,
    run_check,
)

ROOT = Path(__file__).resolve().parents[2]
CHECKED_SEPARATELY = {'launch', 'launch_ros', 'cv_bridge', 'sage_msgs', 'tf2_msgs', 'vision_msgs'}
OF_PYTEST = {'pytest'}
"""What only the plugin of pytest imports."""
MODULES = {package.module for package in PACKAGES}

HIDING = """
import sys
from importlib.machinery import PathFinder

find = PathFinder.find_spec
PathFinder.find_spec = lambda name, *where: (
    None if name.split('.')[0] in {hidden!r} else find(name, *where)
)
from sage_perception.cli import main as cli
sys.exit(cli.main(['doctor', '--json']))
"""


def imported():
    """Return the names of the distributions' modules that the package imports."""
    names = set()
    for file in (ROOT / 'sage_perception').rglob('*.py'):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Import):
                names |= {alias.name.split('.')[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and not node.level:
                names.add(node.module.split('.')[0])
    return names - {'sage_perception'} - sys.stdlib_module_names


def found_without(hidden):
    """Return the findings by name and the exit code while some packages are hidden."""
    program = HIDING.format(hidden=set(hidden))
    done = subprocess.run([sys.executable, '-c', program], capture_output=True, text=True)
    assert done.stderr == ''
    findings = json.loads(done.stdout)['findings']
    return {finding['name']: finding for finding in findings}, done.returncode


def test_checks_every_imported_package():
    assert imported() - OF_PYTEST - CHECKED_SEPARATELY - set(ros.ROS_PACKAGES) <= MODULES


@pytest.mark.parametrize('file', ['base.in', 'robot.txt', 'torch.txt'])
def test_checks_every_required_package(file):
    lines = (ROOT / 'requirements' / file).read_text().splitlines()
    required = {re.split('[<>=; ]', line)[0] for line in lines if line[:1] not in ('#', '-')}
    assert required - {''} <= {package.pip for package in PACKAGES}


def test_checks_every_dependency_of_the_ros_package():
    tree = ElementTree.parse(ROOT / 'package.xml').getroot()
    dependencies = {node.text for kind in ('depend', 'exec_depend') for node in tree.findall(kind)}
    apt = {package.apt for package in PACKAGES}
    assert dependencies <= apt | CHECKED_SEPARATELY | set(ros.ROS_PACKAGES)


def test_reports_fixes_without_any_package():
    everything = imported() | {'tensorboard'}
    findings, code = found_without(everything)
    assert code == 1
    for package in PACKAGES:
        finding = findings[package.module]
        assert finding['state'] == ('optional' if package.purpose else 'missing')
        assert f'pip install "{package.pip}"' in finding['fix']
    for name in ('ROS', 'sage_msgs', 'model', 'middleware'):
        assert findings[name]['state'] == 'missing'
        assert findings[name]['fix']


@pytest.mark.parametrize('package', ['safetensors', 'yaml'])
def test_missing_package_of_models_is_reported(package):
    findings, code = found_without([package])
    assert code == 1
    assert findings['model']['detail'] == f'No module named {package!r}'
    missing = {name for name, finding in findings.items() if finding['state'] == 'missing'}
    elsewhere = {'/dev/shm', 'ROS', 'middleware', 'disk', 'folders'}
    assert {package, 'model'} <= missing <= {package, 'model'} | elsewhere


@pytest.mark.parametrize(('numpy', 'bound'), [('1.21.5', '"numpy<2" '), ('2.2.6', '')])
def test_a_fix_keeps_numpy_1(numpy, bound, monkeypatch):
    monkeypatch.setattr(packages, 'distribution_version', lambda name: numpy)
    finding = packages.check_package(Package('absent_module', 'absent', '', 'nothing'))
    assert finding.fix == f'pip install {bound}"absent"'


def test_text_shows_the_fix_below_the_problem():
    shown = doctor.text(
        [Finding('numpy', OK, '2.4'), Finding('cv2', MISSING, 'not installed', 'pip install it')],
        colored=False,
    )
    assert shown.splitlines()[1:] == [
        'ok       numpy  2.4',
        'missing  cv2    not installed',
        '                fix: pip install it',
    ]
    assert '\x1b[' in doctor.text([Finding('numpy', OK, '2.4')], colored=True)


@pytest.mark.parametrize('options', [[], ['--json'], ['--help']])
def test_output_is_shown_by_a_terminal_without_unicode(options, tmp_path):
    home = tmp_path / 'Zoë'
    home.mkdir()
    environment = {**os.environ, 'HOME': str(home), 'LC_ALL': 'C', 'PYTHONIOENCODING': 'ascii'}
    environment.pop('XDG_CACHE_HOME', None)
    done = subprocess.run(
        [sys.executable, '-m', 'sage_perception.cli.main', 'doctor', *options],
        env=environment,
        capture_output=True,
        cwd=ROOT,
    )
    assert done.stderr == b''
    shown = done.stdout.decode('ascii')
    if not options:
        assert 'Zo??' in shown or 'Zo?' in shown


def test_an_externally_managed_python_needs_a_virtual_environment(tmp_path, monkeypatch):
    monkeypatch.setattr(sysconfig, 'get_path', lambda name: str(tmp_path))
    assert host.python().state == OK
    (tmp_path / 'EXTERNALLY-MANAGED').touch()
    assert host.python().state == OK, 'this test runs in a virtual environment'
    monkeypatch.setattr(sys, 'prefix', sys.base_prefix)
    finding = host.python()
    assert finding.state == OPTIONAL
    assert 'PEP 668' in finding.detail
    assert 'python3 -m venv --system-site-packages .venv' in finding.fix


@pytest.fixture
def prefix(tmp_path, monkeypatch):
    """The prefix of an installation with the command `bin/sage`."""
    folder = tmp_path / 'prefix'
    (folder / 'bin').mkdir(parents=True)
    (folder / 'bin' / 'sage').touch(mode=0o755)
    monkeypatch.setattr(host, 'own_prefix', lambda: folder)
    return folder


def test_a_command_that_is_not_on_the_path_is_reported(prefix, tmp_path, monkeypatch):
    monkeypatch.setenv('PATH', str(tmp_path))
    assert host.command() == Finding(
        'command', OPTIONAL, 'sage is not on PATH', f'run "export PATH={prefix}/bin:$PATH"'
    )
    monkeypatch.setenv('PATH', f'{prefix}/bin')
    assert host.command().state == OK


def test_another_program_of_the_same_name_is_reported(prefix, tmp_path, monkeypatch):
    (tmp_path / 'sage').touch(mode=0o755)
    monkeypatch.setenv('PATH', f'{tmp_path}:{prefix}/bin')
    finding = host.command()
    assert finding.state == OPTIONAL
    assert finding.detail == f'sage on PATH is another program: {tmp_path}/sage'


def test_folders_that_cannot_be_written_are_named(tmp_path, monkeypatch):
    for name in ('ROS_LOG_DIR', 'ROS_HOME', 'XDG_CACHE_HOME'):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv('HOME', str(tmp_path))
    assert host.folders().state == OK
    # Also for root, a file is no folder.
    (tmp_path / '.ros').touch()
    finding = host.folders()
    assert finding.state == MISSING
    assert finding.detail == f'not writable: {tmp_path}/.ros/log'
    assert 'export ROS_LOG_DIR=FOLDER' in finding.fix
    monkeypatch.setenv('HOME', str(tmp_path / 'absent'))
    finding = host.folders()
    assert finding.state == MISSING
    assert 'ROS_LOG_DIR=FOLDER XDG_CACHE_HOME=FOLDER' in finding.fix


def test_a_read_only_home_is_reported(monkeypatch):
    monkeypatch.setattr(os, 'access', lambda path, mode: not mode & os.W_OK)
    assert host.folders().state == MISSING


def test_a_full_disk_is_reported(tmp_path, monkeypatch):
    usage = namedtuple('usage', 'total used free')
    full = {str(tmp_path): 10 << 20}
    monkeypatch.setattr(
        shutil, 'disk_usage', lambda path: usage(0, 0, full.get(str(path), 90 << 30))
    )
    assert host.disk() == Finding('disk', OK, '90 GiB free')
    monkeypatch.setenv('HOME', str(tmp_path))
    finding = host.disk()
    assert finding.state == MISSING
    assert finding.detail == f'{tmp_path}: 10 MiB free'
    assert finding.fix


@pytest.mark.parametrize(
    ('name', 'day', 'state'),
    [
        ('kilted', '2026-06-01', OK),
        ('kilted', '2026-11-29', OPTIONAL),
        ('jazzy', '2026-11-29', OK),
        ('humble', '2027-06-01', OPTIONAL),
        ('galactic', '2026-11-29', OPTIONAL),
    ],
)
def test_the_end_of_life_of_a_distribution_is_reported(name, day, state, monkeypatch):
    monkeypatch.setenv('ROS_DISTRO', name)
    finding = ros.distribution(datetime.date.fromisoformat(day))
    assert (finding.state, bool(finding.fix)) == (state, state != OK)
    if name == 'kilted' and state == OPTIONAL:
        assert finding.detail == 'kilted, end of life in December 2026'
        assert finding.fix == 'move to jazzy or lyrical'


@pytest.mark.parametrize(('version', 'name'), [('3.3.21', 'humble'), ('7.1.6', 'jazzy')])
def test_the_distribution_is_known_from_the_version_of_rclpy(version, name, monkeypatch):
    monkeypatch.delenv('ROS_DISTRO', raising=False)
    monkeypatch.setattr(ros, 'distribution_version', lambda package: version)
    assert ros.distribution_name() == name


def test_a_prefix_without_sage_is_reported(tmp_path, monkeypatch):
    monkeypatch.setenv('AMENT_PREFIX_PATH', str(tmp_path))
    finding = ros.index()
    assert finding.state == MISSING
    assert (
        finding.detail == 'AMENT_PREFIX_PATH contains no prefix of sage_perception and sage_msgs'
    )
    assert 'source install/setup.bash' in finding.fix
    packages = tmp_path / 'share' / 'ament_index' / 'resource_index' / 'packages'
    packages.mkdir(parents=True)
    (packages / 'sage_perception').touch()
    (packages / 'sage_msgs').touch()
    assert ros.index().state == OK


def test_middleware_that_is_not_installed_is_reported(monkeypatch):
    pytest.importorskip('rclpy')
    monkeypatch.setenv('RMW_IMPLEMENTATION', 'rmw_absent_cpp')
    monkeypatch.setenv('ROS_DISTRO', 'jazzy')
    finding = run_check(ros.middleware)
    assert finding.state == MISSING
    assert finding.detail.startswith('RMW_IMPLEMENTATION=rmw_absent_cpp: ')
    assert finding.fix == 'unset RMW_IMPLEMENTATION, or apt install ros-jazzy-rmw-absent-cpp'


@pytest.mark.parametrize(
    ('numpy', 'fix'),
    [
        ('2.2.6', 'pip install "numpy<2"'),
        ('1.26.4', 'apt install --reinstall ros-humble-cv-bridge'),
    ],
)
def test_a_cv_bridge_that_numpy_cannot_load_is_reported(numpy, fix, tmp_path, monkeypatch):
    code = "raise ImportError('numpy.core.multiarray failed to import')"
    (tmp_path / 'cv_bridge.py').write_text(code)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv('PYTHONPATH', str(tmp_path))
    monkeypatch.setenv('ROS_DISTRO', 'humble')
    monkeypatch.setattr(ros, 'distribution_version', lambda package: numpy)
    finding = ros.bridge()
    assert finding.state == OPTIONAL
    assert f'numpy {numpy}: ImportError: numpy.core.multiarray failed' in finding.detail
    assert finding.fix.startswith(fix)
