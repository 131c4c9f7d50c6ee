# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""A thread for work that takes too long for a callback."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from typing import TypeVar

from rclpy.node import Node
from rclpy.task import Future

from sage_perception.core.text import one_line

LOG_PERIOD_S = 5.0
MAX_REASON_CHARS = 500
MAX_CALLS = 4
"""Calls of a worker that may wait for their results."""

T = TypeVar('T')


class Worker:
    """Runs jobs one after another in its own thread; counts and logs their exceptions.

    The owner must call `close`: a thread that is inside C++ code when the interpreter exits
    crashes the process.

    Attributes:
        failures: number of jobs that raised an exception.
    """

    def __init__(self, node: Node, name: str) -> None:
        self.failures = 0
        self._node, self._logger, self._name = node, node.get_logger(), name
        self._calls = 0
        self._jobs: queue.SimpleQueue[Callable[[], object]] = queue.SimpleQueue()
        self._closed = False
        self._thread = threading.Thread(
            target=self._run, name=f'{node.get_fully_qualified_name()[1:]}: {name}', daemon=True
        )
        self._thread.start()

    def submit(self, job: Callable[[], object]) -> None:
        """Queue a job; jobs run in the order of submission."""
        self._jobs.put(job)

    async def call(self, job: Callable[[], T]) -> T:
        """Return the result of a job, or raise its exception; the executor goes on meanwhile.

        Services that are coroutines await it. They need a reentrant callback group: in any other,
        a callback that has not returned blocks the others of its group.

        Raises:
            ValueError: `MAX_CALLS` calls are waiting.
        """
        if self._calls >= MAX_CALLS:
            raise ValueError(f'{self._calls} requests are waiting: repeat it later')
        executor = self._node.executor
        done = Future(executor=executor)

        def run() -> None:
            try:
                done.set_result(job())
            except Exception as error:  # noqa: BLE001 - raised again by `await`
                done.set_exception(error)
            executor.wake()

        self._calls += 1
        try:
            self.submit(run)
            return await done
        finally:
            self._calls -= 1

    def close(self) -> None:
        """Wait for the current job and drop all queued ones."""
        self._closed = True
        self._jobs.put(lambda: None)
        self._thread.join()

    def _run(self) -> None:
        while not self._closed:
            job = self._jobs.get()
            try:
                job()
            except Exception as error:  # noqa: BLE001
                # Nothing waits for the result: without a log message the exception is lost.
                self.failures += 1
                if not self._closed:
                    text = one_line(error)[:MAX_REASON_CHARS]
                    self._logger.warning(
                        f'{self._name}: {type(error).__name__}: {text} ({self.failures} so far)',
                        throttle_duration_sec=LOG_PERIOD_S,
                    )
