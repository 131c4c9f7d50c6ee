# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""The repository as a ROS package: manifests, versions, installed files, file contents."""

import ast
import importlib
import json
import os
import re
import runpy
import shutil
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest
import setuptools
from catkin_pkg.package import parse_package

import sage_perception
from sage_perception.bringup.graph import dual_camera

ROOT = Path(__file__).resolve().parents[1]
MANIFESTS = {
    name: ROOT / path
    for name, path in (
        ('sage_perception', 'package.xml'),
        ('sage_msgs', 'sage_msgs/package.xml'),
    )
}
LICENSE = 'SPDX-License-Identifier: Apache-2.0'
# The names of ROS packages.
ROS_PACKAGES = re.compile(r'.*_msgs|.*_interfaces|rclpy|launch|launch_ros|cv_bridge|ament_\w+')


@pytest.fixture(scope='module')
def files():
    """The files of the repository, without generated ones."""
    command = ['git', 'ls-files', '-z', '--cached', '--others', '--exclude-standard']
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    if listed.returncode:
        pytest.skip(f'not a git checkout: {listed.stderr.strip()}')
    return [ROOT / name for name in listed.stdout.split('\0') if name and (ROOT / name).is_file()]


@pytest.fixture(scope='module')
def setup_py():
    """The arguments that setup.py passes to `setuptools.setup`."""
    arguments = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(ROOT)
        patch.setattr(setuptools, 'setup', lambda **given: arguments.update(given))
        runpy.run_path('setup.py')
    return arguments


def texts(files, *patterns):
    for file in files:
        if not patterns or any(file.match(pattern) for pattern in patterns):
            try:
                yield file.relative_to(ROOT), file.read_text()
            except UnicodeDecodeError:
                continue


def test_versions_are_equal(setup_py):
    changelog = (ROOT / 'CHANGELOG.rst').read_text()
    newest = re.search(r'^(\d+\.\d+\.\d+) \(\d{4}-\d\d-\d\d\)\n-+$', changelog, re.MULTILINE)
    versions = {name: parse_package(str(path)).version for name, path in MANIFESTS.items()}
    versions |= {
        'setup.py': setup_py['version'],
        '__version__': sage_perception.__version__,
        'CHANGELOG.rst': newest[1],
    }
    assert set(versions.values()) == {sage_perception.__version__}, versions


@pytest.mark.parametrize('name', MANIFESTS)
def test_manifest_is_valid_by_rep_149(name):
    warnings = []
    package = parse_package(str(MANIFESTS[name]), warnings=warnings)
    package.validate(warnings=warnings)
    assert warnings == []
    assert (package.name, package.package_format, package.licenses) == (name, 3, ['Apache-2.0'])
    assert package.has_buildtool_depend_on_catkin() is False


def test_imported_ros_packages_are_declared(files):
    package = parse_package(str(MANIFESTS['sage_perception']))
    declared = {depend.name for depend in (*package.exec_depends, *package.build_depends)}
    imported = set()
    for _, text in texts(files, 'sage_perception/**/*.py', 'sage_perception/*.py', 'launch/*.py'):
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.Import):
                imported |= {alias.name.split('.')[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and not node.level:
                imported.add(node.module.split('.')[0])
    ros = {name for name in imported if ROS_PACKAGES.fullmatch(name)}
    assert {'rclpy', 'sensor_msgs', 'sage_msgs'} <= ros
    assert ros <= declared


def test_message_packages_are_declared_and_built():
    package = parse_package(str(MANIFESTS['sage_msgs']))
    cmake = (ROOT / 'sage_msgs' / 'CMakeLists.txt').read_text()
    used = set()
    for file in (ROOT / 'sage_msgs').glob('*/*.*'):
        used |= set(re.findall(r'^(\w+)/\w+', file.read_text(), re.MULTILINE))
    declared = {depend.name for depend in package.build_depends}
    assert used
    assert used <= declared
    built = set(cmake.split())
    assert used <= built
    written = {f'{f.parent.name}/{f.name}' for f in (ROOT / 'sage_msgs').glob('*/*.[ms][sr][gv]')}
    assert len(written) > 15
    assert written <= built


def test_manifests_name_schema_and_license():
    for path in MANIFESTS.values():
        text = path.read_text()
        assert 'package_format3.xsd' in text
        for license in ElementTree.fromstring(text).iter('license'):
            if license.get('file'):
                assert (path.parent / license.get('file')).is_file()
    assert 'Apache License' in (ROOT / 'LICENSE').read_text()


def test_every_executable_has_a_main_function(setup_py):
    scripts = dict(entry.split(' = ') for entry in setup_py['entry_points']['console_scripts'])
    for target in scripts.values():
        module, _, function = target.partition(':')
        assert callable(getattr(importlib.import_module(module), function))
    assert {spec.executable for spec in dual_camera()} <= set(scripts)
    nodes = {path.stem for path in (ROOT / 'sage_perception' / 'nodes').glob('*_node.py')}
    assert nodes | {'sage'} == set(scripts)


def test_data_files_and_packages_are_installed(setup_py):
    installed = {source for _, sources in setup_py['data_files'] for source in sources}
    assert f'resource/{setup_py["name"]}' in installed
    assert 'package.xml' in installed
    for folder in ('launch', 'config'):
        beside = {str(f.relative_to(ROOT)) for f in (ROOT / folder).rglob('*.*') if f.is_file()}
        assert {f for f in beside if '__pycache__' not in f} <= installed
    found = {path.parent for path in (ROOT / 'sage_perception').rglob('*.py')}
    packages = {str(path.relative_to(ROOT)).replace(os.sep, '.') for path in found}
    assert packages == set(setup_py['packages'])
    assert 'py.typed' in setup_py['package_data']['sage_perception']
    assert (ROOT / 'sage_perception' / 'py.typed').is_file()


@pytest.fixture(scope='module')
def workspace(files, tmp_path_factory):
    """A copy of the sources, built with colcon as on a robot."""
    folder = tmp_path_factory.mktemp('workspace')
    for file in files:
        target = folder / file.relative_to(ROOT)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(file, target)
    # With MAKEFLAGS, colcon does not limit the build to idle cores.
    environment = {**os.environ, 'MAKEFLAGS': f'-j{os.cpu_count()}'}
    if os.environ.get('AMENT_PREFIX_PATH', '').startswith(sys.prefix):
        # ROS is installed as wheels in this environment.
        environment['VIRTUAL_ENV'] = environment['CMAKE_PREFIX_PATH'] = sys.prefix
    built = subprocess.run(
        [sys.executable, '-m', 'colcon', 'build'],
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert built.returncode == 0, built.stdout[-4000:]
    assert '2 packages finished' in built.stdout
    return folder


def sourced(workspace, command, cwd):
    """Run a command in a shell that sourced `install/setup.bash`."""
    return subprocess.run(
        ['bash', '-c', f'source {workspace}/install/setup.bash && {command}'],
        cwd=cwd,
        capture_output=True,
        text=True,
    )


def test_colcon_builds_and_installs_both_packages(workspace, setup_py, tmp_path):
    install = workspace / 'install' / 'sage_perception'
    scripts = {entry.split(' = ')[0] for entry in setup_py['entry_points']['console_scripts']}
    assert {path.name for path in (install / 'lib' / 'sage_perception').iterdir()} == scripts
    share = install / 'share'
    index = share / 'ament_index' / 'resource_index' / 'packages' / 'sage_perception'
    assert index.is_file()
    for folder in ('launch', 'config'):
        expected = {p.name for p in (ROOT / folder).glob('*.*')}
        assert {p.name for p in (share / 'sage_perception' / folder).glob('*.*')} == expected

    program = (
        'import json, sage_msgs.msg, sage_perception.models as m; '
        'import sage_perception.bringup.environment as g; '
        'codec = m.load("tinyvae"); '
        'config = str(g.config_path("dual_camera.yaml")); '
        'print(json.dumps([sage_msgs.__file__, m.__file__, config, str(codec.id)]))'
    )
    done = sourced(workspace, f"python3 -c '{program}'", tmp_path)
    assert done.returncode == 0, done.stderr
    *places, model = json.loads(done.stdout)
    assert all(place.startswith(str(workspace / 'install')) for place in places), places
    assert model.startswith('tinyvae@')


def test_the_command_is_on_the_path_of_a_workspace(workspace, tmp_path):
    done = sourced(workspace, 'command -v sage && sage --version', tmp_path)
    command = workspace / 'install' / 'sage_perception' / 'bin' / 'sage'
    assert done.stdout.splitlines() == [str(command), f'sage {sage_perception.__version__}']
    # Without the setup file.
    unset = {name: value for name, value in os.environ.items() if name != 'PYTHONPATH'}
    done = subprocess.run(
        [sys.executable, '-S', command], env=unset, cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode == 1
    assert done.stderr == (
        "sage: No module named 'sage_perception'; source install/setup.bash of the colcon "
        'workspace first\n'
    )


def test_installed_node_runs(workspace, tmp_path):
    node = workspace / 'install' / 'sage_perception' / 'lib' / 'sage_perception' / 'arbiter_node'
    done = sourced(workspace, f'{node} --ros-args -p cameras:=[a,a]', tmp_path)
    assert done.returncode == 2
    assert done.stderr.startswith("error: parameter 'cameras'")


def test_code_files_name_their_license(files):
    missing = [
        str(name)
        for name, text in texts(files, '*.py', '*.sh', '*.xml')
        if LICENSE not in '\n'.join(text.splitlines()[:5]) and name.name != 'package.xml'
    ]
    assert missing == []


def test_files_contain_no_machine_paths(files):
    places = ['/' + place for place in ('work/', 'tmp/w', 'root/', 'tmp/vae')]
    places += ['/' + r'home/\w+/']
    wanted = re.compile('|'.join(rf'(?<![\w.}}]){place}' for place in places))
    found = [
        f'{name}: {match[0]}' for name, text in texts(files) for match in wanted.finditer(text)
    ]
    assert found == []
