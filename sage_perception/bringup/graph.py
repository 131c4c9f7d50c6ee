# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""The node graphs as plain data: what `ros2 launch` and `sage up` both run."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

PACKAGE = 'sage_perception'

_NAME = re.compile(r'[A-Za-z][A-Za-z0-9_]*')
_NAMESPACE = re.compile(r'(/?[A-Za-z][A-Za-z0-9_]*)+')


@dataclass(frozen=True)
class NodeSpec:
    """One node of a graph.

    `namespace` is relative to wherever the graph is started, '' for the graph's own. `parameters`
    hold only what the graph decides or its caller asked for; they go over the parameter file.
    `remappings` are pairs (from, to). A node that dies starts again after `respawn_delay_s`
    seconds, unless `respawn` is off.
    """

    package: str
    executable: str
    name: str
    namespace: str = ''
    parameters: Mapping[str, object] = field(default_factory=dict)
    remappings: tuple[tuple[str, str], ...] = ()
    respawn: bool = True
    respawn_delay_s: float = 0.5

    @property
    def path(self) -> str:
        """Namespace and name, such as 'cam0/camera': unique in its graph."""
        return f'{self.namespace}/{self.name}' if self.namespace else self.name


@dataclass(frozen=True)
class Camera:
    """A camera of a graph, and the namespace of its nodes.

    `source` is the URI that `camera_node` opens, None to leave it to the parameter file. `topic`
    is the image topic of a driver that runs already, absolute, with its camera_info beside it as
    drivers have it; the graph then has no `camera_node` for this camera.
    """

    name: str
    source: str | None = None
    topic: str | None = None

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise ValueError(
                f'camera name {self.name!r} is not a ROS name: use letters, digits and _'
            )
        if self.topic is not None and not self.topic.startswith('/'):
            raise ValueError(
                f'image topic {self.topic!r} of {self.name} must be absolute: begin it with /'
            )
        if self.topic is not None and self.source is not None:
            raise ValueError(f'{self.name} has a source and an image topic: give one of them')


CAM0, CAM1 = Camera('cam0'), Camera('cam1')


def perception(
    cameras: Sequence[Camera],
    *,
    namespace: str = '',
    frame_prefix: str = '',
    device: str | None = None,
    autostart: bool | None = None,
    use_sim_time: bool | None = None,
    viewer: bool = True,
    memory: bool = False,
    compressor: bool = False,
    respawn: bool = True,
    respawn_delay_s: float = 0.5,
) -> list[NodeSpec]:
    """Describe camera, attention and encoder of each camera, one arbiter and one viewer.

    With `memory` there is a memory node too, with `compressor` one that compresses contexts.
    `namespace` goes before every node's own. `frame_prefix` goes before the cameras' frame ids,
    so that several robots share one frame tree. None leaves a parameter to the parameter file.
    Raises ValueError for a name that ROS would refuse.
    """
    namespace = namespace.strip('/')
    if namespace and not _NAMESPACE.fullmatch(namespace):
        raise ValueError(f'namespace {namespace!r} is not a ROS name: use letters, digits, _, /')
    names = [camera.name for camera in cameras]
    if not names or len(set(names)) != len(names):
        raise ValueError(f'a graph needs cameras with different names, not {names}')
    if respawn_delay_s < 0:
        raise ValueError(f'respawn delay {respawn_delay_s} s is negative')

    def node(kind: str, camera: Camera | None = None, remappings=(), **parameters) -> NodeSpec:
        place = [namespace] if namespace else []
        return NodeSpec(
            package=PACKAGE,
            executable=f'{kind}_node',
            name=kind,
            namespace='/'.join(place + ([camera.name] if camera else [])),
            parameters={
                key: value
                for key, value in {**parameters, 'use_sim_time': use_sim_time}.items()
                if value is not None
            },
            remappings=tuple(remappings),
            respawn=respawn,
            respawn_delay_s=respawn_delay_s,
        )

    graph = []
    for camera in cameras:
        images = [('image_raw', camera.topic)] if camera.topic else []
        if not camera.topic:
            frame_id = f'{frame_prefix}{camera.name}_optical_frame' if frame_prefix else None
            graph.append(
                node(
                    'camera',
                    camera,
                    source=camera.source,
                    frame_id=frame_id,
                    autostart=autostart,
                )
            )
        graph.append(node('attention', camera, images))
        graph.append(node('encoder', camera, device=device, autostart=autostart))
    graph.append(node('arbiter', cameras=names))
    if memory:
        graph.append(node('memory'))
    if compressor:
        graph.append(node('compressor', cameras=names, autostart=autostart))
    if viewer:
        topics = []
        for camera in cameras:
            if camera.topic:
                info = camera.topic.rpartition('/')[0] + '/camera_info'
                topics.append((f'{camera.name}/image_raw', camera.topic))
                topics.append((f'{camera.name}/camera_info', info))
        graph.append(node('viewer', None, topics, cameras=names))
    return graph


def single_camera(cameras: Sequence[Camera] = (CAM0,), **options) -> list[NodeSpec]:
    """Describe the graph of a robot with one camera; `options` are those of `perception`."""
    if len(cameras) != 1:
        raise ValueError(f'single_camera needs one camera, not {len(cameras)}')
    return perception(cameras, **options)


def dual_camera(cameras: Sequence[Camera] = (CAM0, CAM1), **options) -> list[NodeSpec]:
    """Describe the graph of a robot with two cameras; `options` are those of `perception`."""
    if len(cameras) != 2:
        raise ValueError(f'dual_camera needs two cameras, not {len(cameras)}')
    return perception(cameras, **options)


def fleet(
    robots: Sequence[str], cameras: Sequence[Camera] = (CAM0, CAM1), **options
) -> list[NodeSpec]:
    """Describe the graphs of several robots on one host, each in a namespace of its own name."""
    if not robots or len(set(robots)) != len(robots):
        raise ValueError(f'a fleet needs robots with different names, not {list(robots)}')
    base = options.pop('namespace', '').strip('/')
    return [
        node
        for robot in robots
        for node in dual_camera(
            cameras,
            namespace=f'{base}/{robot}' if base else robot,
            frame_prefix=f'{robot}/',
            **options,
        )
    ]
