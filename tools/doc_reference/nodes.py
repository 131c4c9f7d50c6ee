# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""The page of the nodes, generated from their tables of topics, services and parameters."""

from __future__ import annotations

import inspect
from typing import Any

from doc_reference.markdown import escape, table
from sage_perception.bringup.graph import NODES
from sage_perception.bringup.node_class import node_class

RELIABILITY = {1: 'reliable', 2: 'best effort'}
INTRODUCTION = """\
# Nodes

Topic names are relative to the namespace of a node. `{camera}` stands for each name in the
parameter `cameras`. Every node publishes its status on `/diagnostics` once a second.

Parameters of the kind *at start* are read-only; set them in a parameter file or on the command
line. The QoS of a topic can be overridden with the parameters of ROS, by the full name of the
topic: `qos_overrides./robot1/cam0/image_raw.subscription.reliability: best_effort`.

"""


def page() -> str:
    """Return the page."""
    return INTRODUCTION + '\n'.join(map(section, NODES))


def section(name: str) -> str:
    """Return the section of one node: topics, services and parameters."""
    node = node_class(f'{name}_node')
    parts = [f'## {name}_node\n']
    parts += [f'{inspect.getdoc(each)}\n' for each in (inspect.getmodule(node), node)]
    for title, topics in (
        ('Subscribed topics', node.SUBSCRIBES),
        ('Published topics', node.PUBLISHES),
    ):
        if topics:
            rows = [
                (f'`{t.name}`', _interface(t.type), _qos(t.qos), escape(t.description))
                for t in topics
            ]
            parts.append(f'**{title}**\n')
            parts.append(table(('topic', 'type', 'QoS', 'description'), rows))
    if node.SERVES:
        rows = [(f'`{s.name}`', _interface(s.type), escape(s.description)) for s in node.SERVES]
        parts.append('**Services**\n')
        parts.append(table(('service', 'type', 'description'), rows))
    parts.append('**Parameters**\n')
    rows = [
        (
            f'`{p.name}`',
            _default(p.default),
            p.constraint or 'any',
            'at start' if p.read_only else 'any time',
            escape(p.description),
        )
        for p in node.PARAMETERS
    ]
    parts.append(table(('parameter', 'default', 'allowed', 'set', 'description'), rows))
    return '\n'.join(parts)


def _default(value: object) -> str:
    shown = str(value).lower() if isinstance(value, bool) else str(value)
    return f'`{shown}`' if shown else 'empty'


def _interface(kind: type) -> str:
    """Return `package/Type` of an interface, with a link if this repository defines it."""
    package = kind.__module__.split('.')[0]
    name = f'`{package}/{kind.__name__}`'
    return f'[{name}](messages.md#{kind.__name__.lower()})' if package == 'sage_msgs' else name


def _qos(profile: Any) -> str:
    """Return the QoS of a topic in words."""
    words = [RELIABILITY[int(profile.reliability)], f'depth {profile.depth}']
    if int(profile.durability) == 1:
        words.append('latched')
    return ', '.join(words)
