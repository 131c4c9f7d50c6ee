# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""The node graphs as plain data, which `ros2 launch` and `sage up` run."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sage_perception.bringup.optional_nodes import OPTIONAL_NODES, OptionalNode, chosen
from sage_perception.core.pose import Pose

PACKAGE = 'sage_perception'
_OF_EACH_CAMERA = ('camera', 'attention', 'encoder')
CAMERA_NODES = (*_OF_EACH_CAMERA, *(node.name for node in OPTIONAL_NODES if node.per_camera))
"""The nodes that a camera can have in its namespace."""
NODES = (*_OF_EACH_CAMERA, 'arbiter', *(node.name for node in OPTIONAL_NODES))
"""The nodes that graphs are made of; the executable of each is `NAME_node`."""

_NAME = re.compile(r'[A-Za-z][A-Za-z0-9_]*')
_NAMESPACE = re.compile(rf'{_NAME.pattern}(/{_NAME.pattern})*')


@dataclass(frozen=True)
class NodeSpec:
    """A node of a graph.

    Attributes:
        package: package of the executable.
        executable: name of the executable, or the absolute path of a program that is not of sage.
        name: name of the node.
        namespace: relative to the namespace of the graph; '' for that namespace itself.
        parameters: values that override the parameter file.
        remappings: pairs (from, to).
        respawn: whether to restart the node when it exits.
        respawn_delay_s: delay of the restart, seconds.
        nodes: the nodes of a composed process, see `bringup/composition.py`; empty: the process
            of one node.
    """

    package: str
    executable: str
    name: str
    namespace: str = ''
    parameters: Mapping[str, object] = field(default_factory=dict)
    remappings: tuple[tuple[str, str], ...] = ()
    respawn: bool = True
    respawn_delay_s: float = 0.1
    nodes: tuple[NodeSpec, ...] = ()

    @property
    def path(self) -> str:
        """Return namespace and name, such as 'cam0/camera'; it is unique in the graph."""
        return f'{self.namespace}/{self.name}' if self.namespace else self.name


@dataclass(frozen=True)
class Camera:
    """A camera of a graph.

    Attributes:
        name: name of the camera and namespace of its nodes.
        source: URI that `camera_node` opens; None: use the value in the parameter file.
        topic: image topic of an external driver, absolute; camera_info is expected in the same
            namespace. The graph then has no `camera_node` for this camera.
        pose: 'x y z roll pitch yaw' of the camera on the robot, see `core.pose.Pose`; None: tf
            gives it, or it is not known.

    Raises:
        ValueError: the name, the topic or the pose is not valid, or both `source` and `topic` are
            given.
    """

    name: str
    source: str | None = None
    topic: str | None = None
    pose: str | None = None

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise ValueError(
                f'camera name {self.name!r} is not a valid ROS name; use letters, digits and _'
            )
        if self.topic is not None and not self.topic.startswith('/'):
            raise ValueError(
                f'image topic {self.topic!r} of {self.name} must be absolute; start it with /'
            )
        if self.topic is not None and self.source is not None:
            raise ValueError(f'{self.name} has a source and an image topic; give only one')
        if self.pose is not None:
            try:
                Pose.parse(self.pose)
            except ValueError as error:
                raise ValueError(f'pose of {self.name}: {error}') from None

    @property
    def remappings(self) -> list[tuple[str, str]]:
        """Return the topics of an external driver in place of those of the camera node."""
        if self.topic is None:
            return []
        info = self.topic.rpartition('/')[0] + '/camera_info'
        return [('image_raw', self.topic), ('camera_info', info)]


CAM0, CAM1 = Camera('cam0'), Camera('cam1')


def perception(
    cameras: Sequence[Camera],
    *,
    namespace: str = '',
    frame_prefix: str = '',
    device: str | None = None,
    autostart: bool | None = None,
    use_sim_time: bool | None = None,
    respawn: bool = True,
    respawn_delay_s: float = 0.1,
    **optional: bool,
) -> list[NodeSpec]:
    """Return the nodes of a graph: camera, attention and encoder per camera, and one arbiter.

    Args:
        cameras: the cameras.
        namespace: prefix of the namespaces of all nodes.
        frame_prefix: prefix of the frame ids of the cameras, for robots that share one TF tree.
        device: device of the encoders; None: use the value in the parameter file.
        autostart: whether lifecycle nodes activate themselves; None: use the value in the
            parameter file.
        use_sim_time: whether to use /clock; None: use the value in the parameter file.
        respawn: restart nodes that exit.
        respawn_delay_s: delay of a restart, seconds.
        optional: whether to add a node of `optional_nodes.OPTIONAL_NODES`, by its name, such as
            `memory=True`.

    Raises:
        ValueError: a name is not a valid ROS name or not that of an optional node, or the
            cameras do not have distinct names.
    """
    namespace = namespace.strip('/')
    if namespace and not _NAMESPACE.fullmatch(namespace):
        raise ValueError(f'namespace {namespace!r} is not valid; use letters, digits, _ and /')
    names = [camera.name for camera in cameras]
    if not names or len(set(names)) != len(names):
        raise ValueError(f'a graph requires cameras with distinct names; got {names}')
    if not 0 <= respawn_delay_s < math.inf:
        raise ValueError(f'respawn_delay_s is {respawn_delay_s}; it must be at least 0')

    nodes = chosen(optional)
    slots = any(added.name == 'slots' for added in nodes)
    poses = _poses(cameras, frame_prefix)

    def node(
        kind: str,
        camera: Camera | None = None,
        remappings: Sequence[tuple[str, str]] = (),
        **parameters: object,
    ) -> NodeSpec:
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

    def optional_node(
        added: OptionalNode, camera: Camera | None, topics: Sequence[tuple[str, str]]
    ) -> NodeSpec:
        return node(
            added.name,
            camera,
            topics if added.images else (),
            cameras=names if added.cameras else None,
            autostart=autostart if added.lifecycle else None,
            **(poses if added.poses else {}),
        )

    graph = []
    for camera in cameras:
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
        graph.append(node('attention', camera, camera.remappings, use_slots=slots or None))
        graph.append(node('encoder', camera, device=device, autostart=autostart))
        graph += [
            optional_node(added, camera, camera.remappings) for added in nodes if added.per_camera
        ]
    topics = [
        (f'{camera.name}/{name}', topic) for camera in cameras for name, topic in camera.remappings
    ]
    graph.append(node('arbiter', None, topics if poses else (), cameras=names, **poses))
    graph += [optional_node(added, None, topics) for added in nodes if not added.per_camera]
    return graph


def _poses(cameras: Sequence[Camera], frame_prefix: str) -> dict[str, str]:
    """Return the parameters about the poses of cameras; empty if none has one."""
    poses = [f'{camera.name}={camera.pose}' for camera in cameras if camera.pose is not None]
    if not poses:
        return {}
    frame = {'base_frame': f'{frame_prefix}base_link'} if frame_prefix else {}
    return {'camera_poses': ', '.join(poses), **frame}


def single_camera(cameras: Sequence[Camera] = (CAM0,), **options: Any) -> list[NodeSpec]:
    """Return the graph of a robot with one camera; see `perception` for the options."""
    if len(cameras) != 1:
        raise ValueError(f'single_camera requires one camera; got {len(cameras)}')
    return perception(cameras, **options)


def dual_camera(cameras: Sequence[Camera] = (CAM0, CAM1), **options: Any) -> list[NodeSpec]:
    """Return the graph of a robot with two cameras; see `perception` for the options."""
    if len(cameras) != 2:
        raise ValueError(f'dual_camera requires two cameras; got {len(cameras)}')
    return perception(cameras, **options)


def fleet(
    robots: Sequence[str],
    cameras: Sequence[Camera] = (CAM0, CAM1),
    **options: Any,
) -> list[NodeSpec]:
    """Return the graphs of several robots on one host, each in the namespace of its name.

    See `perception` for the options; raises `ValueError` if the robots do not have distinct names.
    """
    robots = [robot.strip('/') for robot in robots]
    if not robots or len(set(robots)) != len(robots):
        raise ValueError(f'a fleet requires robots with distinct names; got {list(robots)}')
    base = options.get('namespace', '').strip('/')
    graph: list[NodeSpec] = []
    for robot in robots:
        own = {
            **options,
            'namespace': f'{base}/{robot}' if base else robot,
            'frame_prefix': f'{robot}/',
        }
        graph += dual_camera(cameras, **own)
    return graph
