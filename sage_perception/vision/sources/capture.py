# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Read a source in a background thread."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Generic, Protocol, TypeVar


class Indexed(Protocol):
    """An item of a source; gaps in the indices are skipped items."""

    @property
    def index(self) -> int:
        """Return the number of the item."""


ItemT = TypeVar('ItemT', bound=Indexed)
ReadT = TypeVar('ReadT', bound=Indexed, covariant=True)


class Readable(Protocol[ReadT]):
    """A source of images or of sound."""

    def read(self, timeout_s: float) -> ReadT | None:
        """Wait for the next item and return it, or None after `timeout_s` seconds."""


READ_TIMEOUT_S = 0.2
"""Maximum time `stop` waits for a source that delivers no frames, seconds."""


class CaptureThread(Generic[ItemT]):
    """Passes each frame, or block of sound, of a source to a callback, in a background thread.

    Args:
        source: the source; it stays open when the capture stops.
        on_frame: called from the thread with each frame.
        on_end: called from the thread with the exception that ended the capture: `EndOfStream`,
            or an error of the source or of `on_frame`. It is not called after `stop`.
        name: name of the thread.

    Attributes:
        missed: number of skipped frames, from gaps in the frame indices.
    """

    def __init__(
        self,
        source: Readable[ItemT],
        on_frame: Callable[[ItemT], None],
        on_end: Callable[[Exception], None],
        name: str = 'capture',
    ) -> None:
        self.missed = 0
        self._source = source
        self._on_frame, self._on_end = on_frame, on_end
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        """Start capturing; a capture can be started once."""
        self._thread.start()

    def stop(self) -> None:
        """Stop capturing and wait for the thread."""
        self._stopping.set()
        self._thread.join()

    def _run(self) -> None:
        try:
            self._capture()
        except Exception as error:  # noqa: BLE001 - the owner of the thread handles it
            self._on_end(error)

    def _capture(self) -> None:
        last: int | None = None
        while not self._stopping.is_set():
            frame = self._source.read(READ_TIMEOUT_S)
            if frame is None:
                continue
            if last is not None:
                self.missed += max(frame.index - last - 1, 0)
            last = frame.index
            self._on_frame(frame)
