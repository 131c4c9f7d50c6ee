# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""The parameters of the nodes of a graph, resolved as the nodes resolve them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sage_perception.ros.node_parameters.arbiter import ARBITER
from sage_perception.ros.node_parameters.attention import ATTENTION
from sage_perception.ros.node_parameters.compressor import COMPRESSOR
from sage_perception.ros.node_parameters.encoder import ENCODER
from sage_perception.ros.node_parameters.memory import MEMORY
from sage_perception.ros.parameter_file import ParameterFile
from sage_perception.ros.parameters import Parameter, values_by_camera

# Parameters that cannot change the result of an offline replay.
_WITHOUT_EFFECT = ('autostart', 'output', 'store', 'cameras', 'max_age_s', 'threads')


@dataclass(frozen=True)
class GraphSettings:
    """The checked parameters of a graph in `namespace`, by the full names of its nodes.

    `cameras` are relative to the namespace; the first one is the primary camera. `notes` name
    unknown parameters, and a parameter file without parameters of any of the nodes.
    """

    namespace: str
    cameras: tuple[str, ...]
    nodes: Mapping[str, Mapping[str, Any]]
    notes: tuple[str, ...] = field(default=(), compare=False)

    def of(self, kind: str, camera: str = '') -> Mapping[str, Any]:
        """Return the parameters of a node, such as `('encoder', 'cam0')` or `('arbiter', '')`."""
        return self.nodes[_name(self.namespace, kind, camera)]

    @property
    def entities(self) -> dict[str, str]:
        """Return the entity that signs for each camera, as the arbiter expects it."""
        own = {c: f'{self.namespace}/{c}'.strip('/') for c in self.cameras}
        text = self.of('arbiter')['camera_entities']
        return own | values_by_camera('camera_entities', text, self.cameras)

    @property
    def changed(self) -> dict[str, dict[str, Any]]:
        """Return the values by node that differ from the defaults."""
        found: dict[str, dict[str, Any]] = {}
        for node, values in self.nodes.items():
            defaults = {p.name: p.default for p in _table(node.rpartition('/')[2])}
            changed = {
                name: value
                for name, value in values.items()
                if name not in _WITHOUT_EFFECT and value != defaults[name]
            }
            if changed:
                found[node] = changed
        return found

    @property
    def sha256(self) -> str:
        """Return a hash over all values, hexadecimal."""
        values = {
            node: {name: v for name, v in each.items() if name not in _WITHOUT_EFFECT}
            for node, each in self.nodes.items()
        }
        text = json.dumps([self.cameras, values], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()


def resolve_settings(
    namespace: str,
    cameras: Sequence[str],
    file: ParameterFile,
    model: str | None = None,
    overrides: Mapping[str, Mapping[str, Any]] | None = None,
) -> GraphSettings:
    """Return the parameters of a graph with the cameras of a bag.

    `model` replaces the crop model of all nodes. `overrides` maps kinds of nodes, such as
    'arbiter', to values that replace those of the file. A list `cameras` of the arbiter in the
    file, or in `overrides`, selects and orders the cameras.

    Raises `ValueError` for a value that is not allowed, and for a camera that the bag lacks.
    """
    given = {kind: dict(values) for kind, values in (overrides or {}).items()}
    if model is not None:
        for kind in ('encoder', 'arbiter', 'memory'):
            given.setdefault(kind, {})['model'] = model
    arbiter = _name(namespace, 'arbiter')
    chosen = {**file.of(arbiter), **given.get('arbiter', {})}.get('cameras')
    if chosen is not None:
        chosen = [camera.strip('/') for camera in _check(chosen)]
        if missing := [camera for camera in chosen if camera not in cameras]:
            raise ValueError(
                f"parameter 'cameras' of {arbiter}: the bag has no camera {missing[0]!r}; "
                f'it has {", ".join(cameras)}'
            )
        cameras = chosen
    names = [(kind, camera) for camera in cameras for kind in ('attention', 'encoder')]
    names += [('arbiter', ''), ('memory', ''), ('compressor', '')]
    nodes, notes = {}, []
    for kind, camera in names:
        node = _name(namespace, kind, camera)
        nodes[node], unknown = file.resolve(node, _table(kind), given.get(kind))
        notes += unknown
    if file.path is not None and not any(file.of(node) for node in nodes):
        notes.append(f'{file.path} has no parameters of {", ".join(nodes)}: the defaults are used')
    return GraphSettings(namespace, tuple(cameras), nodes, tuple(notes))


def _check(value: Any) -> list[str]:
    return next(p for p in ARBITER if p.name == 'cameras').check(value)


def _table(kind: str) -> tuple[Parameter, ...]:
    return {
        'attention': ATTENTION,
        'encoder': ENCODER,
        'arbiter': ARBITER,
        'memory': MEMORY,
        'compressor': COMPRESSOR,
    }[kind]


def _name(namespace: str, kind: str, camera: str = '') -> str:
    return '/'.join([namespace, *filter(None, (camera,)), kind])
