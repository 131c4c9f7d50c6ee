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

    The thread does not keep the process from ending.
    """

    def __init__(self, node: Node, name: str):
        self._logger = node.get_logger()
        self._work: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._closed = False
        threading.Thread(target=self._run, name=name, daemon=True).start()

    def do(self, work: Callable[[], None]) -> None:
        """Have something done as soon as all before it is."""
        self._work.put(work)

    def close(self) -> None:
        """Do no more; what is under way is let be."""
        self._closed = True
        self._work.put(lambda: None)

    def _run(self) -> None:
        while not self._closed:
            work = self._work.get()
            try:
                work()
            except Exception as error:  # noqa: BLE001
                # Nobody waits for it: without this nobody would know.
                if not self._closed:
                    self._logger.error(f'{type(error).__name__}: {error}')
