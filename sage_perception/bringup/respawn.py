# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Decide whether to restart a node that exited, for both runners of a graph."""

from __future__ import annotations

CONFIGURATION_ERROR = 2
"""Exit code of a node that rejects its configuration; a restart cannot help."""
MAX_EXITS = 5
"""Number of exits within `WINDOW_S` after which a node is not restarted."""
WINDOW_S = 30.0
"""Time in which exits are counted, seconds."""


class RespawnPolicy:
    """Counts the exits of one node; `respawn` enables restarts."""

    def __init__(self, respawn: bool) -> None:
        self._respawn = respawn
        self._exits_s: list[float] = []

    def record_exit(self, exit_code: int, now_s: float) -> str | None:
        """Record an exit; return None to restart the node, or the reason not to restart it.

        `exit_code` is `-n` for signal n; `now_s` is the monotonic time, seconds.
        """
        self._exits_s = [t for t in self._exits_s if now_s - t < WINDOW_S] + [now_s]
        if exit_code == CONFIGURATION_ERROR:
            return f'configuration error (exit code {CONFIGURATION_ERROR})'
        if not self._respawn:
            return f'{describe_exit(exit_code)}, and respawn is off'
        if len(self._exits_s) >= MAX_EXITS:
            return f'died {MAX_EXITS} times within {WINDOW_S:.0f} s, {describe_exit(exit_code)}'
        return None


def describe_exit(code: int) -> str:
    """Return an exit code in words; `-n` is signal n."""
    return f'killed by signal {-code}' if code < 0 else f'exit code {code}'
