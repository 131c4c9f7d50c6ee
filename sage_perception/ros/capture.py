# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""The base of nodes that capture from a device: a camera or a microphone."""

from __future__ import annotations

import time
from abc import abstractmethod
from collections.abc import Callable
from typing import Any, ClassVar, Generic, TypeVar

from builtin_interfaces.msg import Time
from rclpy.duration import Duration

from sage_perception.core.text import counted
from sage_perception.ros.control import serve_control
from sage_perception.ros.errors import ConfigurationError, NodeFailure
from sage_perception.ros.lifecycle import LifecycleNode
from sage_perception.vision.sources import Connection, EndOfStream, SourceError
from sage_perception.vision.sources.capture import CaptureThread, Indexed
from sage_perception.vision.sources.reconnect import Reconnecting

SourceT = TypeVar('SourceT', bound=Reconnecting[Any, Any])
ItemT = TypeVar('ItemT', bound=Indexed)


class CaptureNode(LifecycleNode, Generic[SourceT, ItemT]):
    """A node that captures while it is active, and reopens a lost device when it returns.

    The parameters `source` and `reconnect` are required. Subclasses name the device and its items
    for messages, call `connect` in `configure`, and implement `receive`.

    Attributes:
        source: the source, while the node is configured.
        connection: the connection to the device.
        device_name: last part of the namespace, or the name of the node without one.
    """

    DEVICE: ClassVar[str]
    ITEMS: ClassVar[str]

    def setup(self) -> None:
        """Create the state of the capture."""
        serve_control(self)
        self.source: SourceT | None = None
        self.connection = Connection(False, 'not configured')
        self.device_name = self.get_namespace().rstrip('/').rpartition('/')[2] or self.get_name()
        self._capture: CaptureThread[ItemT] | None = None
        self._capture_error: Exception | None = None
        self._missed = 0
        # Its callback must end the node with an exception, so that the node is restarted.
        self._failed = self.create_guard_condition(self._raise_capture_error)

    def connect(self, opener: Callable[..., SourceT]) -> None:
        """Open the source of the parameters; raise `ConfigurationError` if that fails."""
        try:
            self.source = opener(self.parameters.source, on_state=self.on_connection)
        except SourceError as error:
            raise ConfigurationError(f"parameter 'source': {error}") from error
        if not (self.parameters.reconnect or self.connection.connected):
            raise ConfigurationError(f"parameter 'source': {self.connection.reason}")

    @abstractmethod
    def receive(self, item: ItemT) -> None:
        """Handle an item, in the thread of the capture."""

    @property
    def missed(self) -> int:
        """Return the number of items that were skipped."""
        return self._missed + (self._capture.missed if self._capture is not None else 0)

    def activate(self) -> None:
        """Start capturing."""
        if self.source is None:
            raise RuntimeError('the node is not configured')
        name = f'{self.get_fully_qualified_name()[1:]}: capture'
        self._capture = CaptureThread(self.source, self.receive, self._on_end, name)
        self._capture.start()

    def deactivate(self) -> None:
        """Stop capturing; the source stays open."""
        if self._capture is not None:
            self._capture.stop()
            self._missed += self._capture.missed
            self._capture = None

    def cleanup(self) -> None:
        """Close the source."""
        if self.source is not None:
            self.source.close()
            self.source = None

    def stamp_of(self, captured_ns: int) -> Time | None:
        """Return the stamp of a capture time, monotonic ns.

        None before simulated time has started, when there is no stamp.
        """
        now = self.get_clock().now()
        age_ns = time.monotonic_ns() - captured_ns
        if now.nanoseconds <= max(age_ns, 0):
            return None
        return (now - Duration(nanoseconds=age_ns)).to_msg()

    def on_connection(self, state: Connection) -> None:
        """Log a change of the connection to the device."""
        before, self.connection = self.connection, state
        logger = self.get_logger()
        if state.connected:
            logger.info(f'the {self.DEVICE} is connected')
        elif before.connected or not state.attempts:
            logger.warning(f'no {self.DEVICE}: {state.reason}')
            if before.connected and not self.parameters.reconnect:
                self._fail(RuntimeError(f'{self.DEVICE} lost: {state.reason}'))
        else:
            logger.warning(
                f'no {self.DEVICE} after {counted(state.attempts, "attempt")} to reconnect: '
                f'{state.reason}',
                throttle_duration_sec=10.0,
            )

    def _on_end(self, error: Exception) -> None:
        """Handle the end of the capture."""
        if isinstance(error, EndOfStream):
            self.connection = Connection(False, str(error))
            self.get_logger().info(f'no more {self.ITEMS}: {error}')
        elif self.context.ok():  # after shutdown every publish fails
            self._fail(error)

    def _fail(self, error: Exception) -> None:
        """End the node with `error`, in the thread of its executor."""
        self._capture_error = error
        self._failed.trigger()

    def _raise_capture_error(self) -> None:
        """End the node if the capture has failed."""
        if self._capture_error is not None:
            raise NodeFailure(str(self._capture_error)) from self._capture_error
