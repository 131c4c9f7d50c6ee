# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""The sender of malformed messages: it finds the endpoints of a graph and writes to them."""

from __future__ import annotations

import importlib
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import rclpy
from diagnostic_msgs.msg import DiagnosticArray
from rcl_interfaces.msg import Parameter, ParameterType
from rcl_interfaces.srv import GetParameters, ListParameters, SetParameters
from rclpy.executors import ExternalShutdownException, ShutdownException, SingleThreadedExecutor
from rclpy.impl.implementation_singleton import rclpy_implementation
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from rclpy.signals import SignalHandlerOptions

RCLError = rclpy_implementation.RCLError
SAMPLES = 6
"""Valid messages of each topic that are kept, newest."""
OWN = '/messages_fuzzer'


def load_type(name: str) -> Any:
    """Return the class of a type such as 'sensor_msgs/msg/Image'."""
    package, folder, kind = name.split('/')
    return getattr(importlib.import_module(f'{package}.{folder}'), kind)


@dataclass(frozen=True)
class Endpoint:
    """A topic that `node` subscribes to, or a service that it offers."""

    node: str
    name: str
    kind: str

    @property
    def is_service(self) -> bool:
        """Return whether this is a service."""
        return '/srv/' in self.kind


class Client:
    """A ROS node that sends malformed messages and watches the nodes that receive them.

    Attributes:
        received: number of messages by topic.
        samples: serialized valid messages by topic, kept while `keeps_samples` is set.
        exceptions: exceptions that the nodes report in their diagnostics, by node.
        answered: requests that were answered, and all requests.
    """

    def __init__(self) -> None:
        # The handlers of rclpy would shut the context down and leave the process running.
        rclpy.init(signal_handler_options=SignalHandlerOptions.NO)
        self.node = rclpy.create_node(OWN[1:])
        self.received: Counter[str] = Counter()
        self.samples: dict[str, deque[bytes]] = {}
        self.keeps_samples = True
        self.exceptions: dict[str, int] = {}
        self.answered = self.requests = 0
        self._clients: dict[tuple[str, str], Any] = {}
        self._publishers: dict[tuple[str, str], Any] = {}
        self._executor = SingleThreadedExecutor()
        self._executor.add_node(self.node)
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._spin, daemon=True)
        self._thread.start()
        self._keep(DiagnosticArray, '/diagnostics', self._on_diagnostics, raw=False)

    def _spin(self) -> None:
        while not self._closing.is_set():
            try:
                self._executor.spin_once(timeout_sec=0.1)
            except (ExternalShutdownException, ShutdownException):
                return

    def _keep(self, kind: Any, topic: str, callback: Callable[[Any], None], raw: bool) -> None:
        profile = QoSProfile(depth=5, reliability=ReliabilityPolicy.BEST_EFFORT)
        self.node.create_subscription(kind, topic, callback, profile, raw=raw)

    def _on_diagnostics(self, message: DiagnosticArray) -> None:
        for status in message.status:
            node, _, part = status.name.rpartition(': ')
            if part == 'callbacks':
                counts = [int(pair.value) for pair in status.values if pair.key == 'exceptions']
                self.exceptions[node] = max([self.exceptions.get(node, 0), *counts])

    def watch(self, topics: Iterable[tuple[str, str]]) -> None:
        """Subscribe to topics, given as name and type, so that their publishers work."""
        for name, kind in topics:
            kept = self.samples.setdefault(name, deque(maxlen=SAMPLES))

            def keep(data: bytes, name: str = name, kept: deque[bytes] = kept) -> None:
                self.received[name] += 1
                if self.keeps_samples:
                    kept.append(data)

            self._keep(load_type(kind), name, keep, raw=True)

    def endpoints(self, node: str) -> list[Endpoint]:
        """Return the subscriptions and services of a node by its full name."""
        namespace, _, name = node.rpartition('/')
        place = (name, namespace or '/')
        found = [
            *self.node.get_subscriber_names_and_types_by_node(*place),
            *self.node.get_service_names_and_types_by_node(*place),
        ]
        return [Endpoint(node, topic, kinds[0]) for topic, kinds in sorted(found)]

    def published(self, node: str) -> list[tuple[str, str]]:
        """Return the topics that a node publishes, with their types."""
        namespace, _, name = node.rpartition('/')
        found = self.node.get_publisher_names_and_types_by_node(name, namespace or '/')
        return [(topic, kinds[0]) for topic, kinds in found]

    def publish(self, endpoint: Endpoint, message: Any) -> bool:
        """Publish a message, or its serialized form; return whether the middleware takes it."""
        try:
            self._publisher(endpoint).publish(message)
        except RCLError:
            return False
        return True

    def _publisher(self, endpoint: Endpoint) -> Any:
        key = (endpoint.name, endpoint.kind)
        if key not in self._publishers:
            infos = self.node.get_subscriptions_info_by_topic(endpoint.name)
            latched = any(
                info.qos_profile.durability == DurabilityPolicy.TRANSIENT_LOCAL for info in infos
            )
            durability = DurabilityPolicy.TRANSIENT_LOCAL if latched else DurabilityPolicy.VOLATILE
            profile = QoSProfile(depth=64, durability=durability)
            publisher = self.node.create_publisher(
                load_type(endpoint.kind), endpoint.name, profile
            )
            self._publishers[key] = publisher
            wait_for(publisher.get_subscription_count, 5.0)
        return self._publishers[key]

    def call(self, service: str, kind: Any, request: Any, timeout_s: float) -> Any | None:
        """Return the response of a service, None if it does not respond in time."""
        responses = self.call_all(service, kind, [request], timeout_s)
        return responses[0] if responses else None

    def call_all(
        self, service: str, kind: Any, requests: Iterable[Any], timeout_s: float
    ) -> list[Any]:
        """Return the responses of a service to requests that are sent together."""
        client = self._clients.get((service, kind.__name__))
        if client is None:
            client = self.node.create_client(kind, service)
            self._clients[service, kind.__name__] = client
        if not wait_for(client.service_is_ready, timeout_s):
            return []
        futures = [client.call_async(request) for request in requests]
        wait_for(lambda: all(future.done() for future in futures), timeout_s)
        for future in futures:
            if not future.done():
                client.remove_pending_request(future)
        return [future.result() for future in futures if future.done()]

    def is_alive(self, node: str, timeout_s: float) -> bool:
        """Return whether a node answers a request in time."""
        request = GetParameters.Request(names=['use_sim_time'])
        return self.call(f'{node}/get_parameters', GetParameters, request, timeout_s) is not None

    def parameters(self, node: str, timeout_s: float = 20.0) -> list[Parameter]:
        """Return the parameters of a node that have a value."""
        listed = self.call(
            f'{node}/list_parameters', ListParameters, ListParameters.Request(), timeout_s
        )
        names = listed.result.names if listed is not None else []
        found = []
        for name in names:  # one by one: a parameter without a value empties the response
            request = GetParameters.Request(names=[name])
            answer = self.call(f'{node}/get_parameters', GetParameters, request, timeout_s)
            if answer is None:
                raise RuntimeError(f'{node} does not return its parameter {name}')
            if answer.values and answer.values[0].type != ParameterType.PARAMETER_NOT_SET:
                found.append(Parameter(name=name, value=answer.values[0]))
        return found

    def restore(self, node: str, parameters: list[Parameter]) -> None:
        """Set parameters to the values that `parameters` returned."""
        request = SetParameters.Request(parameters=parameters)
        self.call(f'{node}/set_parameters', SetParameters, request, 20.0)

    def close(self) -> None:
        """Stop to spin, and leave ROS."""
        self._closing.set()
        self._thread.join(10)
        self.node.destroy_node()
        rclpy.try_shutdown()


def wait_for(condition: Callable[[], Any], timeout_s: float) -> bool:
    """Wait until a condition is true; return whether it is in time."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.002)
    return True
