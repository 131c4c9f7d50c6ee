# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Calls with a time limit, for code that may raise, hang or never return."""

from __future__ import annotations

import atexit
import ctypes
import threading
import time
from collections.abc import Callable
from weakref import WeakSet

EXIT_TIMEOUT_S = 2.0
_calls: WeakSet[WatchedCall] = WeakSet()


class TimeLimitExceeded(BaseException):
    """Raised in the thread of an expired call; not an `Exception`, so that few handlers catch it.

    The exception is asynchronous: it may be raised at any bytecode instruction.
    """


class WatchedCall:
    """A call in its own thread.

    Python cannot terminate a thread. `expire` raises an exception in it
    (`PyThreadState_SetAsyncExc`), which ends an endless loop in Python. A call into C that does
    not return continues, and `alive` remains True: do not call the same object again until it
    has ended.

    Attributes
    ----------
    error : BaseException, optional
        The exception that ended the call.

    """

    def __init__(self, call: Callable[[], None], name: str) -> None:
        self.error: BaseException | None = None
        self._call = call
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()
        _calls.add(self)

    def _run(self) -> None:
        try:
            self._call()
        except BaseException as error:  # noqa: BLE001 - a plugin may raise anything
            self.error = error

    @property
    def alive(self) -> bool:
        """Return True until the call has ended."""
        return self._thread.is_alive()

    def wait(self, seconds: float) -> bool:
        """Wait at most `seconds` for the call to end; return whether it has ended."""
        self._thread.join(max(seconds, 0.0))
        return not self.alive

    def expire(self) -> None:
        """Raise `TimeLimitExceeded` in the call at its next bytecode instruction."""
        if self.alive:
            thread = ctypes.c_ulong(self._thread.ident or 0)
            exception = ctypes.py_object(TimeLimitExceeded)
            ctypes.pythonapi.PyThreadState_SetAsyncExc(thread, exception)


@atexit.register
def _wait_for_calls() -> None:
    """Wait for calls: ending a daemon thread at exit while it runs C++ code aborts the process."""
    deadline = time.monotonic() + EXIT_TIMEOUT_S
    for call in list(_calls):
        call.wait(deadline - time.monotonic())
