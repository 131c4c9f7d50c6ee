# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Writes a bag in its own thread, because disks can block for seconds."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable
from typing import Any

from sage_perception.bags.writer import BagWriter

FLUSH_PERIOD_S = 0.5
# Two seconds of two 640x480 color cameras at 30 Hz.
MAX_QUEUED_BYTES = 128 * 2**20


class DiskWriter(threading.Thread):
    """Runs the calls of a `BagWriter` in order, in the background.

    `error` is the exception that ended the thread, if any.
    """

    def __init__(self, bag: BagWriter) -> None:
        """Write to `bag`, which only this thread may use from now on."""
        super().__init__(name='disk')
        self.error: Exception | None = None
        self._bag = bag
        self._calls: queue.SimpleQueue[tuple[Callable[..., None], tuple[Any, ...]] | None] = (
            queue.SimpleQueue()
        )
        self._queued, self._written = 0, 0

    def write(self, topic: str, data: bytes, received_ns: int, published_ns: int) -> bool:
        """Queue a message; return False if the queue is full and the message is lost."""
        # Each counter has one writer, so that the difference needs no lock.
        if self._queued - self._written > MAX_QUEUED_BYTES:
            return False
        self._queued += len(data)
        self.call(self._bag.write, topic, data, received_ns, published_ns)
        return True

    def call(self, function: Callable[..., None], *arguments: Any) -> None:
        """Queue a call of a method of the bag."""
        self._calls.put((function, arguments))

    def finish(self) -> None:
        """Write everything that is queued, and close the bag."""
        self._calls.put(None)
        self.join()

    def run(self) -> None:
        """Work until `finish`, or until a call fails."""
        try:
            self._work()
        except Exception as error:  # noqa: BLE001 (the recorder raises it again)
            self.error = error
            self._bag.abandon()

    def _work(self) -> None:
        flushed = time.monotonic()
        while True:
            try:
                call = self._calls.get(timeout=FLUSH_PERIOD_S)
                if call is None:
                    break
                function, arguments = call
                function(*arguments)
                if function == self._bag.write:
                    self._written += len(arguments[1])
            except queue.Empty:
                pass
            if time.monotonic() - flushed >= FLUSH_PERIOD_S:
                self._bag.flush()
                flushed = time.monotonic()
        self._bag.close()
