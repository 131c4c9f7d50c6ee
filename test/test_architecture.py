# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""The rules of docs/architecture.md, checked file by file."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

from sage_perception.bringup.graph import NODES

PACKAGE = 'sage_perception'
ROOT = Path(__file__).resolve().parents[1]
FILES = sorted((ROOT / PACKAGE).rglob('*.py'))
MODULES = {
    '.'.join(file.relative_to(ROOT).with_suffix('').parts).removesuffix('.__init__'): file
    for file in FILES
}

# Bottom layer first. A package imports only from the packages above it in this list.
LAYERS = (
    'core',
    'bringup',
    'vision',
    'audio',
    'zspace',
    'models',
    'codecs',
    'trust',
    'slots',
    'puzzle',
    'irp',
    'memory',
    'context',
    'pipeline',
    'bags',
    'training',
    'evaluation',
    'ros',
    'regression',
    'reports',
    'benchmark',
    'viewing',
    'nodes',
    'installation',
    'cli',
)
ROS = {
    'builtin_interfaces',
    'cv_bridge',
    'launch',
    'launch_ros',
    'rcl_interfaces',
    'rclpy',
    'rosidl_runtime_py',
}
# launch_description is the only module that needs `launch`; `record`, `replay` and `demo`
# are the commands that talk to a running graph.
MAY_IMPORT_ROS = (
    'ros',
    'nodes',
    'bags',
    'regression',
    'benchmark',
    'viewing.live',
    'bringup.launch_description',
    'installation',
    'cli.record',
    'cli.replay',
    'cli.request',
    'cli.watch',
    'cli.demo',
)
# `installation` only looks for a GPU; the training commands exist to call torch.
MAY_IMPORT_TORCH = ('models', 'training', 'evaluation', 'installation')
LEAN_NODES = ('encoder', 'memory')  # they compare crops but do not match them: scipy takes 40 MB
MAX_LINES = 400


@cache
def imports(module: str) -> frozenset[str]:
    """Return every module that a module imports, wherever in the file the import stands."""
    found = set()
    for node in ast.walk(ast.parse(MODULES[module].read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f'{module}: use absolute imports'
            for alias in node.names:
                full = f'{node.module}.{alias.name}'
                found.add(full if full in MODULES else node.module)
    return frozenset(found - {module})


def layer(module: str) -> str:
    """Return the package of a module, '' for the root."""
    return module.removeprefix(PACKAGE).lstrip('.').partition('.')[0]


def within(module: str, places: tuple[str, ...]) -> bool:
    name = module.removeprefix(f'{PACKAGE}.')
    return any(name == place or name.startswith(f'{place}.') for place in places)


def foreign(module: str) -> set[str]:
    """Return the top-level names of what a module imports from other distributions."""
    return {name.partition('.')[0] for name in imports(module)} - {PACKAGE}


def test_every_package_has_a_layer():
    assert {layer(module) for module in MODULES} - {''} == set(LAYERS)


@pytest.mark.parametrize('module', MODULES)
def test_a_package_imports_only_from_lower_layers(module):
    own = layer(module)
    if not own:
        return
    for name in sorted(imports(module)):
        other = layer(name) if name in MODULES else ''
        if other and other != own:
            assert LAYERS.index(other) < LAYERS.index(own), f'{module} imports {name}'


def test_no_file_imports_in_a_circle():
    graph = {module: {name for name in imports(module) if name in MODULES} for module in MODULES}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(' imports '.join(reversed(error.args[1])))


@pytest.mark.parametrize('module', MODULES)
def test_ros_and_torch_stay_in_their_packages(module):
    names = foreign(module)
    if not within(module, MAY_IMPORT_ROS):
        ros = sorted(name for name in names if name in ROS or name.endswith('_msgs'))
        assert not ros, f'{module} imports {ros}'
    if not within(module, MAY_IMPORT_TORCH):
        heavy = sorted(names & {'torch', 'lightning', 'torchmetrics'})
        assert not heavy, f'{module} imports {heavy}'


@pytest.mark.parametrize('module', MODULES)
def test_only_commands_parse_arguments(module):
    if layer(module) != 'cli':
        assert 'argparse' not in foreign(module), f'{module} imports argparse'


@pytest.mark.parametrize('module', MODULES)
def test_private_names_stay_in_their_file(module):
    for node in ast.walk(ast.parse(MODULES[module].read_text())):
        if isinstance(node, ast.ImportFrom) and layer(f'{node.module}.'):
            private = [a.name for a in node.names if a.name.startswith('_') and a.name[1] != '_']
            if node.module.startswith(PACKAGE):
                assert not private, f'{module} imports {private} of {node.module}'


def public_functions(module: str) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    """Yield the public functions of a module and the public methods of its public classes."""
    bodies = [ast.parse(MODULES[module].read_text()).body]
    while bodies:
        for node in bodies.pop():
            if isinstance(node, ast.ClassDef) and not node.name.startswith('_'):
                bodies.append(node.body)
            elif isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)) and (
                not node.name.startswith('_') or node.name == '__init__'
            ):
                yield node


@pytest.mark.parametrize('module', MODULES)
def test_public_functions_are_annotated_and_documented(module):
    faults = []
    for function in public_functions(module):
        where = f'{function.name}, line {function.lineno}'
        overload = any('overload' in ast.unparse(d) for d in function.decorator_list)
        if not (function.name == '__init__' or overload or ast.get_docstring(function)):
            faults.append(f'{where}: no docstring')
        if function.returns is None and function.name != '__init__':
            faults.append(f'{where}: no return annotation')
        args = function.args
        named = args.posonlyargs + args.args + args.kwonlyargs
        for argument in [*named, *filter(None, (args.vararg, args.kwarg))]:
            bound = argument is (named or [None])[0] and argument.arg in ('self', 'cls')
            if argument.annotation is None and not bound and argument.arg != '_':
                faults.append(f'{where}: {argument.arg} is not annotated')
    assert not faults, f'{module}: ' + '; '.join(faults)


@pytest.mark.parametrize('module', MODULES)
def test_a_file_fits_one_idea(module):
    lines = len(MODULES[module].read_text().splitlines())
    assert lines <= MAX_LINES, f'{module} has {lines} lines: look for the second idea in it'


@pytest.mark.parametrize('node', NODES)
def test_nodes_start_without_torch_and_the_lean_ones_without_scipy(node):
    heavy = {'torch', 'scipy'} if node in LEAN_NODES else {'torch'}
    program = (
        f'import sys, sage_perception.nodes.{node}_node; '
        f'sys.exit(", ".join({heavy} & sys.modules.keys()) or 0)'
    )
    done = subprocess.run([sys.executable, '-c', program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
