# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""A progress line on the terminal."""

from __future__ import annotations

import sys
import time


class Progress:
    """A line on stderr that is updated in place; it is silent if stderr is not a terminal.

    `period_s` is the time between two updates, seconds.
    """

    def __init__(self, period_s: float = 1.0) -> None:
        self._shown = sys.stderr.isatty()
        self._period_s = period_s
        self._next_s = 0.0

    @property
    def due(self) -> bool:
        """Return whether it is time for an update."""
        return self._shown and time.monotonic() >= self._next_s

    def show(self, text: str) -> None:
        """Replace the line by `text`."""
        self._next_s = time.monotonic() + self._period_s
        print(f'\r\x1b[K{text}', end='', file=sys.stderr, flush=True)

    def end(self) -> None:
        """Keep the last text on its line; `due` is False from now on."""
        if self._next_s:
            print(file=sys.stderr)
        self._shown, self._next_s = False, 0.0
