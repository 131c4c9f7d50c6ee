# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Draw the messages of a running graph."""

from __future__ import annotations

import threading
from collections.abc import Callable
from functools import partial

import rclpy
from rclpy.node import Node
from rclpy.signals import SignalHandlerOptions

from sage_perception.bags.definitions import UnreadableType, message_class
from sage_perception.bags.profiles import request_for
from sage_perception.viewing.rerun_sink import RerunSink
from sage_perception.viewing.scene import Scene

DISCOVERY_PERIOD_S = 1.0
"""Period at which new topics are searched, seconds."""

Log = Callable[[str], None]


class GraphDrawer:
    """Subscribes to all topics that can be drawn, and draws their messages."""

    def __init__(self, node: Node, scene: Scene, sink: RerunSink, log: Log) -> None:
        self.count = 0
        self._node, self._scene, self._sink, self._log = node, scene, sink, log
        self._seen: set[tuple[str, str]] = set()
        node.create_timer(DISCOVERY_PERIOD_S, self.discover)
        self.discover()

    def discover(self) -> None:
        """Subscribe to new topics."""
        found = dict(self._node.get_topic_names_and_types())
        for topic, types in found.items():
            if f'{topic}/compressed' in found:
                continue  # the same images, smaller
            for type_name in types:
                if self._scene.draws(topic, type_name):
                    self._subscribe(topic, type_name)

    def _subscribe(self, topic: str, type_name: str) -> None:
        publishers = self._node.get_publishers_info_by_topic(topic)
        if (topic, type_name) in self._seen or not publishers:
            return
        self._seen.add((topic, type_name))
        try:
            kind = message_class(type_name)
        except UnreadableType as error:
            self._log(f'{topic} is skipped: {error}')
            return
        profile = request_for([publisher.qos_profile for publisher in publishers])
        draw = partial(self._draw, topic, type_name)
        # rclpy inspects the signature of a callback.
        self._node.create_subscription(kind, topic, lambda message: draw(message), profile)
        self._log(f'{topic} ({type_name})')

    def _draw(self, topic: str, type_name: str, message: object) -> None:
        now_ns = self._node.get_clock().now().nanoseconds
        for timed in self._scene.add(topic, type_name, message, now_ns):
            self._sink.write(timed, now_ns)
        self._sink.arrange(self._scene.cameras)
        self.count += 1


def draw_graph(scene: Scene, sink: RerunSink, stop: threading.Event, log: Log) -> int:
    """Draw a running graph until `stop` is set; return the number of messages.

    `log` is called with a line for each topic.
    """
    rclpy.init(args=[], signal_handler_options=SignalHandlerOptions.NO)
    try:
        node = rclpy.create_node('sage_view')
        drawer = GraphDrawer(node, scene, sink, log)
        while not stop.is_set():
            rclpy.spin_once(node, timeout_sec=0.1)
        return drawer.count
    finally:
        rclpy.try_shutdown()
