# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""`sage doctor`: complete, and independent of the packages it checks."""

import ast
import json
import re
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest

from sage_perception.cli import doctor

ROOT = Path(__file__).resolve().parents[2]
CHECKED_SEPARATELY = {'launch', 'launch_ros', 'sage_msgs'}
MODULES = {package.module for package in doctor.PACKAGES}

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
    assert imported() - CHECKED_SEPARATELY - set(doctor.ROS_PACKAGES) <= MODULES


@pytest.mark.parametrize('file', ['base.txt', 'robot.txt'])
def test_checks_every_required_package(file):
    lines = (ROOT / 'requirements' / file).read_text().splitlines()
    required = {re.split('[=; ]', line)[0] for line in lines if not line.startswith('#')}
    assert required <= {package.pip for package in doctor.PACKAGES}


def test_checks_every_dependency_of_the_ros_package():
    tree = ElementTree.parse(ROOT / 'package.xml').getroot()
    dependencies = {node.text for kind in ('depend', 'exec_depend') for node in tree.findall(kind)}
    apt = {package.apt for package in doctor.PACKAGES}
    assert dependencies <= apt | CHECKED_SEPARATELY | set(doctor.ROS_PACKAGES)


def test_reports_fixes_without_any_package():
    everything = imported() | {'tensorboard'}
    findings, code = found_without(everything)
    assert code == 1
    for package in doctor.PACKAGES:
        finding = findings[package.module]
        assert finding['state'] == ('optional' if package.purpose else 'missing')
        assert f'pip install "{package.pip}"' in finding['fix']
    for name in ('ROS', 'sage_msgs', 'model'):
        assert findings[name]['state'] == 'missing'
        assert findings[name]['fix']


@pytest.mark.parametrize('package', ['safetensors', 'yaml'])
def test_missing_package_of_models_is_reported(package):
    findings, code = found_without([package])
    assert code == 1
    assert findings['model']['detail'] == f'No module named {package!r}'
    missing = {name for name, finding in findings.items() if finding['state'] == 'missing'}
    assert {package, 'model'} <= missing <= {package, 'model', '/dev/shm', 'ROS', 'middleware'}


def test_text_shows_the_fix_below_the_problem(capsys):
    shown = doctor.text(
        [
            doctor.Finding('numpy', doctor.OK, '2.4'),
            doctor.Finding('cv2', doctor.MISSING, 'not installed', 'pip install it'),
        ],
        colored=False,
    )
    assert shown.splitlines()[1:] == [
        'ok       numpy  2.4',
        'missing  cv2    not installed',
        '                → pip install it',
    ]
    assert '\x1b[' in doctor.text([doctor.Finding('numpy', doctor.OK, '2.4')], colored=True)
