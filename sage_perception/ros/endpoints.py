# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""The base of all nodes: publishers, subscriptions and services from tables.

A node class lists its `PARAMETERS`, `PUBLISHES`, `SUBSCRIBES` and `SERVES`. These tables create
the endpoints and the reference in the documentation.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from inspect import iscoroutinefunction
from typing import Any

from rclpy.callback_groups import CallbackGroup
from rclpy.clock import Clock
from rclpy.node import Node as RosNode
from rclpy.qos import QoSProfile
from rclpy.service import Service as RosService
from rclpy.subscription import Subscription
from rosgraph_msgs.msg import Clock as ClockMessage

from sage_perception.ros.callback_guard import CallbackGuard
from sage_perception.ros.diagnostics import Diagnostics
from sage_perception.ros.input_monitor import InputMonitor
from sage_perception.ros.local_bus import (
    Inbox,
    LocalBus,
    LocalSubscription,
    TopicPublisher,
)
from sage_perception.ros.message_checks import find_fault
from sage_perception.ros.on_demand import OnDemandGroup
from sage_perception.ros.parameter_services import refuse_malformed
from sage_perception.ros.parameters import Parameter, Parameters
from sage_perception.ros.process_history import ProcessHistory
from sage_perception.ros.qos_overrides import overridable
from sage_perception.ros.receiver import Guard, Receiver
from sage_perception.ros.shutdown import shutdown_deadline
from sage_perception.ros.tables import Service, Topic, row_named

try:
    from rclpy.event_handler import PublisherEventCallbacks, SubscriptionEventCallbacks
except ImportError:  # Humble
    from rclpy.qos_event import PublisherEventCallbacks, SubscriptionEventCallbacks


DIAGNOSTICS_PERIOD_S = 1.0
HAS_INFO = hasattr(Subscription, 'CallbackType')
"""Whether rclpy passes message info; Humble does not, and skipped messages are not counted."""


class Endpoints(RosNode):
    """The common part of plain nodes and lifecycle nodes.

    One callback of a node runs at a time, also in a composed process, where local messages arrive
    in a thread of their own: `lock` is held during each of them, coroutines excepted.
    """

    PARAMETERS: tuple[Parameter, ...] = ()
    PUBLISHES: tuple[Topic, ...] = ()
    SUBSCRIBES: tuple[Topic, ...] = ()
    SERVES: tuple[Service, ...] = ()

    def open(self, bus: LocalBus | None) -> None:
        """Declare the parameters and create the endpoints.

        Constructors call it within `destroyed_on_failure`. `bus` connects the nodes of a composed
        process; None: the node uses only DDS.
        """
        self._bus = bus
        name = self.get_fully_qualified_name()[1:]
        self.inbox = Inbox(name, bus.turn) if bus is not None else None
        self.lock = self.inbox.lock if self.inbox is not None else threading.RLock()
        self.callback_guard = CallbackGuard(self)
        for service in self.services:  # those of rclpy: parameters, lifecycle, types
            callback = refuse_malformed(service.srv_type, self._locked(service.callback))
            service.callback = self.callback_guard.service(service.srv_name, callback)
        self.parameters = Parameters(
            self, self.PARAMETERS, self.check_parameters, self._apply_parameters
        )
        self.diagnostics = Diagnostics(self)
        self.diagnostics.add('callbacks', self.callback_guard.report)
        self.diagnostics.add('process', ProcessHistory().report)
        self._inputs: list[InputMonitor] = []
        # One timer: each wake-up of rclpy's executor takes about as long as either of them.
        self.add_timer(DIAGNOSTICS_PERIOD_S, self._publish_diagnostics, self.diagnostics.clock)
        self.setup()

    @contextmanager
    def destroyed_on_failure(self) -> Iterator[None]:
        """Destroy the node if the body raises an exception: a node that cannot start.

        Otherwise its participant would exist until the garbage collector finds the node, perhaps
        while the context of the next node starts, and that of a lifecycle node for ever.
        """
        try:
            yield
        except BaseException:
            with shutdown_deadline():
                for step in (self.close, self.destroy_node):
                    with suppress(Exception):  # the node is not complete
                        step()
            raise

    def setup(self) -> None:
        """Create the endpoints; overridden by subclasses."""

    def check_parameters(self, values: dict[str, Any]) -> None:
        """Raise `ValueError` for values that are valid individually, but not in combination."""

    def on_parameters_changed(self) -> None:
        """Apply parameters that changed at run time; for nodes that keep copies of them."""

    def close(self) -> None:
        """Release the resources of the node; called once, before it is destroyed."""

    def publisher(self, name: str, camera: str = '') -> TopicPublisher:
        """Create the publisher of an entry of `PUBLISHES`.

        Raises:
            ConfigurationError: a `qos_overrides` parameter is invalid.
        """
        topic = row_named(self.PUBLISHES, name)
        full_name = topic.name.format(camera=camera)
        with overridable(full_name, topic.qos) as (profile, options):
            publisher = self.create_publisher(
                topic.type,
                full_name,
                profile,
                event_callbacks=PublisherEventCallbacks(use_default_callbacks=False),
                qos_overriding_options=options,
            )
        local = None
        if self._bus is not None:
            local = self._bus.publisher(publisher.topic_name, topic.type, profile)
        return TopicPublisher(publisher, profile, local)

    def create_subscription(self, msg_type: type, *arguments: Any, **options: Any) -> Subscription:
        """Create a subscription as rclpy does; a clock without a valid time is ignored."""
        if msg_type is ClockMessage:  # by rclpy, for `use_sim_time`
            topic, callback, *rest = arguments
            arguments = (topic, partial(self._receive_clock, callback), *rest)
        return super().create_subscription(msg_type, *arguments, **options)

    def _receive_clock(self, callback: Callable[[Any], None], message: Any) -> None:
        if fault := find_fault(message):
            self.get_logger().warning(f'/clock: {fault}', throttle_duration_sec=5.0)
        else:
            callback(message)

    def subscribe(
        self,
        name: str,
        callback: Callable[..., None],
        camera: str = '',
        timeout_s: float = 2.0,
        max_age_s: float = 0.0,
        group: CallbackGroup | None = None,
        guard: Guard | None = None,
        topic: str = '',
    ) -> InputMonitor:
        """Create the subscription of an entry of `SUBSCRIBES`; return its monitor.

        Args:
            name: name of the topic in the table.
            callback: called with each message that passes `message_checks.find_fault`, and with
                the publisher's GID if there is a `guard`. Its exceptions are caught, see
                `CallbackGuard`.
            camera: replaces `{camera}` in the name.
            timeout_s: seconds without a message until diagnostics warn; 0 disables the warning.
            max_age_s: messages that have waited longer for this node, in seconds, are dropped and
                counted; 0: none.
            group: callback group; None for the default group of the node.
            guard: decides which messages are deserialized; None deserializes all.
            topic: name of the topic; empty: that of the table.

        Raises:
            ConfigurationError: a `qos_overrides` parameter is invalid.
        """
        row = row_named(self.SUBSCRIBES, name)
        full_name = topic or row.name.format(camera=camera)
        with overridable(full_name, row.qos) as (profile, options):
            monitor = InputMonitor(self, full_name, row.type, profile, timeout_s, max_age_s)
            receiver = Receiver(row.type, callback, monitor, self.callback_guard, self.lock, guard)
            monitor.subscription = self.create_subscription(
                row.type,
                full_name,
                receiver.receive_remote if HAS_INFO else receiver.receive_without_info,
                profile,
                callback_group=group,
                raw=guard is not None,
                event_callbacks=SubscriptionEventCallbacks(
                    incompatible_qos=receiver.note_incompatible, use_default_callbacks=False
                ),
                qos_overriding_options=options,
            )
        if self._bus is not None:
            self._subscribe_locally(self._bus, row.type, profile, monitor, receiver, group)
        self.diagnostics.add_input(monitor.report)
        self._inputs.append(monitor)
        return monitor

    def _subscribe_locally(
        self,
        bus: LocalBus,
        kind: type,
        qos: QoSProfile,
        monitor: InputMonitor,
        receiver: Receiver,
        group: CallbackGroup | None,
    ) -> None:
        """Receive the messages of other nodes of this process."""
        assert self.inbox is not None

        def is_open() -> bool:
            return not isinstance(group, OnDemandGroup) or group.is_open

        local = LocalSubscription(
            qos, self.inbox, receiver.receive_local, is_open, receiver.note_incompatible
        )
        bus.subscribe(monitor.name, kind, local)
        monitor.disconnect = partial(bus.unsubscribe, monitor.name, kind, local)

    def unsubscribe(self, monitor: InputMonitor) -> None:
        """End a subscription that `subscribe` created, and drop it from diagnostics."""
        self._inputs.remove(monitor)
        self.diagnostics.remove_input(monitor.report)
        monitor.disconnect()
        if monitor.subscription is not None:
            self.destroy_subscription(monitor.subscription)

    def serve(self, name: str, callback: Callable, group: CallbackGroup | None = None) -> None:
        """Create the service of an entry of `SERVES`.

        If `callback` raises, the response reports the failure, see `CallbackGuard.service`.
        """
        service = row_named(self.SERVES, name)
        guarded = self.callback_guard.service(name, self._locked(callback))
        self.create_service(service.type, service.name, guarded, callback_group=group)

    def add_timer(
        self, period_s: float, callback: Callable[[], None], clock: Clock | None = None
    ) -> None:
        """Call `callback` every `period_s` seconds of `clock`; None for the clock of the node.

        Exceptions of the callback are caught, see `CallbackGuard`.
        """
        name = f'timer {callback.__name__}'

        def run() -> None:
            with self.lock, self.callback_guard.catch(name):
                callback()

        self.create_timer(period_s, run, clock=clock)

    def camera_entities(self) -> dict[str, str]:
        """Return the entity of each camera: the one in `camera_entities`, else its namespace."""
        namespace = self.get_namespace().strip('/')
        return {
            camera: camera.strip('/') if camera[0] == '/' else f'{namespace}/{camera}'.strip('/')
            for camera in self.parameters.cameras
        } | self.parameters.by_camera('camera_entities')

    def note_exception(self, entity: Any, error: Exception) -> None:
        """Count an exception that the executor caught while it handled `entity`.

        A message or request that cannot be converted is rejected; its callback is not called then.
        Exceptions of the callbacks of this package are caught before, see `CallbackGuard`.
        """
        for monitor in self._inputs:
            if monitor.subscription is entity:
                monitor.reject(f'not a valid message: {error}')
                return
        if isinstance(entity, RosService):
            self.callback_guard.reject(entity.srv_name, f'not a valid request: {error}')
            return
        name = getattr(entity, 'topic_name', '') or type(entity).__name__.lower()
        self.callback_guard.note(name, error)

    def _publish_diagnostics(self) -> None:
        self.diagnostics.publish()
        self._check_inputs()

    def _check_inputs(self) -> None:
        for monitor in self._inputs:
            monitor.check(getattr(self, 'active', True))

    def _locked(self, callback: Callable) -> Callable:
        """Return a callback that holds the lock; coroutines, which may wait, do not hold it."""
        if iscoroutinefunction(callback):
            return callback

        def call(*arguments: Any) -> Any:
            with self.lock:
                return callback(*arguments)

        return call

    def _apply_parameters(self) -> None:
        with self.lock, self.callback_guard.catch('parameters'):
            self.on_parameters_changed()


class Node(Endpoints):
    """A node without a lifecycle: it works from the start."""

    def __init__(self, name: str, bus: LocalBus | None = None, **options: Any):
        super().__init__(name, **options)
        with self.destroyed_on_failure():
            self.open(bus)
