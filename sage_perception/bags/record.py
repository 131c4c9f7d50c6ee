# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""`sage record`: record topics of any type into a bag that `ros2 bag` reads, and mend such bags.

Messages are written as they come, serialized, with the time of their reception. What was received
is on its way to the disk within a second: when the recorder is killed (`kill -9`), the bag only
lacks its index and its metadata, and `sage record --repair BAG` adds them.
"""

from __future__ import annotations

import argparse
import os
import queue
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path

import rclpy
from rclpy.executors import SingleThreadedExecutor
from rclpy.qos import QoSProfile
from rclpy.signals import SignalHandlerOptions
from rclpy.subscription import Subscription

from sage_perception.bags.definitions import UnreadableType, message_class
from sage_perception.bags.profiles import request_for
from sage_perception.bags.storage import COMPRESSIONS, BagWriter, repair
from sage_perception.bringup.environment import dds_environment
from sage_perception.cli.terminal import (
    EXIT_FAILED,
    Parser,
    in_one_line,
    positive,
    regex,
    stop_requested,
)
from sage_perception.core.progress import Progress

try:
    from rclpy.event_handler import SubscriptionEventCallbacks
except ImportError:  # Humble
    from rclpy.qos_event import SubscriptionEventCallbacks

# How often to look for new topics, and for other publishers of those that are recorded.
DISCOVERY_PERIOD_S, ADAPTATION_PERIOD_S = 0.1, 0.5
FLUSH_PERIOD_S = 0.5
# What may wait for a slow disk: two seconds of two 640x480 color cameras at 30 Hz.
MAX_WAITING_BYTES = 128 * 2**20


@in_one_line('sage record')
def main(argv: list[str] | None = None) -> int:
    """Run `sage record`; return 0 when told to end, 1: writing failed, 2: bad usage."""
    parser = _parser()
    options = parser.parse_args(argv)
    if options.repair:
        return _repair(options.repair)
    if not (options.topics or options.all or options.regex):
        parser.error('nothing to record: name topics, or use --all or --regex')
    path = options.output or Path(time.strftime('bag_%Y_%m_%d-%H_%M_%S'))
    os.environ.update(dds_environment(os.environ))
    bag = BagWriter(path, options.compression)
    with stop_requested() as told:
        rclpy.init(args=[], signal_handler_options=SignalHandlerOptions.NO)
        try:
            return _record(bag, options, told)
        finally:
            rclpy.try_shutdown()


def _parser() -> Parser:
    parser = Parser(prog='sage record', description=__doc__.partition('\n')[0], allow_abbrev=False)
    add = parser.add_argument
    add('topics', metavar='TOPIC', nargs='*', help='topics to record, also such as appear later')
    add('-a', '--all', action='store_true', help='record every topic that is not hidden')
    add('-e', '--regex', metavar='R', type=regex, help='record the topics that R is found in')
    add('-x', '--exclude', metavar='R', type=regex, help='but none that this R is found in')
    add('-o', '--output', metavar='DIR', type=Path, help='the bag (default: bag_DATE-TIME)')
    add('-d', '--duration', metavar='S', type=positive, help='end after so many seconds')
    add(
        '--compression',
        choices=COMPRESSIONS,
        default='none',
        help='of the file: none costs the least, lz4 little, zstd the most (default: none)',
    )
    add('--repair', metavar='BAG', type=Path, help='make a bag whole whose recorder was killed')
    return parser


def _repair(path: Path) -> int:
    bag = repair(path)
    print(f'{path} is whole again')
    _summarise(bag, {})
    return 0


def _record(bag: BagWriter, options: argparse.Namespace, told: threading.Event) -> int:
    recorder = Recorder(bag, options)
    executor = SingleThreadedExecutor()
    executor.add_node(recorder.node)
    progress = Progress()
    begun = time.monotonic()
    end = begun + (options.duration or float('inf'))
    try:
        while not told.is_set() and recorder.disk.error is None and time.monotonic() < end:
            executor.spin_once(timeout_sec=min(0.1, max(0.0, end - time.monotonic())))
            if progress.due:
                progress.show(recorder.progress(time.monotonic() - begun))
    finally:
        progress.end()
        executor.shutdown()
        lost = {name: t.lost for name, t in recorder.recorded.items() if t.lost}
        recorder.node.destroy_node()
        recorder.disk.finish()
    error = recorder.disk.error
    if isinstance(error, OSError):
        print(
            f'sage record: cannot write to {bag.path}: {error.strerror or error}; when that is '
            f'mended, "sage record --repair {bag.path}" saves what was written',
            file=sys.stderr,
        )
        return EXIT_FAILED
    if error is not None:
        raise error
    for name in recorder.missing():
        print(f'sage record: {name} was never published', file=sys.stderr)
    _summarise(bag, lost)
    return 0


def _summarise(bag: BagWriter, lost: dict[str, int]) -> None:
    size = f'{bag.size / 1e6:.1f} MB'
    print(f'{bag.path}: {bag.count} messages, {bag.duration_s:.1f} s, {size}')
    for name, topic in sorted(bag.topics.items()):
        missed = f', {lost[name]} lost' if name in lost else ''
        print(f'  {name} ({topic.type_name}): {topic.count}{missed}')


@dataclass
class _Recorded:
    """A topic that is being recorded."""

    type_name: str
    request: QoSProfile
    subscription: Subscription | None = None
    lost: int = 0


class Recorder:
    """Subscribes to what is asked for as it appears, and hands the bytes to the disk."""

    def __init__(self, bag: BagWriter, options: argparse.Namespace) -> None:
        """Begin to look for topics."""
        self.node = rclpy.create_node(
            f'sage_record_{os.getpid()}', enable_rosout=False, start_parameter_services=False
        )
        self.recorded: dict[str, _Recorded] = {}
        self._bag = bag
        self._named = {name if name.startswith('/') else f'/{name}' for name in options.topics}
        self._all, self._regex, self._exclude = options.all, options.regex, options.exclude
        self._refused: set[str] = set()
        self.node.create_timer(DISCOVERY_PERIOD_S, self.discover)
        self.node.create_timer(ADAPTATION_PERIOD_S, self.adapt)
        self.disk = Disk(bag)
        self.disk.start()

    def discover(self) -> None:
        """Subscribe to topics that are new."""
        for name, types in self.node.get_topic_names_and_types():
            if name in self.recorded or name in self._refused or not self._is_wanted(name):
                continue
            offered = self._offered(name)
            if not offered:
                continue
            if len(types) > 1:
                self._refuse(name, f'has several types, {", ".join(types)}')
            else:
                self._begin(name, types[0], offered)

    def adapt(self) -> None:
        """Ask for less where a later publisher offers less; it would not be heard otherwise."""
        for name, topic in self.recorded.items():
            request = request_for([*self._offered(name), topic.request])
            if request != topic.request:
                topic.request = request
                self.node.destroy_subscription(topic.subscription)
                self._subscribe(name, topic)

    def missing(self) -> list[str]:
        """Return the topics that were named and never seen."""
        return sorted(self._named - self.recorded.keys() - self._refused)

    def progress(self, elapsed_s: float) -> str:
        """Return how far it is, in a line."""
        lost = sum(topic.lost for topic in self.recorded.values())
        return (
            f'recording {self._bag.path}: {elapsed_s:.0f} s, {len(self.recorded)} topics, '
            f'{self._bag.count} messages, {self._bag.size / 1e6:.1f} MB'
            + (f', {lost} lost' if lost else '')
        )

    def _offered(self, name: str) -> list[QoSProfile]:
        return [info.qos_profile for info in self.node.get_publishers_info_by_topic(name)]

    def _is_wanted(self, name: str) -> bool:
        if name in self._named:
            return True
        hidden = any(part.startswith('_') for part in name.split('/'))
        wanted = (self._all and not hidden) or (self._regex and self._regex.search(name))
        return bool(wanted) and not (self._exclude and self._exclude.search(name))

    def _begin(self, name: str, type_name: str, offered: list[QoSProfile]) -> None:
        try:
            message_class(type_name)
        except UnreadableType as error:
            self._refuse(name, str(error))
            return
        topic = self.recorded[name] = _Recorded(type_name, request_for(offered))
        self.disk.call(self._bag.add_topic, name, type_name, offered)
        self._subscribe(name, topic)

    def _subscribe(self, name: str, topic: _Recorded) -> None:
        def receive(data: bytes, info: dict) -> None:
            received = info['received_timestamp'] or time.time_ns()
            published = info['source_timestamp'] or received
            if not self.disk.write(name, data, received, published):
                topic.lost += 1

        def receive_without_info(data: bytes) -> None:
            receive(data, {'received_timestamp': 0, 'source_timestamp': 0})

        def lose(event) -> None:
            topic.lost += event.total_count_change

        # Humble hands no information over.
        knows = hasattr(Subscription, 'CallbackType')
        topic.subscription = self.node.create_subscription(
            message_class(topic.type_name),
            name,
            receive if knows else receive_without_info,
            topic.request,
            raw=True,
            # rclpy's own would warn of publishers that offer less: `adapt` sees to them.
            event_callbacks=SubscriptionEventCallbacks(
                message_lost=lose, use_default_callbacks=False
            ),
        )

    def _refuse(self, name: str, why: str) -> None:
        self._refused.add(name)
        print(f'sage record: {name} is not recorded: {why}', file=sys.stderr)


class Disk(threading.Thread):
    """Does in turn, in the background, what is to be done to the bag: disks halt for seconds."""

    def __init__(self, bag: BagWriter) -> None:
        """Write to `bag`, which nothing else may write to from now on."""
        super().__init__(name='disk')
        self.error: Exception | None = None
        self._bag = bag
        self._calls: queue.SimpleQueue = queue.SimpleQueue()
        self._put, self._done = 0, 0

    def write(self, topic: str, data: bytes, received_ns: int, published_ns: int) -> bool:
        """Write a message soon; return False when too much is waiting, which loses it."""
        # Each of the two counts has one writer, the difference needs no lock.
        if self._put - self._done > MAX_WAITING_BYTES:
            return False
        self._put += len(data)
        self.call(self._bag.write, topic, data, received_ns, published_ns)
        return True

    def call(self, function, *arguments) -> None:
        """Do something to the bag, after all that was asked for before."""
        self._calls.put((function, arguments))

    def finish(self) -> None:
        """Write what is waiting, and close the bag."""
        self._calls.put(None)
        self.join()

    def run(self) -> None:
        """Work until the end, or until the disk refuses."""
        try:
            self._work()
        except Exception as error:  # noqa: BLE001 (`_record` raises it again, or says it)
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
                    self._done += len(arguments[1])
            except queue.Empty:
                pass
            if time.monotonic() - flushed >= FLUSH_PERIOD_S:
                self._bag.flush()
                flushed = time.monotonic()
        self._bag.close()


if __name__ == '__main__':
    sys.exit(main())
