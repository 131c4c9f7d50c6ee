# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Reports in diagnostics how often the process of a node died."""

from __future__ import annotations

import time

from sage_perception.bringup.respawn import STABLE_S, read_deaths
from sage_perception.ros.diagnostics import OK, WARN, Status

REPEATED = 3
"""Deaths from which on a process that started recently is reported as a warning."""


class ProcessHistory:
    """The deaths of this process before its start, as `sage up` or `ros2 launch` counts them."""

    def __init__(self) -> None:
        self._deaths, self._last = read_deaths()
        self._start_s = time.monotonic()

    def report(self) -> Status:
        """Return the status for diagnostics: a warning while the process keeps dying."""
        values = {'deaths': self._deaths, 'last_death': self._last}
        if not self._deaths:
            return OK, 'no deaths', values
        message = f'died {self._deaths} times, the last time: {self._last}'
        recent = time.monotonic() - self._start_s < STABLE_S
        return (WARN if recent and self._deaths >= REPEATED else OK), message, values
