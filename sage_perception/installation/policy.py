# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""SROS2 policies of node graphs: which enclave may publish, subscribe, request and reply to what.

The permissions come from the tables of the nodes, so that a policy allows what the nodes of a
graph create and nothing else. Each process of a graph has an enclave of its own. Two more are for
everything outside the graph: `INPUTS` may publish what the graph reads and does not publish
itself, such as images of a camera driver; `OPERATOR` may subscribe to all topics and call all
services, for `sage record`, `sage watch`, Foxglove and `ros2 param`.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any
from xml.etree import ElementTree

from sage_perception.bringup.graph import NodeSpec
from sage_perception.bringup.node_class import node_class

VERSION = '0.2.0'
"""Version of the policy schema of sros2."""
INPUTS, OPERATOR = '/inputs', '/operator'

# Of every node of rclpy.
_PUBLISHED = ('/rosout', '/parameter_events', '/diagnostics')
_SUBSCRIBED = ('/parameter_events', '/clock')
_PARAMETER_SERVICES = (
    'describe_parameters',
    'get_parameter_types',
    'get_parameters',
    'get_type_description',
    'list_parameters',
    'set_parameters',
    'set_parameters_atomically',
)
_LIFECYCLE_SERVICES = (
    'change_state',
    'get_available_states',
    'get_available_transitions',
    'get_state',
    'get_transition_graph',
)
_PROBE = '~/_isolated'
"""The topic with which a composed process checks that its nodes are connected locally."""


@dataclass(frozen=True)
class Profile:
    """What one node may do; all names are absolute, and each set is sorted."""

    node: str
    namespace: str
    publish: tuple[str, ...] = ()
    subscribe: tuple[str, ...] = ()
    reply: tuple[str, ...] = ()
    request: tuple[str, ...] = ()


@dataclass(frozen=True)
class Enclave:
    """The permissions of one process: its path, such as '/cam0/encoder', and its nodes."""

    path: str
    profiles: tuple[Profile, ...] = field(default_factory=tuple)


def enclaves_of(specs: Sequence[NodeSpec]) -> list[Enclave]:
    """Return the enclaves of the processes of a graph, and `INPUTS` and `OPERATOR`."""
    found = []
    external = []
    for spec in specs:
        nodes = spec.nodes or (spec,)
        if spec.executable.startswith('/'):  # such as foxglove_bridge
            external.append(f'/{spec.path}')
            continue
        own = tuple(_profile(node, composed=bool(spec.nodes)) for node in nodes)
        found.append(Enclave(f'/{spec.path}', own))
    profiles = [profile for enclave in found for profile in enclave.profiles]
    published = {name for profile in profiles for name in profile.publish}
    subscribed = {name for profile in profiles for name in profile.subscribe}
    common = {'publish': _sorted(_PUBLISHED), 'subscribe': _sorted(_SUBSCRIBED)}
    inputs = _sorted({*(subscribed - published), *_PUBLISHED})
    found.append(Enclave(INPUTS, (Profile('inputs', '/', **{**common, 'publish': inputs}),)))
    services = _sorted(name for profile in profiles for name in profile.reply)
    for path in (OPERATOR, *external):
        everything = {**common, 'subscribe': _sorted({*published, *subscribed})}
        name = path.rpartition('/')[2]
        found.append(Enclave(path, (Profile(name, '/', **everything, request=services),)))
    return found


def policy_xml(enclaves: Iterable[Enclave]) -> str:
    """Return a policy file for `ros2 security create_permission`."""
    root = ElementTree.Element('policy', version=VERSION)
    parent = ElementTree.SubElement(root, 'enclaves')
    for enclave in enclaves:
        element = ElementTree.SubElement(parent, 'enclave', path=enclave.path)
        profiles = ElementTree.SubElement(element, 'profiles')
        for profile in enclave.profiles:
            own = ElementTree.SubElement(
                profiles, 'profile', ns=profile.namespace, node=profile.node
            )
            for verb, kind in (
                ('publish', 'topic'),
                ('subscribe', 'topic'),
                ('reply', 'service'),
                ('request', 'service'),
            ):
                names = getattr(profile, verb)
                if names:
                    rule = ElementTree.SubElement(own, f'{kind}s', {verb: 'ALLOW'})
                    for name in names:
                        ElementTree.SubElement(rule, kind).text = name
    ElementTree.indent(root)
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{ElementTree.tostring(root, "unicode")}\n'


def recipe(enclaves: Sequence[Enclave], keystore: str, policy: str) -> str:
    """Return a shell script that makes the keystore of a policy file with `ros2 security`."""
    store, file = shlex.quote(keystore), shlex.quote(policy)
    lines = [
        '#!/bin/sh -eu',
        '# Run on a machine that the robots do not have access to: private/ has the keys of the',
        '# certificate authorities. Set ROS_DOMAIN_ID as on the robots: permissions name it.',
        'umask 077',
        f'ros2 security create_keystore {store}',
    ]
    for enclave in enclaves:
        path = shlex.quote(enclave.path)
        lines.append(f'ros2 security create_enclave {store} {path}')
        lines.append(f'ros2 security create_permission {store} {path} {file}')
    lines += [
        '# Copy to each machine only public/ and the folders of its own enclaves, then start with',
        f'#   export ROS_SECURITY_KEYSTORE={store}',
        '#   export ROS_SECURITY_ENABLE=true ROS_SECURITY_STRATEGY=Enforce',
        '# and, for tools such as sage record or ros2 topic echo, also',
        f'#   export ROS_SECURITY_ENCLAVE_OVERRIDE={OPERATOR}',
    ]
    return '\n'.join(lines) + '\n'


def _profile(spec: NodeSpec, composed: bool) -> Profile:
    # Not at the top level: `sage doctor` reports a missing ROS.
    from sage_perception.ros.lifecycle import LifecycleNode

    node = node_class(spec.executable)
    namespace = f'/{spec.namespace}' if spec.namespace else '/'
    publish = [*_PUBLISHED, *_topics(spec, node.PUBLISHES)]
    subscribe = [*_SUBSCRIBED, *_topics(spec, node.SUBSCRIBES)]
    private = list(_PARAMETER_SERVICES)
    if issubclass(node, LifecycleNode):
        private += _LIFECYCLE_SERVICES
        publish.append(_absolute(spec, '~/transition_event'))
    if composed:
        publish.append(_absolute(spec, _PROBE))
        subscribe.append(_absolute(spec, _PROBE))
    services = [_absolute(spec, f'~/{name}') for name in private]
    services += [_remapped(spec, service.name) for service in node.SERVES]
    return Profile(spec.name, namespace, _sorted(publish), _sorted(subscribe), _sorted(services))


def _topics(spec: NodeSpec, table: Iterable[Any]) -> Iterator[str]:
    """Yield the absolute names of the topics of a table, for each camera of the node."""
    cameras: Any = spec.parameters.get('cameras', [''])
    for topic in table:
        for camera in cameras if '{camera}' in topic.name else ['']:
            yield _remapped(spec, topic.name.format(camera=camera))


def _remapped(spec: NodeSpec, name: str) -> str:
    """Return the absolute name of a topic or service after the remappings of a node."""
    # A compressed image is on the topic of the image, after its remapping.
    base = name.removesuffix('/compressed')
    targets = {_absolute(spec, source): target for source, target in spec.remappings}
    target = targets.get(_absolute(spec, base))
    if target is None:
        return _absolute(spec, name)
    return _absolute(spec, target) + name[len(base) :]


def _absolute(spec: NodeSpec, name: str) -> str:
    """Return a name without `~` and with the namespace of a node."""
    if name.startswith('/'):
        return name
    parts = (
        [spec.namespace, spec.name, name[2:]] if name.startswith('~/') else [spec.namespace, name]
    )
    return '/' + '/'.join(filter(None, parts))


def _sorted(names: Iterable[str]) -> tuple[str, ...]:
    return tuple(sorted(set(names)))
