# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""The executor of nodes: an exception in a callback does not end the process."""

from __future__ import annotations

from rclpy.executors import (
    ExternalShutdownException,
    ShutdownException,
    SingleThreadedExecutor,
    TimeoutException,
)

from sage_perception.ros.errors import NodeFailure


class GuardedExecutor(SingleThreadedExecutor):
    """Passes the exceptions of callbacks to `Endpoints.note_exception` of their node.

    This also covers the callbacks that rclpy itself creates, such as those of parameter and
    lifecycle services and of the clock, and messages that cannot be taken from the middleware.
    The cause of a `NodeFailure` is raised.
    """

    def spin_once(self, timeout_sec: float | None = None) -> None:
        """Execute one callback; wait for it up to `timeout_sec` seconds, None: without limit."""
        try:
            handler, entity, node = self.wait_for_ready_callbacks(timeout_sec)
        except (ExternalShutdownException, ShutdownException, TimeoutException):
            return
        handler()
        error = handler.exception()
        if error is None:
            return
        if getattr(entity, '_executor_event', False):
            # The message could not be taken. rclpy only releases the entity, and the others of its
            # callback group, after it has: the node would receive nothing any more.
            entity._executor_event = False
            entity.callback_group.ending_execution(entity)
        if isinstance(error, NodeFailure):
            raise error.__cause__ or error
        if not isinstance(error, Exception) or node is None:
            raise error
        node.note_exception(entity, error)
