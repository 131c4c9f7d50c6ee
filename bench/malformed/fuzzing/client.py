# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""The sender of malformed messages: it finds the endpoints of a graph and writes to them."""

from __future__ import annotations

import importlib
import math
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import rclpy
from diagnostic_msgs.msg import DiagnosticArray
from rcl_interfaces.msg import Parameter, ParameterType
from rcl_interfaces.srv import GetParameters, ListParameters, SetParameters
from rclpy.event_handler import PublisherEventCallbacks, SubscriptionEventCallbacks
from rclpy.executors import SingleThreadedExecutor
from rclpy.impl.implementation_singleton import rclpy_implementation
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from rclpy.signals import SignalHandlerOptions
from rclpy.task import Future

RCLError = rclpy_implementation.RCLError
SAMPLES = 6
"""Valid messages of each topic that are kept, newest."""
KEPT = 5
"""Messages of a topic that wait until they are received."""
DISCOVERY_S = 3.0
"""Time until the subscriptions of other processes match a new publisher, seconds."""
OWN = '/messages_fuzzer'


def load_type(name: str) -> Any:
    """Return the class of a type such as 'sensor_msgs/msg/Image'."""
    package, folder, kind = name.split('/')
    return getattr(importlib.import_module(f'{package}.{folder}'), kind)


@dataclass(frozen=True)
class Endpoint:
    """A topic that `nodes` subscribe to, or a service that the only one of `nodes` offers."""

    name: str
    kind: str
    nodes: tuple[str, ...]

    @property
    def is_service(self) -> bool:
        """Return whether this is a service."""
        return '/srv/' in self.kind


class Pending(NamedTuple):
    """A request that was sent, and the future of its response; `node` has the name of a ping."""

    client: Any
    future: Any
    node: str = ''


class Client:
    """ROS nodes that send malformed messages and watch the nodes that receive them.

    Nothing is received except while `wait` and `receive` are called. Watched topics have a node of
    their own, which takes messages only in `receive`: to take all messages of a graph would occupy
    a core, and to build the wait set of so many subscriptions would delay each response.

    Attributes:
        received: number of messages by topic.
        sent_ns: time at which the newest message of a topic was sent, nanoseconds since 1970.
        samples: serialized valid messages by topic, kept while `keeps_samples` is set.
        exceptions: exceptions that the nodes report in their diagnostics, by node.
    """

    def __init__(self) -> None:
        # The handlers of rclpy would shut the context down and leave the process running.
        rclpy.init(signal_handler_options=SignalHandlerOptions.NO)
        self.node = rclpy.create_node(OWN[1:])
        self.received: Counter[str] = Counter()
        self.sent_ns: Counter[str] = Counter()
        self.samples: dict[str, deque[bytes]] = {}
        self.keeps_samples = True
        self.exceptions: dict[str, int] = {}
        self._clients: dict[str, Any] = {}
        self._publishers: dict[str, Any] = {}
        self._executor = SingleThreadedExecutor()
        self._executor.add_node(self.node)
        self._watcher = rclpy.create_node(f'{OWN[1:]}_watcher')
        self._subscribe(self.node, DiagnosticArray, '/diagnostics', self._on_diagnostics)

    def _subscribe(
        self, node: Any, kind: Any, topic: str, callback: Callable[..., None], raw: bool = False
    ) -> None:
        profile = QoSProfile(depth=KEPT, reliability=ReliabilityPolicy.BEST_EFFORT)
        events = SubscriptionEventCallbacks(use_default_callbacks=False)
        node.create_subscription(kind, topic, callback, profile, event_callbacks=events, raw=raw)

    def _on_diagnostics(self, message: DiagnosticArray) -> None:
        self.received['/diagnostics'] += 1
        for status in message.status:
            node, _, part = status.name.rpartition(': ')
            if part == 'callbacks':
                counts = [int(pair.value) for pair in status.values if pair.key == 'exceptions']
                self.exceptions[node] = max([self.exceptions.get(node, 0), *counts])

    def watch(self, topics: Iterable[tuple[str, str]]) -> None:
        """Subscribe to topics, given as name and type, so that their publishers work."""
        for name, kind in topics:
            self._subscribe(
                self._watcher, load_type(kind), name, partial(self._keep, name), raw=True
            )

    def _keep(self, name: str, data: bytes, info: dict[str, Any]) -> None:
        self.received[name] += 1
        self.sent_ns[name] = info['source_timestamp']
        if self.keeps_samples:
            self.samples.setdefault(name, deque(maxlen=SAMPLES)).append(data)

    def receive(self, condition: Callable[[], Any], timeout_s: float) -> bool:
        """Receive the watched topics until a condition is true; return whether it is in time."""
        self._executor.add_node(self._watcher)
        try:
            return wait_for(condition, timeout_s, lambda: self._executor.spin_once(0.1))
        finally:
            self._executor.remove_node(self._watcher)

    def endpoints(self, nodes: Iterable[str]) -> list[Endpoint]:
        """Return the services of nodes, given by their full names, and their subscriptions.

        A topic is one endpoint for all of its nodes.
        """
        found: dict[tuple[str, str], list[str]] = {}
        for node in nodes:
            namespace, _, name = node.rpartition('/')
            place = (name, namespace or '/')
            for topic, kinds in (
                *self.node.get_subscriber_names_and_types_by_node(*place),
                *self.node.get_service_names_and_types_by_node(*place),
            ):
                found.setdefault((topic, kinds[0]), []).append(node)
        return [Endpoint(*key, tuple(of)) for key, of in sorted(found.items())]

    def published(self, node: str) -> list[tuple[str, str]]:
        """Return the topics that a node publishes, with their types."""
        namespace, _, name = node.rpartition('/')
        found = self.node.get_publisher_names_and_types_by_node(name, namespace or '/')
        return [(topic, kinds[0]) for topic, kinds in found]

    def advertise(self, endpoints: Iterable[Endpoint]) -> None:
        """Create the publishers of topics, and wait until their subscriptions know them."""
        for endpoint in endpoints:
            if not endpoint.is_service:
                self._publisher(endpoint)
        # A publisher matches before its subscriptions do; those drop what arrives meanwhile.
        time.sleep(DISCOVERY_S)

    def publish(self, endpoint: Endpoint, message: Any) -> bool:
        """Publish a message, or its serialized form; return whether the middleware takes it."""
        try:
            self._publisher(endpoint).publish(message)
        except RCLError:
            return False
        return True

    def _publisher(self, endpoint: Endpoint) -> Any:
        if endpoint.name not in self._publishers:
            infos = self.node.get_subscriptions_info_by_topic(endpoint.name)
            latched = any(
                info.qos_profile.durability == DurabilityPolicy.TRANSIENT_LOCAL for info in infos
            )
            durability = DurabilityPolicy.TRANSIENT_LOCAL if latched else DurabilityPolicy.VOLATILE
            publisher = self.node.create_publisher(
                load_type(endpoint.kind),
                endpoint.name,
                QoSProfile(depth=64, durability=durability),
                event_callbacks=PublisherEventCallbacks(use_default_callbacks=False),
            )
            self._publishers[endpoint.name] = publisher
            wait_for(lambda: publisher.get_subscription_count() >= len(endpoint.nodes), 5.0)
        return self._publishers[endpoint.name]

    def ask(
        self, service: str, kind: Any, requests: Iterable[Any], timeout_s: float
    ) -> list[Pending]:
        """Send requests to a service together; none if it does not exist within `timeout_s`."""
        client = self._clients.get(service)
        if client is None:
            client = self._clients[service] = self.node.create_client(kind, service)
        if not wait_for(client.service_is_ready, timeout_s):
            return []
        return [Pending(client, client.call_async(request)) for request in requests]

    def ping(self, node: str, count: int, timeout_s: float) -> list[Pending]:
        """Send `count` small requests to a node, or wait in vain if it is not there in time.

        A node with one thread takes one message of each subscription, and then one request of each
        service, whenever it waits: once all of them are answered, it has taken the `count`
        messages that were published on a topic before.
        """
        requests = [GetParameters.Request(names=['use_sim_time'])] * count
        service = f'{node}/get_parameters'
        sent = self.ask(service, GetParameters, requests, timeout_s)
        sent = sent or [Pending(self._clients[service], Future())]
        return [each._replace(node=node) for each in sent]

    def spin_once(self) -> None:
        """Receive a response, or wait a moment for one."""
        self._executor.spin_once(0.05)

    def give_up(self, pending: Iterable[Pending]) -> None:
        """Wait no longer for responses: requests without one never get one."""
        for client, future, _ in pending:
            if not future.done():
                client.remove_pending_request(future)

    def wait(self, pending: list[Pending], timeout_s: float) -> None:
        """Wait for responses."""
        wait_for(lambda: all(p.future.done() for p in pending), timeout_s, self.spin_once)
        self.give_up(pending)

    def call(self, service: str, kind: Any, request: Any, timeout_s: float) -> Any | None:
        """Return the response of a service, None if it does not respond in time."""
        pending = self.ask(service, kind, [request], timeout_s)
        self.wait(pending, timeout_s)
        return next((each.future.result() for each in pending if each.future.done()), None)

    def is_alive(self, node: str, timeout_s: float) -> bool:
        """Return whether a node answers a request in time."""
        pending = self.ping(node, 1, timeout_s)
        self.wait(pending, timeout_s)
        return any(each.future.done() for each in pending)

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

    def restore(self, node: str, parameters: list[Parameter], timeout_s: float) -> list[Pending]:
        """Request to set parameters to the values that `parameters` returned."""
        request = SetParameters.Request(parameters=parameters)
        return self.ask(f'{node}/set_parameters', SetParameters, [request], timeout_s)

    def close(self) -> None:
        """Leave ROS."""
        self.node.destroy_node()
        self._watcher.destroy_node()
        rclpy.try_shutdown()


def wait_for(
    condition: Callable[[], Any],
    timeout_s: float = math.inf,
    meanwhile: Callable[[], Any] = lambda: time.sleep(0.002),
) -> bool:
    """Call `meanwhile` until a condition is true; return whether it is in time."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > deadline:
            return False
        meanwhile()
    return True
