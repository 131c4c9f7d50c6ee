# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Translate a node graph to a launch description (Humble, Jazzy and Kilted)."""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from launch import LaunchContext, LaunchDescription
from launch.actions import (
    DeclareLaunchArgument,
    GroupAction,
    OpaqueFunction,
    RegisterEventHandler,
    SetEnvironmentVariable,
    Shutdown,
)
from launch.event_handlers import OnProcessIO, OnProcessStart, OnShutdown
from launch.events.process import ProcessExited, ProcessIO, ProcessStarted
from launch.logging import get_logger
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import Node, PushRosNamespace
from launch_ros.utilities import make_namespace_absolute, prefix_namespace

from sage_perception.bringup.command import enclave_arguments, nodes_file, write_nodes
from sage_perception.bringup.composition import compose, describe_crash
from sage_perception.bringup.environment import (
    config_path,
    dds_environment,
    remove_stale_shared_memory,
)
from sage_perception.bringup.foxglove import PORT, foxglove_bridge
from sage_perception.bringup.graph import Camera, NodeSpec
from sage_perception.bringup.optional_nodes import OPTIONAL_NODES
from sage_perception.bringup.processes import error_in
from sage_perception.bringup.respawn import (
    DEATHS_FILE,
    RespawnPolicy,
    describe_exit,
    write_deaths,
)

_BOOLEANS = ['true', 'false', 'True', 'False']
_COMPOSITION = {
    'true': 'graph',
    'True': 'graph',
    'camera': 'camera',
    'false': 'none',
    'False': 'none',
}
_OF_CAMERA = ('source', 'image', 'pose')
_FROM_FILE = '(empty: use the value in params_file)'


def describe(
    graph: Callable[..., list[NodeSpec]],
    params_file: str,
    camera_suffixes: Sequence[str],
) -> LaunchDescription:
    """Return the launch description of a graph.

    Args:
        graph: function that takes a sequence of cameras and the options of
            `bringup.graph.perception`.
        params_file: name of the default parameter file in `config/`.
        camera_suffixes: suffixes of the launch arguments of each camera; '0' gives the arguments
            `camera0`, `source0` and `image0`.
    """
    arguments = _arguments(params_file)
    for number, suffix in enumerate(camera_suffixes):
        arguments += _camera_arguments(number, suffix)

    def build(context: LaunchContext) -> list[GroupAction]:
        given = {name: LaunchConfiguration(name).perform(context) for name in _names(arguments)}
        return [_nodes(graph, camera_suffixes, given, context)]

    return LaunchDescription([*arguments, OpaqueFunction(function=build)])


def _argument(
    name: str, default: str, description: str, choices: list[str] | None = None
) -> DeclareLaunchArgument:
    return DeclareLaunchArgument(
        name, default_value=default, description=description, choices=choices
    )


def _arguments(params_file: str) -> list[DeclareLaunchArgument]:
    return [
        _argument('namespace', '', 'Namespace of all nodes, such as robot1'),
        _argument('params_file', str(config_path(params_file)), 'Parameter file of all nodes'),
        _argument(
            'use_sim_time',
            '',
            f'Use /clock, for simulation and bag replay {_FROM_FILE}',
            [*_BOOLEANS, ''],
        ),
        _argument(
            'log_level',
            'info',
            'Minimum severity of log messages',
            ['debug', 'info', 'warn', 'error', 'fatal'],
        ),
        _argument('use_respawn', 'true', 'Restart nodes that exit', _BOOLEANS),
        _argument(
            'respawn_delay',
            '0.1',
            'Delay of a restart, seconds; it doubles while the node keeps dying, up to 10 s',
        ),
        _argument('device', '', f'Device of the encoders: auto, cpu or cuda {_FROM_FILE}'),
        _argument(
            'autostart',
            '',
            f'Configure and activate lifecycle nodes at startup {_FROM_FILE}',
            [*_BOOLEANS, ''],
        ),
        _argument('frame_prefix', '', 'Prefix of the frame ids of the cameras, such as robot1/'),
        _argument(
            'composition',
            'false',
            'Run all nodes in one process (true), those of each camera in one (camera), or each '
            'in its own (false)',
            [*_COMPOSITION],
        ),
        *(
            _argument(
                f'use_{node.name}',
                str(node.default).lower(),
                f'Start {node.description}',
                _BOOLEANS,
            )
            for node in OPTIONAL_NODES
        ),
        _argument('use_rviz', 'false', 'Start RViz', _BOOLEANS),
        _argument('rviz_config', str(config_path('sage.rviz')), 'Configuration file of RViz'),
        _argument(
            'use_foxglove',
            'false',
            'Start foxglove_bridge, to which Foxglove connects; config/foxglove_layout.json is a '
            'layout for it',
            _BOOLEANS,
        ),
        _argument('foxglove_port', str(PORT), 'Port of foxglove_bridge'),
    ]


def _camera_arguments(number: int, suffix: str) -> list[DeclareLaunchArgument]:
    return [
        _argument(f'camera{suffix}', f'cam{number}', f'Name and namespace of camera {number}'),
        _argument(
            f'source{suffix}',
            '',
            f'URI of the source of camera {number}: v4l2:///dev/video0, csi://0, rtsp://…, '
            f'file://…, images://… or synthetic:// {_FROM_FILE}',
        ),
        _argument(
            f'image{suffix}',
            '',
            f'Image topic of an external driver, which replaces the node of camera {number}',
        ),
        _argument(
            f'pose{suffix}',
            '',
            f'Pose of camera {number} on the robot, "x y z roll pitch yaw" in meters and radians '
            '(x forward, y left, z up); published on tf',
        ),
    ]


def _names(arguments: list[DeclareLaunchArgument]) -> list[str]:
    return [argument.name for argument in arguments]


def _flag(value: str) -> bool | None:
    return {'true': True, 'false': False, '': None}[value.lower()]


def _nodes(
    graph: Callable[..., list[NodeSpec]],
    camera_suffixes: Sequence[str],
    given: dict[str, str],
    context: LaunchContext,
) -> GroupAction:
    for name in ('params_file', 'rviz_config'):
        if not Path(given[name]).is_file():
            raise FileNotFoundError(f'{name}: {given[name]} does not exist')
    try:
        respawn_delay_s = float(given['respawn_delay'])
    except ValueError:
        raise ValueError(f'respawn_delay: {given["respawn_delay"]!r} is not a number') from None
    use_sim_time = _flag(given['use_sim_time'])
    specs = graph(
        [
            Camera(given[f'camera{n}'], *(given[f'{name}{n}'] or None for name in _OF_CAMERA))
            for n in camera_suffixes
        ],
        frame_prefix=given['frame_prefix'],
        device=given['device'] or None,
        autostart=_flag(given['autostart']),
        use_sim_time=use_sim_time,
        respawn=_flag(given['use_respawn']),
        respawn_delay_s=respawn_delay_s,
        **{node.name: _flag(given[f'use_{node.name}']) for node in OPTIONAL_NODES},
    )
    actions = [
        SetEnvironmentVariable(name, value)
        for name, value in dds_environment(context.environment).items()
    ]
    if given['namespace']:
        actions.append(PushRosNamespace(given['namespace']))
    outer = make_namespace_absolute(
        prefix_namespace(context.launch_configurations.get('ros_namespace'), given['namespace'])
    )
    remove_stale_shared_memory()
    folder = Path(tempfile.mkdtemp(prefix='launch_sage_'))
    causes = _Causes()

    def clean(*_: object) -> None:
        shutil.rmtree(folder, ignore_errors=True)
        remove_stale_shared_memory()

    actions.append(RegisterEventHandler(OnShutdown(on_shutdown=clean)))
    output = OnProcessIO(on_stdout=causes.remember, on_stderr=causes.remember)
    actions.append(RegisterEventHandler(output))
    for spec in compose(specs, _COMPOSITION[given['composition']]):
        if spec.nodes:
            arguments = ['--nodes', str(_write_nodes(spec, outer, given['params_file'], folder))]
            node = {'arguments': arguments}
        else:
            node = _node(spec, given['params_file'])
        actions += _process(spec, node, given['log_level'], folder, causes)
    if _flag(given['use_rviz']):
        actions.append(_rviz(given['rviz_config'], use_sim_time or False))
    if _flag(given['use_foxglove']):
        actions.append(_foxglove_bridge(given['foxglove_port'], use_sim_time or False))
    return GroupAction(actions)


def _rviz(config: str, use_sim_time: bool) -> Node:
    """Return the action that starts RViz."""
    return Node(
        package='rviz2',
        executable='rviz2',
        name='rviz',
        arguments=['-d', config],
        parameters=[{'use_sim_time': use_sim_time}],
        output='screen',
    )


def _foxglove_bridge(port: str, use_sim_time: bool) -> Node:
    """Return the action that starts the bridge."""
    if not port.isdecimal() or not 0 < int(port) < 65536:
        raise ValueError(f'foxglove_port: {port!r} is not a port, 1 to 65535')
    spec = foxglove_bridge('use_foxglove', int(port), use_sim_time=use_sim_time)
    return Node(
        package=spec.package,
        executable=Path(spec.executable).name,
        name=spec.name,
        parameters=[dict(spec.parameters)],
        output='screen',
    )


class _Causes:
    """The last error that each process printed, by process id."""

    def __init__(self) -> None:
        self._errors: dict[int, str] = {}

    def remember(self, event: ProcessIO) -> None:
        """Note the errors in the output of a process."""
        for line in event.text.decode(errors='replace').splitlines():
            if cause := error_in(line):
                self._errors[event.pid] = cause

    def explain(self, reason: str, pid: int) -> str:
        """Return the reason why a process is not restarted, with its last error."""
        cause = self._errors.pop(pid, '')
        return f'{reason}: {cause}' if cause else reason


def _node(spec: NodeSpec, params_file: str) -> dict[str, Any]:
    """Return the arguments of the action `Node` about the parameters and topics of a node."""
    return {
        # launch_ros writes the second item under the full name of the node, which takes precedence
        # over the wildcards of the parameter file.
        'parameters': [params_file] + ([dict(spec.parameters)] if spec.parameters else []),
        'remappings': list(spec.remappings),
    }


def _write_nodes(spec: NodeSpec, outer: str | None, params_file: str, folder: Path) -> Path:
    """Write the file of composed nodes, whose namespaces are in the namespace `outer`."""

    def absolute(node: NodeSpec) -> NodeSpec:
        return replace(node, namespace='/'.join(filter(None, [outer, node.namespace])).strip('/'))

    nodes = tuple(absolute(node) for node in spec.nodes)
    return write_nodes(replace(spec, nodes=nodes), [params_file], folder)


class _Process(Node):
    """A node whose restarts are delayed by its `RespawnPolicy`.

    `launch` has one delay for all restarts of a process, which it reads at each exit.
    """

    policy: RespawnPolicy | None = None

    @property
    def _ExecuteLocal__respawn_delay(self) -> float:
        return self.policy.delay_s if self.policy is not None else 0.0

    @_ExecuteLocal__respawn_delay.setter
    def _ExecuteLocal__respawn_delay(self, value: float) -> None:
        pass


def _process(
    spec: NodeSpec, node: dict[str, Any], log_level: str, folder: Path, causes: _Causes
) -> list[Node | RegisterEventHandler]:
    """Return the process of a node, or of composed nodes; `node` has arguments of `Node`."""
    policy = RespawnPolicy(spec.respawn, spec.respawn_delay_s)
    deaths = folder / (spec.path.replace('/', '.') + '.deaths')

    def on_start(event: ProcessStarted, context: LaunchContext) -> None:
        policy.record_start(time.monotonic())

    def on_exit(event: ProcessExited, context: LaunchContext) -> list[Shutdown]:
        if context.is_shutdown:
            return []
        logger = get_logger('sage')
        crash = describe_crash(nodes_file(spec, folder)) if spec.nodes else ''
        for line in crash.splitlines():
            logger.error(f'{spec.path}: {line}')
        reason = policy.record_exit(event.returncode)
        died = causes.explain(reason or describe_exit(event.returncode), event.pid)
        if reason is None:
            logger.error(f'{spec.path} died ({died}), restarting in {policy.delay_s:g} s')
            write_deaths(deaths, policy.deaths, died)
            remove_stale_shared_memory()
            return []
        logger.error(f'{spec.path}: {died}')
        return [Shutdown(reason=f'{spec.path}: {died}')]

    process = _Process(
        package=spec.package,
        executable=spec.executable,
        name=spec.name,
        namespace=spec.namespace,
        ros_arguments=[*enclave_arguments(spec), '--log-level', log_level],
        additional_env={DEATHS_FILE: str(deaths)},
        respawn=spec.respawn,
        respawn_delay=spec.respawn_delay_s,
        on_exit=on_exit,
        output='screen',
        emulate_tty=True,
        **node,
    )
    process.policy = policy
    started = OnProcessStart(target_action=process, on_start=on_start)
    return [RegisterEventHandler(started), process]
