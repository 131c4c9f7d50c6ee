# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""The nodes that a graph has only on request, from which launch arguments and options are made."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from sage_perception.core.text import did_you_mean


@dataclass(frozen=True)
class OptionalNode:
    """A node that `use_NAME:=true` of the launch files and `sage up --NAME` add to a graph.

    Attributes:
        name: name of the node; its executable is `NAME_node`.
        default: whether the graph has the node unless it is omitted.
        per_camera: one node in the namespace of each camera, instead of one for the graph.
        cameras: the node has the parameter `cameras`, with the names of all cameras.
        images: the node reads the images of the cameras, also those of external drivers.
        lifecycle: the node is a lifecycle node, with the parameter `autostart`.
        poses: the node has the parameters `camera_poses` and `base_frame`.
    """

    name: str
    default: bool = False
    per_camera: bool = False
    cameras: bool = False
    images: bool = False
    lifecycle: bool = False
    poses: bool = False

    @property
    def description(self) -> str:
        """Return the node in words, such as 'the memory node'."""
        return f'the {self.name} node' + (' of each camera' if self.per_camera else '')


OPTIONAL_NODES = (
    OptionalNode('memory'),
    OptionalNode('compressor', cameras=True, lifecycle=True),
    OptionalNode('proprioception'),
    OptionalNode('translator'),
    OptionalNode('effector'),
    OptionalNode('positions', cameras=True, images=True, poses=True),
    OptionalNode('slots', per_camera=True, images=True, lifecycle=True),
    OptionalNode('zspace', cameras=True, images=True),
    OptionalNode('audio', lifecycle=True),
    OptionalNode('viewer', default=True, cameras=True, images=True),
)


def chosen(wanted: Mapping[str, bool]) -> list[OptionalNode]:
    """Return the optional nodes of a graph; `wanted` has those that differ from the default.

    Raises:
        ValueError: a name is not that of an optional node.
    """
    names = [node.name for node in OPTIONAL_NODES]
    for name in wanted:
        if name not in names:
            hint = did_you_mean(name, names) or f'; they are {", ".join(names)}'
            raise ValueError(f'{name!r} is not an optional node{hint}')
    return [node for node in OPTIONAL_NODES if wanted.get(node.name, node.default)]
