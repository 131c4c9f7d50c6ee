# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""The steps between the arrival of a message and the callback of its subscription."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any, Protocol

from rclpy.serialization import deserialize_message

from sage_perception.ros.callback_guard import CallbackGuard
from sage_perception.ros.input_monitor import InputMonitor
from sage_perception.ros.message_checks import find_fault

MAX_REASON_CHARS = 80
"""Maximum length of the middleware's reason for a message that cannot be deserialized."""


class Guard(Protocol):
    """Decides which messages of a subscription are deserialized."""

    def admits(self, publisher: bytes) -> bool:
        """Return whether to deserialize a message of `publisher`."""

    def note_malformed(self, publisher: bytes) -> None:
        """Count a message of `publisher` that cannot be deserialized."""


class Receiver:
    """Passes the messages of one subscription to its callback.

    A message goes through these steps, and the first that fails ends its way: the guard admits its
    publisher; it is deserialized; `message_checks.find_fault` finds no fault; it is not late.
    `monitor` counts the results, and `callback_guard` catches exceptions.

    With a `guard`, messages of other processes arrive serialized, and the callback takes the
    publisher's GID, too. `lock` is held while they are handled. Messages of this process arrive as
    objects, and the caller holds the lock.
    """

    def __init__(
        self,
        kind: type,
        callback: Callable[..., None],
        monitor: InputMonitor,
        callback_guard: CallbackGuard,
        lock: AbstractContextManager,
        guard: Guard | None = None,
    ) -> None:
        self._kind, self._callback, self._guard = kind, callback, guard
        self._monitor, self._callback_guard, self._lock = monitor, callback_guard, lock

    # `info` must not have a default value, or rclpy does not pass it.
    def receive_remote(self, message: Any, info: dict[str, Any] | None) -> None:
        """Handle a message of another process; `info` is the message info of rclpy."""
        with self._lock, self._callback_guard.catch(self._monitor.name):
            if self._is_admitted(info):
                message = self._deserialized(message, info)
                if message is not None:
                    self._receive(message, info)

    def receive_without_info(self, message: Any) -> None:
        """Handle a message of another process, where rclpy passes no message info (Humble)."""
        self.receive_remote(message, None)

    def receive_local(self, message: Any, info: dict[str, Any]) -> None:
        """Handle a message of this process, whose `lock` the caller holds."""
        with self._callback_guard.catch(self._monitor.name):
            if self._is_admitted(info):
                self._receive(message, info)

    def note_incompatible(self, event: Any = None) -> None:
        """Log the publishers with an incompatible QoS; called for that event."""
        with self._callback_guard.catch(self._monitor.name):
            self._monitor.incompatible(event)

    def _is_admitted(self, info: dict[str, Any] | None) -> bool:
        return self._guard is None or self._guard.admits(_publisher_gid(info))

    def _deserialized(self, message: Any, info: dict[str, Any] | None) -> Any:
        """Return the message; None if it is not valid, which is counted."""
        if self._guard is None:
            return message  # by rclpy
        try:
            return deserialize_message(message, self._kind)
        except Exception as error:  # noqa: BLE001 - of many types, by field
            self._guard.note_malformed(_publisher_gid(info))
            reason = str(error)[:MAX_REASON_CHARS]
            self._monitor.reject(f'not a valid {self._kind.__name__}: {reason}')
            return None

    def _receive(self, message: Any, info: dict[str, Any] | None) -> None:
        if fault := find_fault(message):
            self._monitor.reject(fault)
            return
        self._monitor.received(message, info)
        if self._monitor.is_late(info):
            return
        if self._guard is None:
            self._callback(message)
        else:
            self._callback(message, _publisher_gid(info))


def _publisher_gid(info: dict[str, Any] | None) -> bytes:
    """Return the GID of a publisher; empty before Kilted, where rclpy does not provide it."""
    return (info or {}).get('publisher_gid', {}).get('data', b'')
