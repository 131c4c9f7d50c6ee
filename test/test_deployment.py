# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Dockerfile, compose file and workflow agree with the repository. No engine runs here."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from sage_perception.installation.ros import DISTRIBUTIONS

ROOT = Path(__file__).resolve().parents[1]
DOCKERFILE = (ROOT / 'Dockerfile').read_text()
COMPOSE = yaml.safe_load((ROOT / 'compose.yaml').read_text())
WORKFLOW = yaml.safe_load((ROOT / '.github' / 'workflows' / 'ci.yml').read_text())
MAKEFILE = (ROOT / 'Makefile').read_text()
STEPS = [
    (name, job, step['run'])
    for name, job in WORKFLOW['jobs'].items()
    for step in job['steps']
    if 'run' in step
]
STAGES = set(re.findall(r'^FROM .* AS (\w+)$', DOCKERFILE, re.MULTILINE))


def matrix(job, key):
    options = job.get('strategy', {}).get('matrix', {})
    return [*options.get(key, []), *(entry[key] for entry in options.get('include', []))]


def test_files_of_the_dockerfile_exist():
    copied = re.findall(r'^COPY (?!--)(\S+) \S+$', DOCKERFILE, re.MULTILINE)
    assert '.' in copied
    assert [name for name in copied if not (ROOT / name).exists()] == []
    entrypoint = re.search(r'^ENTRYPOINT \["/sage/src/sage/(\S+)"\]$', DOCKERFILE, re.MULTILINE)
    assert os.access(ROOT / entrypoint[1], os.X_OK)
    (tests,) = re.findall(r'"pytest", "([^"]+)"', DOCKERFILE)
    assert list((ROOT / tests).glob('test_*.py'))
    for folder in re.findall(r'src/sage/?(\S*)', re.search(r'colcon build (.*)', DOCKERFILE)[1]):
        assert (ROOT / folder / 'package.xml').is_file()


def test_the_build_context_excludes_what_git_ignores():
    lines = (ROOT / '.dockerignore').read_text().split()
    ignored = {line.strip('/').removesuffix('*') for line in lines}
    generated = ('.venv', 'build', 'install', 'log', 'out', '*.egg-info')
    assert {'.git', *generated} <= ignored


def test_services_build_a_stage_of_the_dockerfile():
    assert set(COMPOSE['services']) == {'demo', 'camera'}
    for name, service in COMPOSE['services'].items():
        assert service['build']['target'] in STAGES, name
        assert service['build']['args']['ROS_DISTRO'] == '${ROS_DISTRO:-jazzy}'
        assert (service['network_mode'], service['ipc']) == ('host', 'host')
        assert service['command'].startswith('sage up ')


@pytest.mark.parametrize('name', sorted(COMPOSE['services']))
def test_command_of_a_service_is_valid(name, capsys):
    from sage_perception.cli.main import main

    words = COMPOSE['services'][name]['command'].split()
    assert main([*words[1:], '--dry-run']) == 0


@pytest.mark.parametrize(('name', 'job', 'command'), STEPS)
def test_commands_of_the_workflow_exist(name, job, command):
    words = command.split()
    assert words[0] in ('make', 'docker')
    if words[0] == 'make':
        assert re.search(rf'^{words[1]}:', MAKEFILE, re.MULTILINE)
        wheels = re.search(r'WHEEL_DISTROS = \((.*)\)', (ROOT / 'tools/bootstrap.py').read_text())
        assert all(f"'{distro}'" in wheels[1] for distro in matrix(job, 'distro'))
    elif words[1] == 'build':
        assert '--target' not in words or words[words.index('--target') + 1] in STAGES


@pytest.mark.skipif(shutil.which('make') is None, reason='make is not installed')
@pytest.mark.parametrize(
    ('arguments', 'commands'),
    [
        ('', ['-m pytest -n 2 --dist loadfile test/core', '-m pytest --ignore test/core']),
        ('test/core -x', ['-m pytest test/core -x']),
        ('-k "first or second"', ['-m pytest -k first or second']),
    ],
)
def test_make_test_runs_all_tests_or_those_of_its_arguments(arguments, commands):
    options = ['--no-print-directory', '--old-file=build']
    words = ['make', *options, 'test', 'RUN=echo', f'PYTEST={arguments}']
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == commands


def test_workflow_tests_the_supported_distributions():
    jobs = WORKFLOW['jobs']
    images, wheels = matrix(jobs['images'], 'distro'), matrix(jobs['wheels'], 'distro')
    assert {*images, *wheels} == set(DISTRIBUTIONS)
    assert {'ubuntu-24.04', 'ubuntu-24.04-arm'} == set(matrix(jobs['images'], 'runner'))
