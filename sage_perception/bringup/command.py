# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""The command line and the files of the process of a node, or of several composed nodes."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path

import yaml

from sage_perception.bringup.graph import NodeSpec
from sage_perception.core.files import write_atomically

PRIVATE = 0o600
"""Permissions of a file that only the user can read."""


def command(
    spec: NodeSpec,
    params_files: Sequence[Path | str],
    log_level: str,
    nodes: Path | str = 'NODES',
) -> list[str]:
    """Return the command line of a process; later parameter files take precedence.

    A composed process reads its nodes and their parameter files from the file `nodes`.
    """
    if Path(spec.executable).is_absolute():
        words = [*ros_arguments(spec, params_files), *enclave_arguments(spec)]
        return [spec.executable, '--ros-args', *words, '--log-level', log_level]
    module = f'{spec.package}.nodes.{spec.executable}'
    line = [sys.executable, '-m', 'sage_perception.bringup.start', module]
    last = [*enclave_arguments(spec), '--log-level', log_level]
    if spec.nodes:
        return [*line, '--nodes', str(nodes), '--ros-args', *last]
    return [*line, '--ros-args', *ros_arguments(spec, params_files), *last]


def enclave_arguments(spec: NodeSpec) -> list[str]:
    """Return the ROS arguments that select the enclave of a process, which only SROS2 uses."""
    return ['--enclave', f'/{spec.path}']


def ros_arguments(spec: NodeSpec, params_files: Sequence[Path | str]) -> list[str]:
    """Return the ROS arguments of a node: name, namespace, remappings and parameter files."""
    words = ['-r', f'__node:={spec.name}', '-r', f'__ns:=/{spec.namespace}']
    for source, target in spec.remappings:
        words += ['-r', f'{source}:={target}']
    for path in params_files:
        words += ['--params-file', str(path)]
    return words


def write_overrides(spec: NodeSpec, folder: Path) -> Path:
    """Write the parameters of a node to a file in `folder` and return its path.

    The key is the full name of the node, which takes precedence over the wildcards of the user's
    parameter file; `-p name:=value` and the key `/**` do not. Only the user can read the file,
    because URIs of cameras may contain passwords.
    """
    path = folder / (spec.path.replace('/', '.') + '.yaml')
    content = {f'/{spec.path}': {'ros__parameters': {**spec.parameters}}}
    write_atomically(path, yaml.safe_dump(content), PRIVATE)
    return path


def nodes_file(spec: NodeSpec, folder: Path) -> Path:
    """Return the path of the file of a composed process in `folder`."""
    return folder / (spec.path.replace('/', '.') + '.json')


def write_nodes(spec: NodeSpec, params_files: Sequence[Path | str], folder: Path) -> Path:
    """Write the file of a composed process, and the parameters of its nodes, to `folder`.

    The result is the path of the file.
    """
    content = []
    for node in spec.nodes:
        overrides = [write_overrides(node, folder)] if node.parameters else []
        words = ros_arguments(node, [*params_files, *overrides])
        content.append({'path': node.path, 'executable': node.executable, 'arguments': words})
    path = nodes_file(spec, folder)
    write_atomically(path, json.dumps(content, indent=1), PRIVATE)
    return path
