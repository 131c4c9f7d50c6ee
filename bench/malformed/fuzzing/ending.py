# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""The end of a bench in bounded time, whatever its graph and the middleware do."""

from __future__ import annotations

import faulthandler
import signal
import sys
from types import FrameType

SIGTERM_EXIT_CODE = 128 + signal.SIGTERM


def end_within(seconds: float) -> None:
    """End this process after `seconds`, and clean up and end on SIGTERM.

    After `seconds` the stacks of all threads are printed and the process exits with 1 without
    cleaning up; the kernel ends the nodes of a `GraphRunner` with it. `faulthandler` uses a thread
    in C, so that a call which never returns does not prevent it.
    """
    faulthandler.dump_traceback_later(seconds, exit=True)
    signal.signal(signal.SIGTERM, _exit)


def _exit(number: int, frame: FrameType | None) -> None:
    sys.exit(SIGTERM_EXIT_CODE)
