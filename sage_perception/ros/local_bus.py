# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Hands messages from node to node within one process, without serialization or copy.

The nodes of a composed process share a `LocalBus`. A publisher passes the message object itself to
the subscriptions of the process, which must not change it. DDS carries the message in addition
if a subscription outside the process matches. The middleware must not connect the endpoints of one
process, or each message would arrive twice: `middleware_is_isolated` checks this.
"""

from __future__ import annotations

import itertools
import os
import queue
import secrets
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import rclpy
from rclpy.node import Node
from rclpy.publisher import Publisher
from rclpy.qos import DurabilityPolicy, QoSCompatibility, QoSProfile, qos_check_compatible
from std_msgs.msg import Empty

# Called with a message and its info, in the form of rclpy's message info.
Deliver = Callable[[Any, dict[str, Any]], None]


PATIENCE_S = 0.02
"""Longest time that a node waits for its turn, seconds."""
CORES_PER_TURN = 2
"""Cores for each node that handles messages at the same time."""
MAX_MESSAGES = 16
"""Maximum number of messages that a node handles in one turn."""


class Turn:
    """Lets the nodes of a process handle their messages one after the other.

    Threads that compute at the same time take Python's interpreter lock from each other many times
    a frame: each call of OpenCV releases it. One after the other they need less CPU time, and on
    two cores are done no later. The nodes take turns in the order in which they asked. A callback
    that computes or waits for long delays no other node by more than `PATIENCE_S`.

    `at_once` is the number of nodes that have a turn at the same time: on more cores, what OpenCV
    and the models compute side by side saves more time than the lock costs.
    """

    def __init__(self, at_once: int = 1) -> None:
        self._lock = threading.Lock()
        self._free = at_once
        self._waiting: deque[threading.Lock] = deque()

    @contextmanager
    def taken(self) -> Iterator[None]:
        """Wait for the turn, run the body, and pass the turn on."""
        held = self._acquire()
        try:
            yield
        finally:
            if held:
                self._pass_on()

    def _acquire(self) -> bool:
        """Wait for the turn; return False if the patience ends before."""
        with self._lock:
            if self._free:
                self._free -= 1
                return True
            # Released by the thread that passes the turn on to this one.
            ticket = threading.Lock()
            ticket.acquire()
            self._waiting.append(ticket)
        if ticket.acquire(timeout=PATIENCE_S):
            return True
        with self._lock:
            if ticket in self._waiting:
                self._waiting.remove(ticket)
                return False
            return True  # it was passed on at the last moment

    def _pass_on(self) -> None:
        """Pass the turn to the thread that has waited longest; a plain lock would not."""
        with self._lock:
            if self._waiting:
                self._waiting.popleft().release()
            else:
                self._free += 1


class Inbox:
    """Calls the local subscriptions of one node in its own thread, in the order of arrival.

    `lock` is held during each call, and `turn` is that of the process. Messages wait until the
    owner calls `start`; it must call `close` at the end.
    """

    def __init__(self, name: str, turn: Turn | None = None) -> None:
        self.lock = threading.RLock()
        self._turn = turn or Turn()
        self._ready: queue.SimpleQueue[LocalSubscription | None] = queue.SimpleQueue()
        self._closed = False
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        """Start to deliver messages."""
        self._thread.start()

    def notify(self, subscription: LocalSubscription) -> None:
        """Schedule the delivery of the oldest queued message of `subscription`."""
        self._ready.put(subscription)

    def close(self) -> None:
        """Drop the queued messages and wait for the call in progress."""
        self._closed = True
        self._ready.put(None)
        if self._thread.is_alive():
            self._thread.join()

    def _run(self) -> None:
        while (subscription := self._ready.get()) is not None and not self._closed:
            # In this order: a node that is busy otherwise does not hold the turn.
            with self.lock, self._turn.taken():
                subscription.deliver_oldest()
                self._deliver_waiting()
            # Python's locks are not fair: without a pause, a thread that always has a message
            # takes the lock again before the timers and services that wait for it.
            time.sleep(0)

    def _deliver_waiting(self) -> None:
        """Deliver the messages that wait, in the turn of the first one.

        Otherwise the node with the most messages would lag behind the others.
        """
        for _ in range(MAX_MESSAGES - 1):
            if self._ready.empty() or self._closed:
                return
            subscription = self._ready.get()
            if subscription is None:  # `close` ends the thread
                self._ready.put(None)
                return
            subscription.deliver_oldest()


class ProcessId(bytes):
    """The id of a publisher of this process, which no publisher outside of it can have."""


class LocalSubscription:
    """A subscription of a node to the publishers of the same process.

    The newest `depth` messages are queued, as with the history policy keep last.

    Args:
        qos: the requested QoS.
        inbox: the inbox of the node.
        deliver: called with each message and its info.
        is_open: messages that arrive, or are due, while it returns False are dropped.
        on_mismatch: called when a publisher with an incompatible QoS is found.
    """

    def __init__(
        self,
        qos: QoSProfile,
        inbox: Inbox,
        deliver: Deliver,
        is_open: Callable[[], bool],
        on_mismatch: Callable[[], None],
    ) -> None:
        self.qos, self.on_mismatch = qos, on_mismatch
        self._inbox, self._deliver, self._is_open = inbox, deliver, is_open
        self._queue: deque[tuple[Any, dict[str, Any]]] = deque(maxlen=max(qos.depth, 1))

    def put(self, message: Any, info: dict[str, Any]) -> None:
        """Queue a message; called from the thread of the publisher."""
        if self._is_open():
            self._queue.append((message, info))
            self._inbox.notify(self)

    def deliver_oldest(self) -> None:
        """Pass the oldest queued message to the node, if one is left."""
        try:
            message, info = self._queue.popleft()
        except IndexError:  # newer messages have displaced it
            return
        if self._is_open():  # a message before this one may have closed it
            self._deliver(message, info)


class LocalPublisher:
    """The part of a publisher that serves the subscriptions of the same process."""

    def __init__(self, qos: QoSProfile) -> None:
        self.qos = qos
        self._lock = threading.Lock()
        # Random, so that no publisher of another machine can take the same one: guards limit the
        # messages of each.
        self._gid = {'data': ProcessId(secrets.token_bytes(16))}
        self._sequence = itertools.count(1)
        self._targets: list[LocalSubscription] = []
        latched = qos.durability == DurabilityPolicy.TRANSIENT_LOCAL
        self._history: deque[tuple[Any, dict[str, Any]]] = deque(maxlen=qos.depth * latched)

    @property
    def matched(self) -> int:
        """Return the number of matching subscriptions in this process."""
        return len(self._targets)

    def publish(self, message: Any) -> None:
        """Hand a message over to the matching subscriptions of this process."""
        with self._lock:
            info = {
                'publication_sequence_number': next(self._sequence),
                'publisher_gid': self._gid,
                'received_timestamp': time.time_ns(),
            }
            self._history.append((message, info))
            for subscription in self._targets:
                subscription.put(message, info)

    def match(self, subscription: LocalSubscription) -> None:
        """Connect a subscription, which receives the history if both are latched."""
        compatibility, _ = qos_check_compatible(self.qos, subscription.qos)
        if compatibility == QoSCompatibility.ERROR:
            subscription.on_mismatch()
            return
        with self._lock:
            self._targets.append(subscription)
            if subscription.qos.durability == DurabilityPolicy.TRANSIENT_LOCAL:
                for message, info in self._history:
                    subscription.put(message, info)

    def unmatch(self, subscription: LocalSubscription) -> None:
        """Disconnect a subscription, if it is connected."""
        with self._lock:
            self._targets = [target for target in self._targets if target is not subscription]


class LocalBus:
    """The topics between the nodes of one process; thread-safe. `turn` is that of the nodes."""

    def __init__(self) -> None:
        self.turn = Turn(max(len(os.sched_getaffinity(0)) // CORES_PER_TURN, 1))
        self._lock = threading.Lock()
        self._publishers: dict[tuple[str, type], list[LocalPublisher]] = {}
        self._subscriptions: dict[tuple[str, type], list[LocalSubscription]] = {}

    def publisher(self, topic: str, kind: type, qos: QoSProfile) -> LocalPublisher:
        """Add a publisher of messages of type `kind` on the resolved name `topic`."""
        with self._lock:
            publisher = LocalPublisher(qos)
            self._publishers.setdefault((topic, kind), []).append(publisher)
            for subscription in self._subscriptions.get((topic, kind), []):
                publisher.match(subscription)
        return publisher

    def subscribe(self, topic: str, kind: type, subscription: LocalSubscription) -> None:
        """Add a subscription to messages of type `kind` on the resolved name `topic`."""
        with self._lock:
            self._subscriptions.setdefault((topic, kind), []).append(subscription)
            for publisher in self._publishers.get((topic, kind), []):
                publisher.match(subscription)

    def unsubscribe(self, topic: str, kind: type, subscription: LocalSubscription) -> None:
        """Remove a subscription that `subscribe` added."""
        with self._lock:
            self._subscriptions[topic, kind].remove(subscription)
            for publisher in self._publishers.get((topic, kind), []):
                publisher.unmatch(subscription)


class TopicPublisher:
    """A publisher of a node: to the same process by the bus, to other processes by DDS.

    Without a subscriber of either kind a message is not even serialized, unless the topic is
    latched.
    """

    def __init__(self, publisher: Publisher, qos: QoSProfile, local: LocalPublisher | None):
        self._publisher, self._local = publisher, local
        self._latched = qos.durability == DurabilityPolicy.TRANSIENT_LOCAL

    @property
    def topic_name(self) -> str:
        """Return the resolved name of the topic."""
        return self._publisher.topic_name

    def get_subscription_count(self) -> int:
        """Return the number of matching subscriptions, inside and outside the process."""
        remote = self._publisher.get_subscription_count()
        return remote + (self._local.matched if self._local is not None else 0)

    def publish(self, message: Any) -> None:
        """Publish a message, which must not be changed afterwards."""
        if self._local is not None:
            self._local.publish(message)
        if self.uses_dds:
            self._publisher.publish(message)

    @property
    def uses_dds(self) -> bool:
        """Whether DDS carries the messages, besides the bus within the process."""
        return self._latched or self._publisher.get_subscription_count() > 0


def middleware_is_isolated(node: Node) -> bool:
    """Return whether the middleware leaves the endpoints of this process unconnected.

    Fast DDS does with `config/fastdds_composed.xml`: it connects the endpoints of a participant
    when they are created, or never.
    """
    if rclpy.get_rmw_implementation_identifier() != 'rmw_fastrtps_cpp':
        return False
    subscription = node.create_subscription(Empty, '~/_isolated', lambda message: None, 1)
    publisher = node.create_publisher(Empty, '~/_isolated', 1)
    connected = publisher.get_subscription_count()
    node.destroy_subscription(subscription)
    node.destroy_publisher(publisher)
    return not connected
