# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""A progress line on the terminal."""

from __future__ import annotations

import sys
import time


class Progress:
    """A line on the terminal that is written anew each second; nothing where there is none."""

    def __init__(self, period_s: float = 1.0) -> None:
        self._shown = sys.stderr.isatty()
        self._period_s = period_s
        self._next = 0.0

    @property
    def due(self) -> bool:
        """Whether it is time to write the line anew."""
        return self._shown and time.monotonic() >= self._next

    def show(self, text: str) -> None:
        """Write the line."""
        self._next = time.monotonic() + self._period_s
        print(f'\r\x1b[K{text}', end='', file=sys.stderr, flush=True)

    def end(self) -> None:
        """Leave the line alone from now on."""
        if self._next:
            print(file=sys.stderr)
        self._shown, self._next = False, 0.0
