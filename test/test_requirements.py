# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""The requirements: locked with hashes, as the manifests and the robots need them."""

import re
import runpy
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).resolve().parents[1]
REQUIREMENTS = ROOT / 'requirements'
LOCKS = runpy.run_path(str(ROOT / 'tools' / 'lock.py'))['LOCKS']
PINS_OF_SBOM = runpy.run_path(str(ROOT / 'tools' / 'sbom.py'))['pins']
UNLOCKED = {'torch'}  # see torch.txt
PYTHONS = ('3.10', '3.11', '3.12', '3.13', '3.14')


def required(path):
    """Yield the requirements of a file written by hand, and of those that it includes."""
    for line in path.read_text().splitlines():
        line = line.partition('#')[0].strip()
        if line.startswith('-r '):
            yield from required(path.parent / line[3:])
        elif line:
            yield Requirement(line)


def locked(name):
    """Return the (requirement, number of hashes) of a lock file."""
    text = (REQUIREMENTS / 'lock' / f'{name}.txt').read_text().replace('\\\n', '')
    entries = []
    for line in text.splitlines():
        if line and not line.lstrip().startswith('#'):
            requirement, *hashes = line.split(' --hash=sha256:')
            assert all(re.fullmatch('[0-9a-f]{64}', part.strip()) for part in hashes), line
            entries.append((Requirement(requirement.strip()), len(hashes)))
    return entries


def environment(python, machine='x86_64'):
    return {
        'python_version': python,
        'python_full_version': f'{python}.1',
        'sys_platform': 'linux',
        'platform_system': 'Linux',
        'platform_machine': machine,
        'platform_python_implementation': 'CPython',
        'implementation_name': 'cpython',
    }


def versions(requirements, python):
    """Return the versions that the pins of a lock give a Python, by name."""
    chosen = {}
    for requirement, _ in requirements:
        if requirement.marker is None or requirement.marker.evaluate(environment(python)):
            (pin,) = requirement.specifier
            assert pin.operator == '=='
            assert requirement.name not in chosen, f'two versions of {requirement.name}'
            chosen[requirement.name] = Version(pin.version)
    return chosen


@pytest.mark.parametrize('name', LOCKS)
def test_each_file_is_locked_with_its_hash(name):
    entries = locked(name)
    names = {canonicalize_name(requirement.name) for requirement, _ in entries}
    assert len(names) > (20 if name != 'bench' else 4)
    assert [str(requirement) for requirement, hashes in entries if not hashes] == []
    assert not UNLOCKED & {requirement.name for requirement, _ in entries}
    text = (REQUIREMENTS / 'lock' / f'{name}.txt').read_text()
    assert 'http' not in text.replace('aiohttp', '').replace('httplib', '')
    assert '--index' not in text
    assert '--find-links' not in text


@pytest.mark.parametrize('python', PYTHONS)
@pytest.mark.parametrize('name', LOCKS)
def test_locks_are_up_to_date_and_fulfill_the_requirements(name, python):
    pins = versions(locked(name), python)
    for source in (source for source in LOCKS[name] if source.endswith('.in')):
        for requirement in required(REQUIREMENTS / source):
            wanted = canonicalize_name(requirement.name)
            marker = requirement.marker
            if wanted in UNLOCKED or (marker and not marker.evaluate(environment(python))):
                continue
            assert wanted in pins, f'{requirement} is not locked: run "make lock"'
            assert requirement.specifier.contains(pins[wanted]), f'{requirement}: run "make lock"'


@pytest.mark.parametrize('python', PYTHONS)
@pytest.mark.parametrize('distro', ['ros-jazzy', 'ros-kilted'])
def test_wheels_of_ros_use_the_versions_of_the_other_packages(distro, python):
    common, ros = versions(locked('common'), python), versions(locked(distro), python)
    assert {name: ros[name] for name in ros.keys() & common} == {
        name: common[name] for name in ros.keys() & common
    }


# numpy that apt installs beside the ROS of Ubuntu 22.04, Debian 12, Ubuntu 24.04 and Debian 13.
@pytest.mark.parametrize(
    ('python', 'numpy'),
    [('3.10', '1.21.5'), ('3.11', '1.24.2'), ('3.12', '1.26.4'), ('3.13', '2.2.4')],
)
def test_numpy_of_a_robot_has_the_abi_of_its_ros(python, numpy):
    major = Version(numpy).major
    assert versions(locked('installed-ros'), python)['numpy'].major == major
    bounds = [
        requirement.specifier
        for requirement in required(REQUIREMENTS / 'robot.txt')
        if requirement.name == 'numpy'
        and (requirement.marker is None or requirement.marker.evaluate(environment(python)))
    ]
    if major == 1:
        assert bounds
        assert not any(bound.contains('2.0.0') for bound in bounds)
    assert all(bound.contains(numpy) for bound in bounds) or python == '3.10'


def test_packages_of_ubuntu_22_04_that_are_too_old_are_replaced():
    bounds = {
        requirement.name: requirement.specifier
        for requirement in required(REQUIREMENTS / 'robot.txt')
        if requirement.marker is None or requirement.marker.evaluate(environment('3.10'))
    }
    for name, version in (('numpy', '1.21.5'), ('scipy', '1.8.0'), ('rich', '11.2.0')):
        assert not bounds[name].contains(version)


def test_torch_is_the_version_that_the_lock_was_resolved_with():
    (torch,) = required(REQUIREMENTS / 'torch.txt')
    settings = (REQUIREMENTS / 'uv.toml').read_text()
    assert (
        re.search(r'name = "torch"\nversion = "([\d.]+)"', settings)[1]
        == next(iter(torch.specifier)).version
    )


def test_manifests_use_no_keys_that_rosdep_installs_with_pip():
    for manifest in (ROOT / 'package.xml', ROOT / 'sage_msgs' / 'package.xml'):
        assert re.findall(r'>([\w-]+-pip)<', manifest.read_text()) == []


@pytest.mark.parametrize('distribution', ['jazzy', 'kilted'])
def test_the_bill_of_materials_has_every_pin_and_a_hash_for_all_but_torch(distribution):
    text = PINS_OF_SBOM(distribution).replace('\\\n', '')
    lines = [line for line in text.splitlines() if line and not line.lstrip().startswith('#')]
    expected = [str(pin) for name in ('common', f'ros-{distribution}') for pin, _ in locked(name)]
    assert len(lines) == len(expected) + 1
    names = {canonicalize_name(Requirement(line.partition(' --hash')[0]).name) for line in lines}
    assert {canonicalize_name(Requirement(pin).name) for pin in expected} < names
    without = [line for line in lines if '--hash=sha256:' not in line]
    assert [Requirement(line).name for line in without] == ['torch']
