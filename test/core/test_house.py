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
ROS = {'rclpy', 'launch', 'launch_ros', 'sage_msgs', 'sensor_msgs', 'std_msgs', 'rcl_interfaces'}
MAY_IMPORT_ROS = ('nodes', 'ros', 'bags', 'demo', 'doctor.py')
MAY_IMPORT_TORCH = ('models', 'training', 'doctor.py')
FLOORS = {
    1: ('latent', 'vision', 'graph', 'runtime', 'terminal'),
    2: ('models', 'trust', 'memory', 'supervisor'),
    3: ('context', 'irp', 'ros', 'bags', 'training'),
    4: ('nodes', 'cli', 'up', 'doctor', 'demo', 'coding', 'keyring', 'calibrate', 'recall'),
}
FLOOR_OF = {room: floor for floor, rooms in FLOORS.items() for room in rooms}


def imports(file: Path, top_level_only: bool = False) -> set[str]:
    tree = ast.parse(file.read_text())
    nodes = tree.body if top_level_only else ast.walk(tree)
    names = set()
    for node in nodes:
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module)
            names |= {f'{node.module}.{alias.name}' for alias in node.names}
    return names


def room_of(file: Path) -> str:
    return file.relative_to(PACKAGE).parts[0]


@pytest.mark.parametrize('file', FILES, ids=lambda file: str(file.relative_to(PACKAGE)))
def test_a_room_imports_only_what_it_may(file):
    room = room_of(file)
    roots = {name.split('.')[0] for name in imports(file)}
    if room not in MAY_IMPORT_ROS:
        assert not roots & ROS
    if room not in MAY_IMPORT_TORCH:
        assert 'torch' not in roots
    own = FLOOR_OF.get(room.removesuffix('.py'))
    for name in imports(file, top_level_only=True):
        parts = name.split('.')
        if parts[0] == 'sage_perception' and len(parts) > 1 and parts[1] in FLOOR_OF and own:
            assert FLOOR_OF[parts[1]] <= own, f'{room} on floor {own} imports {name}'


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
