# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""The arguments that describe a node graph, for `sage up` and `sage security`."""

from __future__ import annotations

import argparse
import re
from dataclasses import replace
from typing import NamedTuple

from sage_perception.bringup.composition import MODES, compose
from sage_perception.bringup.foxglove import PORT, foxglove_bridge
from sage_perception.bringup.graph import (
    Camera,
    NodeSpec,
    dual_camera,
    fleet,
    single_camera,
)
from sage_perception.bringup.node_class import node_class
from sage_perception.bringup.optional_nodes import OPTIONAL_NODES
from sage_perception.cli.terminal import port
from sage_perception.core.redact import without_secrets
from sage_perception.core.text import did_you_mean
from sage_perception.core.yaml_file import parse_yaml


class Graph(NamedTuple):
    """A graph by name: cameras per robot, default parameter file and default composition."""

    cameras: int
    params_file: str
    composition: str = 'none'


GRAPHS = {
    'single_camera': Graph(1, 'single_camera.yaml'),
    'dual_camera': Graph(2, 'dual_camera.yaml'),
    'jetson_dual_csi': Graph(2, 'jetson_dual_csi.yaml', 'graph'),
    'fleet': Graph(2, 'dual_camera.yaml'),
}

_EXPONENT = re.compile(r'[-+]?\d+[eE][-+]?\d+')


def add_graph_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of a graph to a parser; `graph_of` reads them."""
    add = parser.add_argument
    add('graph', metavar='GRAPH', choices=GRAPHS, help=', '.join(GRAPHS))
    add = parser.add_argument_group('cameras').add_argument
    add('--source', metavar='URI', help='source of the camera of single_camera')
    for n in (0, 1):
        add(f'--source{n}', metavar='URI', help=f'source of camera {n}, such as csi://{n}')
        add(
            f'--image{n}',
            metavar='TOPIC',
            help=f'image topic of an external driver, which replaces the node of camera {n}',
        )
        add(
            f'--pose{n}',
            metavar='POSE',
            help=f'pose of camera {n} on the robot, "x y z roll pitch yaw" in meters and radians '
            '(x forward, y left, z up); published on tf',
        )
        add(f'--camera{n}', metavar='NAME', help=f'name of camera {n} (default: cam{n})')
    add = parser.add_argument_group('nodes').add_argument
    add(
        '--robots',
        metavar='NAME',
        nargs='+',
        help='robots of a fleet (default: robot1 robot2)',
    )
    add('--namespace', metavar='NS', default='', help='namespace of all nodes')
    for node in OPTIONAL_NODES:
        flag, verb = ('--no-', 'omit') if node.default else ('--', 'add')
        add(
            flag + node.name,
            dest=node.name,
            action='store_const',
            const=not node.default,
            default=node.default,
            help=f'{verb} {node.description}',
        )
    add(
        '--foxglove',
        metavar='PORT',
        nargs='?',
        type=port,
        const=PORT,
        help=f'add foxglove_bridge, to which Foxglove connects (default port: {PORT})',
    )
    add = parser.add_argument_group('parameters').add_argument
    add('--device', metavar='D', help='device of the encoders: auto, cpu or cuda')
    add('--use-sim-time', action='store_true', default=None, help='use /clock')
    add(
        '--set',
        metavar='NODE.PARAMETER=VALUE',
        action='append',
        default=[],
        help='set a parameter of one node (cam0/attention.max_crops=4) or of all nodes of a name '
        '(attention.max_crops=4); can be repeated',
    )
    add = parser.add_argument_group('processes').add_argument
    add(
        '--composed',
        metavar='MODE',
        nargs='?',
        const='graph',
        choices=MODES,
        help='run the nodes of the whole graph (MODE graph, the default) or of each camera (MODE '
        'camera) in one process; none: each node in its own process. Default without the option: '
        'graph for jetson_dual_csi, none for the other graphs',
    )
    add('--no-respawn', action='store_true', help='stop when a node exits')


def graph_of(options: argparse.Namespace) -> list[NodeSpec]:
    """Return the processes of the graph that the arguments describe.

    Raises `ValueError` for arguments that do not fit together.
    """
    count = GRAPHS[options.graph].cameras
    for name in ('source1', 'image1', 'pose1', 'camera1'):
        if count < 2 and getattr(options, name) is not None:
            raise ValueError(f'--{name}: {options.graph} has one camera; use --{name[:-1]}0')
    if options.source is not None:
        if count > 1:
            raise ValueError(
                f'--source: {options.graph} has two cameras; use --source0 and --source1'
            )
        if options.source0 is not None:
            raise ValueError('--source and --source0 are the same option; give only one')
        options.source0 = options.source
    if options.robots and options.graph != 'fleet':
        raise ValueError(f'--robots: {options.graph} has one robot; use the graph fleet')
    cameras = [
        Camera(
            getattr(options, f'camera{n}') or f'cam{n}',
            getattr(options, f'source{n}'),
            getattr(options, f'image{n}'),
            getattr(options, f'pose{n}'),
        )
        for n in range(count)
    ]
    given = {
        'namespace': options.namespace,
        'device': options.device,
        'use_sim_time': options.use_sim_time,
        'respawn': not options.no_respawn,
        **{node.name: getattr(options, node.name) for node in OPTIONAL_NODES},
    }
    if options.graph == 'fleet':
        specs = fleet(options.robots or ['robot1', 'robot2'], cameras, **given)
    else:
        specs = (single_camera if count == 1 else dual_camera)(cameras, **given)
    for assignment in options.set:
        specs = _assign(specs, assignment)
    processes = compose(specs, options.composed or GRAPHS[options.graph].composition)
    if options.foxglove is not None:
        bridge = {'namespace': options.namespace, 'use_sim_time': options.use_sim_time}
        processes.append(foxglove_bridge('--foxglove', options.foxglove, **bridge))
    return processes


def _assign(specs: list[NodeSpec], assignment: str) -> list[NodeSpec]:
    """Return the nodes with the parameter that an argument of `--set` assigns."""
    target, equals, text = assignment.partition('=')
    node, _, parameter = target.partition('.')
    given = f'--set {target}{equals}{shown(text)}'
    if not equals or not parameter:
        raise ValueError(f'{given}: use the form NODE.PARAMETER=VALUE')
    chosen = [spec for spec in specs if f'/{spec.path}'.endswith(f'/{node.strip("/")}')]
    if not chosen:
        paths = [spec.path for spec in specs]
        hint = did_you_mean(node, {*paths, *(spec.name for spec in specs)})
        hint = hint or f'; the graph has {", ".join(paths)}'
        raise ValueError(f'{given}: unknown node {node!r}{hint}')
    for spec in chosen:
        names = _parameter_names(spec)
        if names and parameter not in names and not parameter.startswith('qos_overrides.'):
            hint = did_you_mean(parameter, names) or f'; it has {", ".join(sorted(names))}'
            raise ValueError(f'{given}: {spec.name} has no parameter {parameter!r}{hint}')
    try:
        value = _value(text)
    except ValueError as error:
        raise ValueError(f'{given}: {error}') from None
    return [
        replace(spec, parameters={**spec.parameters, parameter: value}) if spec in chosen else spec
        for spec in specs
    ]


def _parameter_names(spec: NodeSpec) -> set[str]:
    """Return the parameters of a node; empty if its module cannot be imported here.

    The import takes a second, which only the users of `--set` wait for.
    """
    try:
        node = node_class(spec.executable)
    except ImportError:
        return set()
    return {parameter.name for parameter in node.PARAMETERS} | {'use_sim_time'}


def shown(value: object) -> object:
    """Return a parameter value for display, without the credentials of a URL."""
    if isinstance(value, list):
        return [shown(item) for item in value]
    return without_secrets(value) if isinstance(value, str) and '://' in value else value


def _value(text: str) -> object:
    """Return a parameter value parsed as ROS does: YAML, but 1e-3 is a number (not in PyYAML).

    Raises `ValueError` if the value has a type that parameters cannot have.
    """
    try:
        value = parse_yaml(text, 'value') if text else ''
    except ValueError:
        value = None
    if isinstance(value, str) and _EXPONENT.fullmatch(value):
        value = float(value)
    items = value if isinstance(value, list) else [value]
    if not all(isinstance(item, (bool, int, float, str)) for item in items):
        raise ValueError('the value must be a number, a string, true, false or a list')
    return value
