# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Calls what may raise, hang or never return, and comes back in time."""

from __future__ import annotations

import atexit
import ctypes
import threading
import time
from collections.abc import Callable
from weakref import WeakSet

LAST_WAIT_S = 2.0
_workers: WeakSet[Worker] = WeakSet()


class Expired(BaseException):
    """Raised in a worker whose time is up; not an `Exception`, so that few catch it."""


class Worker:
    """One call in a thread of its own.

    Python cannot end a thread from outside. An endless loop in Python is ended by an exception
    that the interpreter raises in it (`PyThreadState_SetAsyncExc`); a call into C that does not
    return stays where it is, and `alive` tells so: it must not be called again.
    """

    def __init__(self, call: Callable[[], None], name: str):
        self.error: BaseException | None = None
        self._call = call
        self._thread = threading.Thread(target=self._work, name=name, daemon=True)
        self._thread.start()
        _workers.add(self)

    def _work(self) -> None:
        try:
            self._call()
        except BaseException as error:  # noqa: BLE001 - whatever a plugin raises, SystemExit too
            self.error = error

    @property
    def alive(self) -> bool:
        """Tell whether the call has not ended yet."""
        return self._thread.is_alive()

    def wait(self, seconds: float) -> bool:
        """Return whether the call ended within some seconds."""
        self._thread.join(max(seconds, 0.0))
        return not self.alive

    def expire(self) -> None:
        """End the call at its next step in Python."""
        if self.alive:
            thread = ctypes.c_ulong(self._thread.ident or 0)
            ctypes.pythonapi.PyThreadState_SetAsyncExc(thread, ctypes.py_object(Expired))


@atexit.register
def _let_workers_end() -> None:
    """Wait for calls that can end: Python kills their threads, which aborts amid C++ code."""
    until = time.monotonic() + LAST_WAIT_S
    for worker in list(_workers):
        worker.wait(until - time.monotonic())
