# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Translate a node graph into a launch description, the same for Humble, Jazzy and Kilted."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path

from launch import LaunchContext, LaunchDescription
from launch.actions import (
    DeclareLaunchArgument,
    GroupAction,
    OpaqueFunction,
    SetEnvironmentVariable,
    Shutdown,
)
from launch.logging import get_logger
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import Node, PushRosNamespace

from sage_perception.bringup.environment import DeathRecord, config_path, dds_environment
from sage_perception.bringup.graph import Camera, NodeSpec

_YES_NO = ['true', 'false', 'True', 'False']
_AS_IN_FILE = 'as in params_file'


def describe(
    graph: Callable[..., list[NodeSpec]], params_file: str, camera_suffixes: Sequence[str]
) -> LaunchDescription:
    """Return the launch description of a graph.

    `graph` takes a sequence of cameras and the options of `bringup.graph.perception`;
    `params_file` is the name of its default parameter file in `config/`. Each of
    `camera_suffixes` gives arguments of its own, such as `source0` and `image0` for '0'.
    """
    arguments = _arguments(params_file)
    for number, suffix in enumerate(camera_suffixes):
        arguments += _camera_arguments(number, suffix)

    def build(context: LaunchContext) -> list[GroupAction]:
        given = {name: LaunchConfiguration(name).perform(context) for name in _names(arguments)}
        return [_nodes(graph, camera_suffixes, given, context)]

    return LaunchDescription([*arguments, OpaqueFunction(function=build)])


def _arguments(params_file: str) -> list[DeclareLaunchArgument]:
    def argument(name: str, default: str, description: str, choices: list[str] | None = None):
        return DeclareLaunchArgument(
            name, default_value=default, description=description, choices=choices
        )

    return [
        argument('namespace', '', 'Namespace of the whole graph, such as robot1'),
        argument('params_file', str(config_path(params_file)), 'Parameter file of the nodes'),
        argument(
            'use_sim_time',
            '',
            f'Run on /clock, for simulation and bags (empty: {_AS_IN_FILE})',
            [*_YES_NO, ''],
        ),
        argument(
            'log_level',
            'info',
            'Least severe messages that are logged',
            ['debug', 'info', 'warn', 'error', 'fatal'],
        ),
        argument('use_respawn', 'true', 'Start a node that died again', _YES_NO),
        argument('respawn_delay', '0.5', 'Seconds before a node that died starts again'),
        argument('device', '', f'Device of the encoder: auto, cpu, cuda (empty: {_AS_IN_FILE})'),
        argument(
            'autostart',
            '',
            f'Lifecycle nodes activate themselves (empty: {_AS_IN_FILE})',
            [*_YES_NO, ''],
        ),
        argument('frame_prefix', '', 'Goes before the frame ids of the cameras, such as robot1/'),
        argument('use_viewer', 'true', 'Start the viewer node', _YES_NO),
        argument('use_memory', 'false', 'Start the memory node', _YES_NO),
        argument('use_compressor', 'false', 'Start the compressor node', _YES_NO),
        argument('use_rviz', 'false', 'Start rviz2', _YES_NO),
        argument('rviz_config', str(config_path('sage.rviz')), 'Configuration file of rviz2'),
    ]


def _camera_arguments(number: int, suffix: str) -> list[DeclareLaunchArgument]:
    return [
        DeclareLaunchArgument(
            f'camera{suffix}',
            default_value=f'cam{number}',
            description=f'Name and namespace of camera {number}',
        ),
        DeclareLaunchArgument(
            f'source{suffix}',
            default_value='',
            description=f'URI that camera {number} opens: v4l2:///dev/video0, csi://0, rtsp://…, '
            f'file://…, images://…, synthetic:// (empty: {_AS_IN_FILE})',
        ),
        DeclareLaunchArgument(
            f'image{suffix}',
            default_value='',
            description=f'Image topic of a driver that runs already, instead of camera {number}',
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
            raise FileNotFoundError(f'{name}: no file {given[name]}')
    try:
        respawn_delay_s = float(given['respawn_delay'])
    except ValueError:
        raise ValueError(f'respawn_delay: {given["respawn_delay"]!r} is not a number') from None
    use_sim_time = _flag(given['use_sim_time'])
    specs = graph(
        [
            Camera(given[f'camera{n}'], given[f'source{n}'] or None, given[f'image{n}'] or None)
            for n in camera_suffixes
        ],
        frame_prefix=given['frame_prefix'],
        device=given['device'] or None,
        autostart=_flag(given['autostart']),
        use_sim_time=use_sim_time,
        viewer=_flag(given['use_viewer']),
        memory=_flag(given['use_memory']),
        compressor=_flag(given['use_compressor']),
        respawn=_flag(given['use_respawn']),
        respawn_delay_s=respawn_delay_s,
    )
    actions = [
        SetEnvironmentVariable(name, value)
        for name, value in dds_environment(context.environment).items()
    ]
    if given['namespace']:
        actions.append(PushRosNamespace(given['namespace']))
    actions += [_node(spec, given['params_file'], given['log_level']) for spec in specs]
    if _flag(given['use_rviz']):
        actions.append(
            Node(
                package='rviz2',
                executable='rviz2',
                name='rviz',
                arguments=['-d', given['rviz_config']],
                parameters=[{'use_sim_time': use_sim_time or False}],
                output='screen',
            )
        )
    return GroupAction(actions)


def _node(spec: NodeSpec, params_file: str, log_level: str) -> Node:
    deaths = DeathRecord(spec.respawn)

    def on_exit(event, context: LaunchContext) -> list[Shutdown]:
        if context.is_shutdown:
            return []
        reason = deaths.verdict(event.returncode, time.monotonic())
        if reason is None:
            return []
        get_logger('sage').error(f'{spec.path}: {reason}')
        return [Shutdown(reason=f'{spec.path}: {reason}')]

    return Node(
        package=spec.package,
        executable=spec.executable,
        name=spec.name,
        namespace=spec.namespace,
        # launch_ros keys the second by the node's full name, which beats the file's wildcards.
        parameters=[params_file] + ([dict(spec.parameters)] if spec.parameters else []),
        remappings=list(spec.remappings),
        ros_arguments=['--log-level', log_level],
        respawn=spec.respawn,
        respawn_delay=spec.respawn_delay_s,
        on_exit=on_exit,
        output='screen',
        emulate_tty=True,
    )
