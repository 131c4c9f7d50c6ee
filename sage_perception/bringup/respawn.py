# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Decide whether and when to restart a node that exited, for both runners of a graph.

A node that dies repeatedly is restarted with a growing delay, and never ends the other nodes: the
cause may be a message that arrives again and again.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

from sage_perception.core.files import write_atomically

CONFIGURATION_ERROR = 2
"""Exit code of a node that rejects its configuration; a restart cannot help."""
STABLE_S = 30.0
"""Time that a node must run until its next death counts as the first one, seconds."""
MAX_DELAY_S = 10.0
"""Maximum delay of a restart, seconds."""
MIN_BACKOFF_S = 0.1
DEATHS_FILE = 'SAGE_DEATHS_FILE'
"""Environment variable of a node: the file with the deaths of its process."""


class RespawnPolicy:
    """Counts the deaths of one process and decides about its restarts.

    Args:
        respawn: whether the process is restarted.
        delay_s: delay of a restart after the first death, seconds. It doubles with each death
            within `STABLE_S` seconds of the start before, up to `MAX_DELAY_S`.

    Attributes:
        deaths: number of exits after which the process was restarted.
    """

    def __init__(self, respawn: bool, delay_s: float = 0.0) -> None:
        self._respawn = respawn
        self._first_delay_s = delay_s
        self._started_s: float | None = None
        self._quick = 0
        self.deaths = 0

    def record_start(self, now_s: float) -> None:
        """Record a start of the process; `now_s` is the monotonic time, seconds."""
        if self._started_s is not None:
            ran_s = now_s - self._started_s - self.delay_s
            self._quick = self._quick + 1 if ran_s < STABLE_S else 0
        self._started_s = now_s

    @property
    def delay_s(self) -> float:
        """Return the delay of the next restart, seconds."""
        if not self._quick:
            return self._first_delay_s
        longest = max(MAX_DELAY_S, self._first_delay_s)
        base = max(self._first_delay_s, MIN_BACKOFF_S)
        return float(min(base * 2.0 ** min(self._quick, 32), longest))

    def record_exit(self, exit_code: int) -> str | None:
        """Record an exit; return None to restart the process, or the reason not to restart it.

        A configuration error is final only at the first start: later, the cause may pass.
        `exit_code` is `-n` for signal n.
        """
        if exit_code == CONFIGURATION_ERROR and not self.deaths:
            return f'configuration error (exit code {CONFIGURATION_ERROR})'
        if not self._respawn:
            return f'{describe_exit(exit_code)}, and respawn is off'
        self.deaths += 1
        return None


def describe_exit(code: int) -> str:
    """Return an exit code in words; `-n` is signal n."""
    return f'killed by signal {-code}' if code < 0 else f'exit code {code}'


def write_deaths(path: Path, deaths: int, last: str) -> None:
    """Write the number of deaths of a process, and the last one in words, for its diagnostics."""
    write_atomically(path, json.dumps({'deaths': deaths, 'last': last}), 0o600)


def read_deaths() -> tuple[int, str]:
    """Return the deaths of this process before its start, and the last one in words.

    (0, '') without a death, or if no runner of this package started the process.
    """
    try:
        content = json.loads(Path(os.environ[DEATHS_FILE]).read_text())
        return int(content['deaths']), str(content['last'])
    except (KeyError, OSError, ValueError, TypeError):
        return 0, ''
