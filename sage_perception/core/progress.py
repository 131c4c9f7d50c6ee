# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Progress bars of long operations, and status lines of open-ended ones, on stderr.

>>> for image in track(images, 'encoding'):
...     encode(image)
>>> with progress('training', total=steps) as bar:
...     bar.advance()

A terminal shows a bar for each operation in progress. Other outputs get one plain line at the end
of an operation that took longer than `LONG_S`.
"""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Iterable, Iterator, Sized
from contextlib import contextmanager
from typing import TypeVar

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    Task,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.text import Text

LONG_S = 2.0
"""Duration from which an operation is long, seconds."""
UPDATES_PER_S = 4

T = TypeVar('T')


class Bar:
    """The progress of one operation; `total` is the number of its steps, None if unknown."""

    def __init__(self, text: str, total: int | None) -> None:
        self.text = text
        self.completed = 0
        self._start_s = time.monotonic()
        self._display = _shared.join() if sys.stderr.isatty() else None
        self._task: TaskID | None = None
        if self._display is not None:
            self._task = self._display.add_task(text, total=total)

    def advance(self, steps: int = 1, text: str | None = None) -> None:
        """Count `steps` as completed; `text` replaces the text of the bar."""
        self.completed += steps
        self.text = text or self.text
        if self._display is not None and self._task is not None:
            self._display.update(self._task, advance=steps, description=self.text)

    def close(self) -> None:
        """Remove the bar."""
        if self._display is not None and self._task is not None:
            self._display.remove_task(self._task)
            _shared.leave()
            self._display = None
            return
        duration_s = time.monotonic() - self._start_s
        if duration_s > LONG_S and not sys.stderr.isatty():
            steps = f'{self.completed} in ' if self.completed else ''
            print(f'{self.text}: {steps}{duration_s:.1f} s', file=sys.stderr)


@contextmanager
def progress(text: str, total: int | None = None) -> Iterator[Bar]:
    """Show a bar while the context is active."""
    bar = Bar(text, total)
    try:
        yield bar
    finally:
        bar.close()


def track(items: Iterable[T], text: str, total: int | None = None) -> Iterator[T]:
    """Yield `items` and show a bar; `total` is their number if they have no length."""
    if total is None and isinstance(items, Sized):
        total = len(items)
    with progress(text, total) as bar:
        for item in items:
            yield item
            bar.advance()


class _Count(MofNCompleteColumn):
    """The completed and all steps; empty for an operation without steps."""

    def render(self, task: Task) -> Text:
        """Return the text of an operation."""
        return super().render(task) if task.total else Text()


class _Shared:
    """The display of all bars: a console can show one display at a time."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._users = 0
        self._display: Progress | None = None

    def join(self) -> Progress:
        """Return the display; start it for the first bar."""
        with self._lock:
            if self._display is None:
                self._display = Progress(
                    TextColumn('{task.description}'),
                    BarColumn(),
                    _Count(),
                    TimeElapsedColumn(),
                    TimeRemainingColumn(),
                    console=Console(stderr=True),
                    refresh_per_second=UPDATES_PER_S,
                    transient=True,
                )
                self._display.start()
            self._users += 1
            return self._display

    def leave(self) -> None:
        """Stop the display after the last bar."""
        with self._lock:
            self._users -= 1
            if self._users == 0 and self._display is not None:
                self._display.stop()
                self._display = None


_shared = _Shared()


class StatusLine:
    """A line of text on stderr that is updated in place; silent if stderr is not a terminal.

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
