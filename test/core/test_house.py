# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""The plan of the house (docs/house.md): who may import what."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[2] / 'sage_perception'
FILES = sorted(PACKAGE.rglob('*.py'))
ROS = {'rclpy', 'launch', 'launch_ros', 'cv_bridge', 'builtin_interfaces', 'rcl_interfaces'}
MAY_IMPORT_ROS = ('nodes', 'ros', 'bags', 'demo', 'doctor.py')
MAY_IMPORT_TORCH = ('models', 'training', 'doctor.py')
FLOORS = {
    1: ('latent', 'graph', 'terminal'),
    2: ('vision', 'runtime'),
    3: ('models', 'supervisor'),
    4: ('trust',),
    5: ('irp', 'memory'),
    6: ('context',),
    7: ('ros', 'bags', 'training', 'coding', 'catalogue'),
    8: ('nodes', 'cli', 'up', 'doctor', 'demo', 'keyring', 'calibrate', 'recall'),
}
FLOOR_OF = {room: floor for floor, rooms in FLOORS.items() for room in rooms}


def imports(file: Path) -> set[str]:
    names = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {f'{node.module}.{alias.name}' for alias in node.names}
    return names


def room_of(file: Path) -> str:
    return file.relative_to(PACKAGE).parts[0]


@pytest.mark.parametrize('file', FILES, ids=lambda file: str(file.relative_to(PACKAGE)))
def test_a_room_imports_only_what_it_may(file):
    room = room_of(file)
    roots = {name.split('.')[0] for name in imports(file)}
    if room not in MAY_IMPORT_ROS:
        assert not {root for root in roots if root in ROS or root.endswith('_msgs')}
    if room not in MAY_IMPORT_TORCH:
        assert 'torch' not in roots
    own = room.removesuffix('.py')
    for name in imports(file):
        package, _, rest = name.partition('.')
        other = rest.partition('.')[0]
        if package == 'sage_perception' and other in FLOOR_OF and other != own != '__init__':
            assert FLOOR_OF[other] < FLOOR_OF[own], f'{own} imports {name}'


def test_every_room_has_a_floor():
    rooms = {room_of(file).removesuffix('.py') for file in FILES} - {'__init__'}
    assert rooms == set(FLOOR_OF)


@pytest.mark.parametrize(
    'node', ['camera', 'attention', 'encoder', 'arbiter', 'viewer', 'memory', 'compressor']
)
def test_nodes_start_without_torch(node):
    program = (
        f'import sys, sage_perception.nodes.{node}_node; '
        'sys.exit("torch" in sys.modules and "torch was imported")'
    )
    done = subprocess.run([sys.executable, '-c', program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
