# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Composition: run the nodes of a camera, or of a whole graph, in one process."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from sage_perception.bringup.graph import CAMERA_NODES, PACKAGE, NodeSpec
from sage_perception.core.reading import read_bounded

MODES = ('none', 'camera', 'graph')
"""One process per node, per camera (and per other node), or per graph."""
CONTAINER = 'container'
"""Name of a composed process."""
CRASH_SUFFIX = '.crash'
"""A composed process writes its crash file beside the file of its nodes, with this suffix."""

MAX_CRASH_BYTES = 1 << 20

_OF_CAMERA = tuple(f'{name}_node' for name in CAMERA_NODES)
_THREAD = re.compile(r'^thread (0x[0-9a-f]+) (.+)$', re.MULTILINE)
_FATAL = re.compile(r'^Fatal Python error: (.+)$', re.MULTILINE)
_CURRENT = re.compile(r'^Current thread (0x[0-9a-f]+)', re.MULTILINE)


def compose(specs: Sequence[NodeSpec], mode: str) -> list[NodeSpec]:
    """Return the processes of the graphs of one or more robots in a composition mode.

    With the mode 'camera', camera, attention and encoder of each camera share a process, and the
    other nodes keep their own. With 'graph', all nodes of a robot share one.

    Raises:
        ValueError: the mode is not one of `MODES`.
    """
    if mode not in MODES:
        raise ValueError(f'composition {mode!r} is not one of {", ".join(MODES)}')
    groups: dict[str, list[NodeSpec]] = {}
    processes: list[NodeSpec] = []
    for spec in specs:
        of_camera = spec.executable in _OF_CAMERA
        if mode == 'none' or (mode == 'camera' and not of_camera):
            processes.append(spec)
            continue
        robot = spec.namespace.rpartition('/')[0] if of_camera else spec.namespace
        groups.setdefault(robot if mode == 'graph' else spec.namespace, []).append(spec)
    return [_container(namespace, nodes) for namespace, nodes in groups.items()] + processes


def _container(namespace: str, nodes: Sequence[NodeSpec]) -> NodeSpec:
    """Return the process of several nodes, which restarts as its first node does."""
    return NodeSpec(
        package=PACKAGE,
        executable='container_node',
        name=CONTAINER,
        namespace=namespace,
        respawn=nodes[0].respawn,
        respawn_delay_s=nodes[0].respawn_delay_s,
        nodes=tuple(nodes),
    )


def describe_crash(nodes_file: Path) -> str:
    """Return the node in whose thread a composed process crashed, and its stack.

    The text is empty if native code has not crashed since the last call.
    """
    path = nodes_file.with_name(nodes_file.name + CRASH_SUFFIX)
    try:
        text = read_bounded(path, MAX_CRASH_BYTES).decode(errors='replace')
        path.unlink()
    except OSError:
        return ''
    fatal, current = _FATAL.search(text), _CURRENT.search(text)
    if fatal is None:
        return ''
    names = dict(_THREAD.findall(text))
    name = names.get(current.group(1), 'an unnamed thread') if current is not None else '?'
    stack = text[current.start() :] if current is not None else ''
    first = stack.split('\n\n')[0].strip()
    return f'{fatal.group(1)} in {name}\n{first}'.strip()
