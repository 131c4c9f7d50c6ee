# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Runs callbacks so that an exception in one of them does not end the node."""

from __future__ import annotations

import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from inspect import iscoroutinefunction
from typing import Any

from rclpy.node import Node

from sage_perception.core.text import one_line
from sage_perception.ros.diagnostics import ERROR, OK, Status
from sage_perception.ros.errors import NodeFailure

LOG_PERIOD_S = 5.0
# Maximum length of the exception text in the response of a service.
MAX_MESSAGE_CHARS = 500
# The text of an exception may quote a message of any length.
MAX_TRACE_CHARS = 8000


class CallbackGuard:
    """Catches, counts and logs the exceptions of callbacks.

    Subscription and service callbacks handle data from other machines, and one malformed message
    must not end the node. Nodes reject malformed inputs explicitly; an exception that is caught
    here is a programming error, so it is logged with its traceback and reported as an error in
    diagnostics. `errors` counts the exceptions by the name of the callback, `rejected` the
    requests that cannot be read by the name of the service.
    """

    def __init__(self, node: Node) -> None:
        self.errors: Counter[str] = Counter()
        self.rejected: Counter[str] = Counter()
        self._node = node
        self._logged: dict[str, float] = {}
        self._unreported = ''

    @contextmanager
    def catch(self, name: str) -> Iterator[None]:
        """Catch exceptions of the body; `name` is the topic, service or timer that runs it."""
        try:
            yield
        except NodeFailure:
            raise
        except Exception as error:  # noqa: BLE001
            self.note(name, error)

    def note(self, name: str, error: Exception) -> None:
        """Count and log an exception of the callback of `name`."""
        # After shutdown every publish fails.
        if self._node.context.ok():
            self._count(name, error)

    def reject(self, name: str, reason: str) -> None:
        """Count a request of the service `name` that cannot be read, and log the reason."""
        self.rejected[name] += 1
        self._node.get_logger().warning(
            f'{name}: {one_line(reason)[:MAX_MESSAGE_CHARS]} ({self.rejected[name]} rejected so '
            'far)',
            throttle_duration_sec=LOG_PERIOD_S,
        )

    def service(self, name: str, callback: Callable) -> Callable:
        """Return a service callback that responds with a failure if `callback` raises.

        The response has `success` False and the exception as `message` where it has these fields.
        """
        if iscoroutinefunction(callback):

            async def respond_later(request: Any, response: Any) -> Any:
                with self.catch(name):
                    return await callback(request, response)
                return self._failure(response)

            return respond_later

        def respond(request: Any, response: Any) -> Any:
            with self.catch(name):
                return callback(request, response)
            return self._failure(response)

        return respond

    def report(self) -> Status:
        """Return the status for diagnostics: an error if a callback raised since the last one."""
        values = {'exceptions': self.errors.total(), 'rejected': self.rejected.total()}
        values |= {f'exceptions in {name}': count for name, count in self.errors.items()}
        if self._unreported:
            message, self._unreported = self._unreported, ''
            return ERROR, message, values
        return OK, f'{self.errors.total()} exceptions', values

    def _count(self, name: str, error: Exception) -> None:
        self.errors[name] += 1
        text = one_line(error)[:MAX_MESSAGE_CHARS]
        self._unreported = f'exception in callback of {name}: {type(error).__name__}: {text}'
        now = time.monotonic()
        if now - self._logged.get(name, -LOG_PERIOD_S) >= LOG_PERIOD_S:
            self._logged[name] = now
            trace = ''.join(traceback.format_exception(error))[-MAX_TRACE_CHARS:]
            self._node.get_logger().error(
                f'exception in callback of {name} ({self.errors[name]} so far):\n{trace}'
            )

    def _failure(self, response: Any) -> Any:
        failed = type(response)()
        if hasattr(failed, 'success') and hasattr(failed, 'message'):
            failed.success = False
            failed.message = self._unreported[:MAX_MESSAGE_CHARS]
        return failed
