# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Records topics of any type into a bag that `ros2 bag` reads.

Messages are written serialized, as received, with the time of reception. A received message
is passed to the operating system within a second: if the recorder is killed (`kill -9`), the bag
lacks only its index and its metadata, which `bags.repair` adds.
"""

from __future__ import annotations

import os
import re
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import rclpy
from rclpy.executors import SingleThreadedExecutor
from rclpy.qos import QoSProfile
from rclpy.subscription import Subscription

from sage_perception.bags.definitions import UnreadableType, message_class
from sage_perception.bags.disk_writer import DiskWriter
from sage_perception.bags.files import BagError
from sage_perception.bags.profiles import request_for
from sage_perception.bags.writer import BagWriter
from sage_perception.core.progress import StatusLine

try:
    from rclpy.event_handler import SubscriptionEventCallbacks
except ImportError:  # Humble
    from rclpy.qos_event import SubscriptionEventCallbacks

# Periods of the search for new topics, and for new publishers of recorded topics, seconds.
DISCOVERY_PERIOD_S, ADAPTATION_PERIOD_S = 0.1, 0.5

Log = Callable[[str], None]


class BagWriteError(BagError):
    """The disk failed; the message names the bag and the fix."""


@dataclass(frozen=True)
class RecordOptions:
    """The topics to record, the duration and the compression.

    Attributes:
        topics: names of topics; they need not exist yet.
        all: record all topics that are not hidden.
        regex: record the topics whose names contain a match.
        exclude: do not record the topics whose names contain a match, unless `topics` names them.
        duration_s: seconds after which to stop; None for no limit.
        compression: a key of `writer.COMPRESSIONS`.
    """

    topics: tuple[str, ...] = ()
    all: bool = False
    regex: re.Pattern[str] | None = None
    exclude: re.Pattern[str] | None = None
    duration_s: float | None = None
    compression: str = 'none'


@dataclass
class Recording:
    """The result of `record`: the closed writer, and the lost messages by topic."""

    bag: BagWriter
    lost: dict[str, int] = field(default_factory=dict)


def record(path: Path | str, options: RecordOptions, stop: threading.Event, log: Log) -> Recording:
    """Record into a new bag at `path` until `stop` is set or the duration is over.

    `rclpy` must be initialized. `log` is called with a line for each topic that is not recorded.

    Raises:
        BagError: the bag cannot be created.
        BagWriteError: the disk failed during the recording.
    """
    bag = BagWriter(path, options.compression)
    recorder = Recorder(bag, options, log)
    executor = SingleThreadedExecutor()
    executor.add_node(recorder.node)
    progress = StatusLine()
    begin = time.monotonic()
    end = begin + (options.duration_s or float('inf'))
    try:
        while not stop.is_set() and recorder.disk.error is None and time.monotonic() < end:
            executor.spin_once(timeout_sec=min(0.1, max(0.0, end - time.monotonic())))
            if progress.due:
                progress.show(recorder.progress(time.monotonic() - begin))
    finally:
        progress.end()
        executor.shutdown()
        recorder.close()
    error = recorder.disk.error
    if isinstance(error, OSError):
        raise BagWriteError(
            f'cannot write to {bag.path}: {error.strerror or error}; fix the disk, then run '
            f'"sage record --repair {bag.path}" to keep the messages that were written'
        ) from error
    if error is not None:
        raise error
    for name in recorder.missing():
        log(f'{name} was not published')
    return Recording(bag, recorder.lost)


@dataclass
class _Recorded:
    """A topic that is being recorded."""

    type_name: str
    request: QoSProfile
    subscription: Subscription | None = None
    lost: int = 0


class Recorder:
    """Subscribes to the wanted topics as they appear, and passes their messages to the disk."""

    def __init__(self, bag: BagWriter, options: RecordOptions, log: Log) -> None:
        """Create the node and start the search for topics."""
        self.node = rclpy.create_node(
            f'sage_record_{os.getpid()}', enable_rosout=False, start_parameter_services=False
        )
        self._bag, self._options, self._log = bag, options, log
        self._recorded: dict[str, _Recorded] = {}
        self._named = {name if name.startswith('/') else f'/{name}' for name in options.topics}
        self._rejected: set[str] = set()
        self.node.create_timer(DISCOVERY_PERIOD_S, self.discover)
        self.node.create_timer(ADAPTATION_PERIOD_S, self.adapt)
        self.disk = DiskWriter(bag)
        self.disk.start()

    def discover(self) -> None:
        """Subscribe to new topics."""
        for name, types in self.node.get_topic_names_and_types():
            if name in self._recorded or name in self._rejected or not self._is_wanted(name):
                continue
            offered = self._offered(name)
            if not offered:
                continue
            if len(types) > 1:
                self._reject(name, f'it has several types, {", ".join(types)}')
            else:
                self._begin(name, types[0], offered)

    def adapt(self) -> None:
        """Request less where a later publisher offers less, to stay compatible with it."""
        for name, topic in self._recorded.items():
            request = request_for([*self._offered(name), topic.request])
            if request != topic.request:
                topic.request = request
                self.node.destroy_subscription(topic.subscription)
                self._subscribe(name, topic)

    def missing(self) -> list[str]:
        """Return the topics that were named in the options and not found."""
        return sorted(self._named - self._recorded.keys() - self._rejected)

    @property
    def lost(self) -> dict[str, int]:
        """Return the number of lost messages by topic, for topics that lost any."""
        return {name: topic.lost for name, topic in self._recorded.items() if topic.lost}

    def progress(self, elapsed_s: float) -> str:
        """Return the progress in one line."""
        lost = sum(self.lost.values())
        return (
            f'recording {self._bag.path}: {elapsed_s:.0f} s, {len(self._recorded)} topics, '
            f'{self._bag.count} messages, {self._bag.size / 1e6:.1f} MB'
            + (f', {lost} lost' if lost else '')
        )

    def close(self) -> None:
        """Destroy the node, write everything that is queued and close the bag."""
        self.node.destroy_node()
        self.disk.finish()

    def _offered(self, name: str) -> list[QoSProfile]:
        return [info.qos_profile for info in self.node.get_publishers_info_by_topic(name)]

    def _is_wanted(self, name: str) -> bool:
        if name in self._named:
            return True
        options, exclude = self._options, self._options.exclude
        hidden = any(part.startswith('_') for part in name.split('/'))
        matches = (options.all and not hidden) or (options.regex and options.regex.search(name))
        return bool(matches) and not (exclude and exclude.search(name))

    def _begin(self, name: str, type_name: str, offered: list[QoSProfile]) -> None:
        try:
            message_class(type_name)
        except UnreadableType as error:
            self._reject(name, str(error))
            return
        topic = self._recorded[name] = _Recorded(type_name, request_for(offered))
        self.disk.call(self._bag.add_topic, name, type_name, offered)
        self._subscribe(name, topic)

    def _subscribe(self, name: str, topic: _Recorded) -> None:
        def receive(data: bytes, info: dict[str, int]) -> None:
            received = info['received_timestamp'] or time.time_ns()
            published = info['source_timestamp'] or received
            if not self.disk.write(name, data, received, published):
                topic.lost += 1

        def receive_without_info(data: bytes) -> None:
            receive(data, {'received_timestamp': 0, 'source_timestamp': 0})

        def count_lost(event: Any) -> None:
            topic.lost += event.total_count_change

        # Humble passes no message info.
        has_info = hasattr(Subscription, 'CallbackType')
        topic.subscription = self.node.create_subscription(
            message_class(topic.type_name),
            name,
            receive if has_info else receive_without_info,
            topic.request,
            raw=True,
            # The default callbacks warn of publishers that offer less; `adapt` handles them.
            event_callbacks=SubscriptionEventCallbacks(
                message_lost=count_lost, use_default_callbacks=False
            ),
        )

    def _reject(self, name: str, reason: str) -> None:
        self._rejected.add(name)
        self._log(f'{name} is not recorded: {reason}')
