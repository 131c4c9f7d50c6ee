# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""What every node is made of: endpoints from a table, autostart, and a way to start and end.

A node class states its `PARAMETERS`, `PUBLISHES`, `SUBSCRIBES` and `SERVES` as tables; they create
the endpoints and the documentation alike.
"""

from __future__ import annotations

import copy
import faulthandler
import gc
import signal
import sys
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol

import cv2
import rclpy
from rclpy.exceptions import NameValidationException, ParameterException
from rclpy.executors import SingleThreadedExecutor
from rclpy.lifecycle import LifecycleNode as RosLifecycleNode
from rclpy.lifecycle import TransitionCallbackReturn
from rclpy.node import Node as RosNode
from rclpy.publisher import Publisher
from rclpy.qos import QoSProfile
from rclpy.qos_overriding_options import QoSOverridingOptions
from rclpy.serialization import deserialize_message
from rclpy.subscription import Subscription

from sage_perception.ros.diagnostics import Diagnostics, Input
from sage_perception.ros.errors import ConfigurationError
from sage_perception.ros.parameters import Parameter, Parameters

try:
    from rclpy.event_handler import PublisherEventCallbacks, SubscriptionEventCallbacks
except ImportError:  # Humble
    from rclpy.qos_event import PublisherEventCallbacks, SubscriptionEventCallbacks

EXIT_CONFIGURATION = 2
LET_GO_S = 3.0

AUTOSTART = Parameter(
    'autostart',
    True,
    'Configure and activate at start; false leaves that to a lifecycle manager.',
    read_only=True,
)

CAMERAS = Parameter(
    'cameras',
    ['cam0', 'cam1'],
    'Namespaces of the cameras, relative to this node; the first is the primary one.',
    read_only=True,
)

ENTITIES = Parameter(
    'camera_entities',
    '',
    'Who speaks for a camera where that is not its namespace, as camera=entity, separated by '
    'commas; with signatures required an arbiter believes nobody else on its topics.',
    read_only=True,
)


@dataclass(frozen=True)
class Topic:
    """A topic that a node publishes or subscribes to; `{camera}` stands for each camera."""

    name: str
    type: type
    qos: QoSProfile
    description: str


@dataclass(frozen=True)
class Service:
    """A service that a node offers."""

    name: str
    type: type
    description: str


class Guard(Protocol):
    """Decides whose messages are read at all."""

    def admits(self, publisher: bytes) -> bool:
        """Return whether to read a message."""

    def garbled(self, publisher: bytes) -> None:
        """Take note of bytes that were no message."""


class _Endpoints:
    """What plain and lifecycle nodes share."""

    PARAMETERS: tuple[Parameter, ...] = ()
    PUBLISHES: tuple[Topic, ...] = ()
    SUBSCRIBES: tuple[Topic, ...] = ()
    SERVES: tuple[Service, ...] = ()

    def _open(self) -> None:
        self.parameters = Parameters(
            self, self.PARAMETERS, self.check_parameters, self.on_parameters_changed
        )
        self.diagnostics = Diagnostics(self)
        self.setup()

    def setup(self) -> None:
        """Create the endpoints; they last as long as the node."""

    def check_parameters(self, values: dict) -> None:
        """Raise `ValueError` for values that are allowed, but not together."""

    def on_parameters_changed(self) -> None:
        """Apply parameters that changed at run time; for the nodes that keep a copy."""

    def publisher(self, name: str, camera: str = '') -> Publisher:
        """Create the publisher that `PUBLISHES` describes."""
        topic = _find(self.PUBLISHES, name)
        full_name = topic.name.format(camera=camera)
        with _overrides_explained(full_name):
            return self.create_publisher(
                topic.type,
                full_name,
                copy.copy(topic.qos),  # An override is written into it.
                event_callbacks=PublisherEventCallbacks(use_default_callbacks=False),
                qos_overriding_options=QoSOverridingOptions.with_default_policies(),
            )

    def subscribe(
        self, name: str, callback, camera='', timeout_s=2.0, group=None, guard: Guard | None = None
    ) -> Input:
        """Subscribe as `SUBSCRIBES` describes; return the monitor of what comes in.

        `timeout_s` is how long the input may be silent before diagnostics warn of it; 0: for ever.
        `group` is a callback group. With a `guard` messages are read only if it admits them, and
        the callback is given their publisher as well.
        """
        topic = _find(self.SUBSCRIBES, name)
        profile = copy.copy(topic.qos)  # An override is written into it.
        full_name = topic.name.format(camera=camera)
        monitor = Input(self, full_name, profile, timeout_s)

        # A default for `info` would have rclpy leave it out.
        def receive(message, info):
            publisher = ()
            if guard is not None:
                publisher = (_publisher(info),)
                try:
                    message = guard.admits(*publisher) and deserialize_message(message, topic.type)
                except (RuntimeError, ValueError) as error:
                    guard.garbled(*publisher)
                    monitor.reject(f'what is no {topic.type.__name__}: {str(error)[:80]}')
                    return
                if not message:
                    return
            monitor.received(message, info)
            callback(message, *publisher)

        def receive_without_info(message):
            receive(message, None)

        # Humble hands no information over, so that nothing skipped can be counted there.
        knows = hasattr(Subscription, 'CallbackType')

        with _overrides_explained(full_name):
            monitor.subscription = self.create_subscription(
                topic.type,
                full_name,
                receive if knows else receive_without_info,
                profile,
                callback_group=group,
                raw=guard is not None,
                event_callbacks=SubscriptionEventCallbacks(
                    incompatible_qos=monitor.incompatible, use_default_callbacks=False
                ),
                qos_overriding_options=QoSOverridingOptions.with_default_policies(),
            )
        self.diagnostics.watch(monitor)
        return monitor

    def speakers(self) -> dict[str, str]:
        """Return who speaks for each camera: its namespace, unless `ENTITIES` names another."""
        home = self.get_namespace().strip('/')
        return {
            camera: camera.strip('/') if camera[0] == '/' else f'{home}/{camera}'.strip('/')
            for camera in self.parameters.cameras
        } | self.parameters.by_camera('camera_entities')

    def serve(self, name: str, callback: Callable, group=None) -> None:
        """Offer the service that `SERVES` describes; `group` is a callback group."""
        service = _find(self.SERVES, name)
        self.create_service(service.type, service.name, callback, callback_group=group)

    def close(self) -> None:
        """Release what the node holds; called once, at the end."""


class Node(_Endpoints, RosNode):
    """A node that only transforms what it receives."""

    def __init__(self, name: str, **options):
        RosNode.__init__(self, name, **options)
        self._open()


class LifecycleNode(_Endpoints, RosLifecycleNode):
    """A node that holds a device or a model.

    Subclasses implement `configure` and `activate`, which may raise `ConfigurationError` or any
    error, and their mirrors `deactivate` and `cleanup`. `active` tells whether to work.
    """

    def __init__(self, name: str, **options):
        RosLifecycleNode.__init__(self, name, **options)
        self.active = False
        self._starting = False
        self._open()
        if self.parameters.autostart:
            self._autostart()

    def _autostart(self) -> None:
        """Configure and activate; what goes wrong goes up, for `run` to tell."""
        self._starting = True
        for transition in (self.trigger_configure, self.trigger_activate):
            if transition() != TransitionCallbackReturn.SUCCESS:
                raise self._failure
        self._starting = False

    def configure(self) -> None:
        """Acquire what the node needs."""

    def activate(self) -> None:
        """Begin to work."""

    def deactivate(self) -> None:
        """Cease to work."""

    def cleanup(self) -> None:
        """Release what `configure` acquired."""

    def on_configure(self, state) -> TransitionCallbackReturn:
        """Acquire what the node needs; a failure leaves it unconfigured, and says why."""
        return self._transition(self.configure, TransitionCallbackReturn.FAILURE)

    def on_activate(self, state) -> TransitionCallbackReturn:
        """Begin to work."""
        result = self._transition(self.activate, TransitionCallbackReturn.FAILURE)
        self.active = result == TransitionCallbackReturn.SUCCESS
        return super().on_activate(state) if self.active else result

    def on_deactivate(self, state) -> TransitionCallbackReturn:
        """Cease to work."""
        self.active = False
        result = self._transition(self.deactivate, TransitionCallbackReturn.ERROR)
        ceased = result == TransitionCallbackReturn.SUCCESS
        return super().on_deactivate(state) if ceased else result

    def on_cleanup(self, state) -> TransitionCallbackReturn:
        """Release everything."""
        return self._transition(self.cleanup, TransitionCallbackReturn.ERROR)

    def on_shutdown(self, state) -> TransitionCallbackReturn:
        """Release everything, from whichever state."""
        self.close()
        return TransitionCallbackReturn.SUCCESS

    def on_error(self, state) -> TransitionCallbackReturn:
        """Go back to unconfigured: it may be configured again."""
        self.active = False
        return self._transition(self.cleanup, TransitionCallbackReturn.ERROR)

    def close(self) -> None:
        """Release what the node holds."""
        if self.active:
            self.active = False
            self.deactivate()
        self.cleanup()

    def _LifecycleNodeMixin__change_state(self, transition_id: int):
        # Up to Jazzy rclpy lets a request for a transition that the state does not have end the
        # node; later releases refuse it, as this does.
        try:
            return super()._LifecycleNodeMixin__change_state(transition_id)
        except RuntimeError as error:
            self.get_logger().error(f'transition {transition_id} is refused: {error}')
            return TransitionCallbackReturn.ERROR

    def destroy_node(self) -> None:
        """Destroy the node for good."""
        super().destroy_node()
        # rclpy forgets the state machine, which holds on to the node and so to the participant:
        # its 64 MiB of shared memory would stay behind in /dev/shm after every run.
        self._state_machine.destroy_when_not_in_use()

    def _transition(self, work: Callable, otherwise) -> TransitionCallbackReturn:
        # rclpy swallows the exceptions of transitions: without this nobody would see them.
        try:
            work()
        except Exception as error:  # noqa: BLE001
            self._failure = error
            if not self._starting:
                self.get_logger().error(f'{type(error).__name__}: {error}')
            return otherwise
        return TransitionCallbackReturn.SUCCESS


def run(make: Callable[[], RosNode], args: list[str] | None = None) -> int:
    """Make a node and spin it until it is told to end; return the exit code of the process.

    0: ended by SIGINT, SIGTERM or shutdown; `EXIT_CONFIGURATION`: it cannot start as asked, which
    one line on the error stream explains; anything else goes up as an exception.
    """
    node = executor = None
    initialized = False
    # rclpy ends the spin by itself; Python's own handler would raise in the midst of its C code.
    signal.signal(signal.SIGINT, lambda *_: None)
    # The nodes of a graph share the cores among themselves already.
    cv2.setNumThreads(1)
    try:
        rclpy.init(args=args)
        initialized = True
        node = make()
        # What was made until now lives as long as the process: searching it for garbage again and
        # again would only hold up messages, for some tens of milliseconds each time.
        gc.collect()
        gc.freeze()
        executor = SingleThreadedExecutor()
        executor.add_node(node)
        executor.spin()
    except Exception as error:
        if initialized and not rclpy.ok():
            # Told to end: whatever was under way could only fail.
            return 0
        # A bad command line or parameter file, in rcl's own words: they name the file and line.
        refused = node is None and type(error).__name__.startswith(('RCL', 'UnknownROSArgs'))
        if refused or isinstance(error, (ConfigurationError, NameValidationException)):
            return _refuse(error)
        raise
    finally:
        if node is not None:
            node.close()
        # Rarely the middleware does not let go of a participant: then say where it hangs, and end.
        faulthandler.dump_traceback_later(LET_GO_S, exit=True, file=sys.__stderr__)
        if executor is not None:
            executor.shutdown()
        if node is not None:
            node.destroy_node()
        rclpy.try_shutdown()
        faulthandler.cancel_dump_traceback_later()
    return 0


def _refuse(error: Exception) -> int:
    print(f'error: {" ".join(str(error).split())}', file=sys.stderr)
    return EXIT_CONFIGURATION


@contextmanager
def _overrides_explained(topic: str):
    """Tell the user which topic an impossible `qos_overrides` parameter is for."""
    try:
        yield
    except ParameterException as error:
        raise ConfigurationError(str(error)) from error
    except RuntimeError as error:
        if not str(error).startswith('Unexpected QoS override'):
            raise
        raise ConfigurationError(f'topic {topic}: {error}') from error


def _publisher(info: dict | None) -> bytes:
    """Return what the middleware knows a publisher by; before Kilted rclpy does not tell."""
    return (info or {}).get('publisher_gid', {}).get('data', b'')


def _find(table: tuple, name: str):
    return next(row for row in table if row.name == name)
