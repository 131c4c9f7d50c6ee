# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""The encoding of the latents that a node sends, chosen by where its subscribers are.

Fast DDS gives all participants of a host one identifier, bytes 2 and 3 of the GID of each endpoint
after those of the vendor, and uses it to decide whether shared memory can carry a message. A
container with a network of its own counts as another host. Other middlewares have no such bytes.
"""

from __future__ import annotations

from typing import Any

import rclpy

from sage_perception.codecs.packing import Encoding
from sage_perception.ros.endpoints import Endpoints

AUTO = 'auto'
ON_HOST, OFF_HOST = Encoding.INT8, Encoding.ENTROPY_INT8
CHECK_PERIOD_S = 1.0
_HOST_BYTES = 4


def encoding_of(name: str) -> Encoding:
    """Return the encoding of the parameter `encoding`; `AUTO` is that on one host."""
    return ON_HOST if name == AUTO else Encoding[name.upper()]


class WireEncoding:
    """The encoding of the latents on a topic of a node that has the parameter `encoding`.

    With `AUTO` it is `OFF_HOST` while a subscriber is known to be on another host, which is
    checked every `CHECK_PERIOD_S` seconds, and `ON_HOST` otherwise.
    """

    def __init__(self, node: Endpoints, topic: str) -> None:
        self._node, self._topic = node, node.resolve_topic_name(topic)
        name = node.parameters.encoding
        self.current = encoding_of(name)
        if name == AUTO and 'fastrtps' in rclpy.get_rmw_implementation_identifier():
            node.add_timer(CHECK_PERIOD_S, self._choose, clock=node.diagnostics.clock)

    def _choose(self) -> None:
        node, before = self._node, self.current
        own = {
            _host_of(e) for e in node.get_publishers_info_by_topic(self._topic) if _is_of(e, node)
        }
        others = {_host_of(e) for e in node.get_subscriptions_info_by_topic(self._topic)}
        self.current = OFF_HOST if own and others - own else ON_HOST
        if self.current != before:
            place = 'another host' if self.current == OFF_HOST else 'this host only'
            node.get_logger().info(
                f'{self._topic} has subscribers on {place}: latents are sent as '
                f'{self.current.name.lower()}'
            )


def _host_of(endpoint: Any) -> bytes:
    return bytes(endpoint.endpoint_gid[:_HOST_BYTES])


def _is_of(endpoint: Any, node: Endpoints) -> bool:
    return (endpoint.node_namespace, endpoint.node_name) == (node.get_namespace(), node.get_name())
