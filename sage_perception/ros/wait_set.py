# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""A wait set that is kept from one wait to the next.

The executor of rclpy gathers all entities of its nodes and allocates a wait set for each wait: for
a node of sage, with some forty entities, this takes longer than many of its callbacks.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import ExitStack, suppress
from inspect import iscoroutinefunction
from typing import Any, NamedTuple

from rclpy.callback_groups import CallbackGroup
from rclpy.impl.implementation_singleton import rclpy_implementation as _rclpy
from rclpy.node import Node

try:
    from rclpy.executors import InvalidHandle
except ImportError:  # moved in later releases
    from rclpy.exceptions import InvalidHandle

KINDS = 'timer', 'subscription', 'guard_condition', 'client', 'service'
"""The kinds of entities, in the order in which rclpy executes those that are ready."""
EVENT = 'event'
PLAIN = 'timer', 'subscription'


class Ready(NamedTuple):
    """An entity that is ready, its kind (one of `KINDS` or `EVENT`) and its node.

    `node` is None for a guard condition without a node. `plain` states that it is a timer or a
    subscription whose callback is no coroutine.
    """

    kind: str
    entity: Any
    node: Any
    plain: bool = False


class EntityWaitSet:
    """The entities of nodes at one time, and guard conditions without a node.

    Entities that are destroyed exist in the middleware until `close` is called.
    """

    def __init__(self, nodes: Iterable[Node], guards: Iterable[Any], context: Any) -> None:
        self._context = context
        self._held = ExitStack()
        self._entries: list[tuple[CallbackGroup | None, Any, Ready]] = []
        self._waitables: list[tuple[Any, Node]] = []
        # A group answers alike for all of its entities.
        self._groups: dict[CallbackGroup, Any] = {}
        for node in nodes:
            lists = node.timers, node.subscriptions, node.guards, node.clients, node.services
            for kind, entities in zip(KINDS, lists, strict=True):
                for entity in entities:
                    self._add(kind, entity, node)
            for waitable in node.waitables:
                with suppress(InvalidHandle):
                    self._held.enter_context(waitable)
                    self._waitables.append((waitable, node))
                    self._groups[waitable.callback_group] = waitable
        for guard in guards:
            self._add('guard_condition', guard, None)
        counts = dict.fromkeys(KINDS, 0)
        for _, _, ready in self._entries:
            counts[ready.kind] += 1
        total = [waitable.get_num_entities() for waitable, _ in self._waitables]
        with context.handle:
            self._wait_set = _rclpy.WaitSet(
                counts['subscription'] + sum(each.num_subscriptions for each in total),
                counts['guard_condition'] + sum(each.num_guard_conditions for each in total),
                counts['timer'] + sum(each.num_timers for each in total),
                counts['client'] + sum(each.num_clients for each in total),
                counts['service'] + sum(each.num_services for each in total),
                sum(each.num_events for each in total),
                context.handle,
            )
        self._add_to_wait_set: dict[str, Callable[[Any], Any]] = {
            kind: getattr(self._wait_set, f'add_{kind}') for kind in KINDS
        }

    def _add(self, kind: str, entity: Any, node: Node | None) -> None:
        handle = entity.handle
        with suppress(InvalidHandle):  # it is being destroyed
            self._held.enter_context(handle)
            group = entity.callback_group if node is not None else None
            plain = kind in PLAIN and not iscoroutinefunction(entity.callback)
            self._entries.append((group, handle, Ready(kind, entity, node, plain)))
            if group is not None:
                self._groups[group] = entity

    def wait(self, timeout_ns: int) -> list[Ready]:
        """Wait until an entity whose group may execute is ready; return all that are.

        `timeout_ns` < 0: without limit. The result is empty after the time, or a signal.
        """
        closed = {group for group, each in self._groups.items() if not group.can_execute(each)}
        wait_set = self._wait_set
        wait_set.clear_entities()
        for group, handle, ready in self._entries:
            if group not in closed:
                self._add_to_wait_set[ready.kind](handle)
        open_ = [each for each in self._waitables if each[0].callback_group not in closed]
        for waitable, _ in open_:
            waitable.add_to_wait_set(wait_set)
        with self._context.handle:
            wait_set.wait(timeout_ns)
        pointers = {kind: wait_set.get_ready_entities(kind) for kind in KINDS}
        events = [Ready(EVENT, each, node) for each, node in open_ if each.is_ready(wait_set)]
        return events + [
            ready
            for group, handle, ready in self._entries
            if pointers[ready.kind]
            and handle.pointer in pointers[ready.kind]
            and group not in closed
        ]

    def close(self) -> None:
        """Release the entities; the wait set cannot be used afterwards."""
        self._held.close()
