# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""The executor of nodes: an exception in a callback does not end the process."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from inspect import signature
from threading import Lock
from typing import Any

from rclpy.executors import (
    ExternalShutdownException,
    ShutdownException,
    SingleThreadedExecutor,
    TimeoutException,
)

from sage_perception.ros.errors import NodeFailure
from sage_perception.ros.wait_set import EVENT, KINDS, EntityWaitSet, Ready

NS = 1_000_000_000
INTERNALS = '_guard', '_sigint_gc', '_tasks', '_tasks_lock', '_make_handler'
"""What `GuardedExecutor` uses of the executor of rclpy, beside its `_take_...` methods."""


class GuardedExecutor(SingleThreadedExecutor):
    """Passes the exceptions of callbacks to `Endpoints.note_exception` of their node.

    This also covers the callbacks that rclpy itself creates, such as those of parameter and
    lifecycle services and of the clock, and messages that cannot be taken from the middleware.
    The cause of a `NodeFailure` is raised.

    The wait set is kept until the entities of a node change, and the end of a callback does not
    wake the executor, which rclpy needs for several threads only. This uses internals of rclpy, as
    Jazzy has them; with those of another release, it waits as rclpy does.
    """

    def __init__(self, **options: Any) -> None:
        self._entities: EntityWaitSet | None = None
        self._ready: deque[Ready] = deque()
        self._changed = self._ending = False
        # Held while the executor waits: what it waits for must not be released then.
        self._waiting = Lock()
        super().__init__(**options)
        self._takes = take_methods(self)

    def wake(self) -> None:
        """Wait for the present entities of the nodes; rclpy calls it when they have changed."""
        self._changed = True
        super().wake()

    def shutdown(self, timeout_sec: float | None = None) -> bool:
        """Stop executing callbacks; return whether those in progress have ended."""
        self._ending = True
        self.wake()
        with self._waiting:
            self._release()
            return bool(super().shutdown(timeout_sec))

    def spin_once(self, timeout_sec: float | None = None) -> None:
        """Execute one callback; wait for it up to `timeout_sec` seconds, None: without limit.

        Without a callback it also returns when the executor is woken.
        """
        if not self._takes:
            self._spin_as_rclpy(timeout_sec)
            return
        if not self._ready:
            self._run_tasks()
            self._wait(timeout_sec)
        if not self._ready:
            return
        ready = self._ready.popleft()
        kind, entity, node, plain = ready
        if kind == 'timer' and not entity.handle.is_timer_ready():
            return  # a callback before this one has canceled it
        if not entity.callback_group.can_execute(entity):
            if kind == 'guard_condition':  # all others stay ready
                entity.trigger()
        elif plain:
            self._execute(ready)
        else:
            self._run(self._make_handler(entity, node, self._takes[kind]), entity, node)

    def _spin_as_rclpy(self, timeout_sec: float | None) -> None:
        try:
            handler, entity, node = self.wait_for_ready_callbacks(timeout_sec)
        except (ExternalShutdownException, ShutdownException, TimeoutException):
            return
        self._run(handler, entity, node)

    def _wait(self, timeout_sec: float | None) -> None:
        """Wait until callbacks are ready, or the executor is woken."""
        with self._waiting:
            if self._ending or not self.context.ok():
                return
            if self._changed or self._entities is None:
                self._changed = False
                self._release()
                guards = self._guard, self._sigint_gc
                self._entities = EntityWaitSet(self.get_nodes(), guards, self.context)
            timeout_ns = -1 if timeout_sec is None else round(timeout_sec * NS)
            found = self._entities.wait(timeout_ns)
            self._changed |= any(ready.entity is self._guard for ready in found)
        if not self._ending and self.context.ok():
            self._ready.extend(ready for ready in found if ready.node is not None)

    def _release(self) -> None:
        entities, self._entities = self._entities, None
        if entities is not None:
            entities.close()

    def _run_tasks(self) -> None:
        """Continue the coroutines that wait, and run the callbacks of `create_task`."""
        with self._tasks_lock:
            tasks: list[Any] = [each for each in self._tasks if not each[0].done()]
            self._tasks: list[Any] = list(tasks)
        for task, entity, node in tasks:
            self._run(task, entity, node)

    def _execute(self, ready: Ready) -> None:
        """Call the callback of a timer or a subscription."""
        kind, entity, node, _ = ready
        group = entity.callback_group
        if not group.beginning_execution(entity):
            return
        try:
            call = self._takes[kind](entity)
            if call is not None:
                call().send(None)
        except StopIteration:  # the coroutine of rclpy around the callback has returned
            pass
        except Exception as error:  # noqa: BLE001 - of any callback
            self._note(entity, node, error)
        finally:
            group.ending_execution(entity)

    def _run(self, task: Any, entity: Any, node: Any) -> None:
        """Run a task of rclpy."""
        task()
        error = task.exception() if task.done() else None
        if error is None:
            return
        if getattr(entity, '_executor_event', False):
            # The request could not be taken. rclpy only releases the entity, and the others of its
            # callback group, after it has: the node would receive nothing any more.
            entity._executor_event = False
            entity.callback_group.ending_execution(entity)
        if not isinstance(error, Exception):
            raise error
        self._note(entity, node, error)

    def _note(self, entity: Any, node: Any, error: Exception) -> None:
        """Let the node count an exception; raise one that ends it."""
        if isinstance(error, NodeFailure):
            raise error.__cause__ or error
        if node is None:
            raise error
        node.note_exception(entity, error)


def take_methods(executor: Any) -> dict[str, Callable[[Any], Any]]:
    """Return the methods by which an executor takes what is ready, by the kind of the entity.

    The result is empty if the executor has other internals than that of Jazzy.
    """
    names = {kind: f'_take_{kind}' for kind in KINDS} | {EVENT: '_take_waitable'}
    if not all(hasattr(executor, name) for name in (*INTERNALS, *names.values())):
        return {}
    if len(signature(executor._make_handler).parameters) != 3:  # as in Humble
        return {}
    return {kind: getattr(executor, name) for kind, name in names.items()}
