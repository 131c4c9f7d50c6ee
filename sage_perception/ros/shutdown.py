# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""A time limit for the destruction of nodes."""

from __future__ import annotations

import faulthandler
import sys
from collections.abc import Iterator
from contextlib import contextmanager

SHUTDOWN_TIMEOUT_S = 3.0
"""Time for the destruction of the nodes of a process, seconds."""


@contextmanager
def shutdown_deadline() -> Iterator[None]:
    """Print a traceback and exit if the body takes more than `SHUTDOWN_TIMEOUT_S`.

    On rare occasions the middleware blocks while it destroys a participant.
    """
    faulthandler.dump_traceback_later(
        SHUTDOWN_TIMEOUT_S, exit=True, file=sys.__stderr__ or sys.stderr
    )
    try:
        yield
    finally:
        faulthandler.cancel_dump_traceback_later()
