# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""A thread for what takes too long to do while messages are waiting."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable

from rclpy.node import Node


class Worker:
    """Does one thing after the other in a thread of its own; what goes wrong is logged.

    Whoever has one closes it: a thread that outlives the interpreter, in the midst of C++ code,
    takes the whole process down with it.
    """

    def __init__(self, node: Node, name: str):
        self._logger = node.get_logger()
        self._work: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._closed = False
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def do(self, work: Callable[[], None]) -> None:
        """Have something done as soon as all before it is."""
        self._work.put(work)

    def close(self) -> None:
        """Do no more, and wait for what is under way."""
        self._closed = True
        self._work.put(lambda: None)
        self._thread.join()

    def _run(self) -> None:
        while not self._closed:
            work = self._work.get()
            try:
                work()
            except Exception as error:  # noqa: BLE001
                # Nobody waits for it: without this nobody would know.
                if not self._closed:
                    self._logger.error(f'{type(error).__name__}: {error}')
