# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Publishes the messages of a bag with the timing and the QoS of the recording.

Messages are published serialized, as recorded. Each one is due at its log time on a steady clock,
so that delays do not add up. The messages that latched topics held before the played part are
published first. A topic is skipped if its type is not installed or has other fields: subscribers
would misread its messages. Topics of earlier releases are published under their current names
(`bags.legacy`).
"""

from __future__ import annotations

import os
import re
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import rclpy
from builtin_interfaces.msg import Time
from rclpy.duration import Duration
from rclpy.publisher import Publisher
from rclpy.qos import QoSProfile
from rosgraph_msgs.msg import Clock

from sage_perception.bags.definitions import UnreadableType, message_class
from sage_perception.bags.files import BagError
from sage_perception.bags.legacy import current_name
from sage_perception.bags.profiles import from_recorded, is_latched, offer_for
from sage_perception.bags.reader import Bag, BagTopic
from sage_perception.core.progress import StatusLine
from sage_perception.core.text import did_you_mean

# Time in which publishers and subscribers on one host discover each other.
DISCOVERY_S = 1.0
# Maximum time to wait until subscribers acknowledge the last messages.
ACKNOWLEDGE_TIMEOUT_S = 0.5

Log = Callable[[str], None]


@dataclass(frozen=True)
class ReplayOptions:
    """The part of a bag to publish, and the mode of playback.

    Attributes:
        rate: speed relative to the recording.
        loop: start again at the end.
        clock_hz: rate of /clock; None for no clock.
        start_offset_s: seconds to skip at the start.
        duration_s: seconds of the bag to publish; None for all.
        topics: absolute names of the topics to publish; empty for all.
        exclude: skip the topics whose names contain a match.
        remap: absolute names, from the name in the bag to the published name.
        wait_for_subscribers: start when a published topic has a subscriber.
    """

    rate: float = 1.0
    loop: bool = False
    clock_hz: float | None = None
    start_offset_s: float = 0.0
    duration_s: float | None = None
    topics: tuple[str, ...] = ()
    exclude: re.Pattern[str] | None = None
    remap: Mapping[str, str] = field(default_factory=dict)
    wait_for_subscribers: bool = False


def replay(bag: Bag, options: ReplayOptions, stop: threading.Event, log: Log) -> int:
    """Publish the messages of a bag until its end or until `stop` is set; return their number.

    `rclpy` must be initialized. `log` is called with a line for each topic that is renamed,
    skipped or has an altered type, and for each part of the bag that is missing or damaged.

    Raises:
        BagError: the options select nothing, or name a topic that the bag does not have.
    """
    for note in bag.notes:
        log(f'warning: {note}')
    begin_ns, end_ns = played_span(bag, options)
    player = Player(bag, published_names(bag, options, log), begin_ns, end_ns, options, stop)
    try:
        return player.play(log)
    finally:
        player.close()


def played_span(bag: Bag, options: ReplayOptions) -> tuple[int, int]:
    """Return the first and the last log time to publish, nanoseconds.

    Raises:
        BagError: the bag is empty, or shorter than `start_offset_s`.
    """
    if not bag.count:
        raise BagError(f'{bag.path} has no messages')
    begin_ns = bag.start_ns + round(options.start_offset_s * 1e9)
    if begin_ns > bag.end_ns:
        raise BagError(
            f'--start-offset {options.start_offset_s:g} is past the end of {bag.path}, '
            f'which is {bag.duration_s:.1f} s long'
        )
    length_ns = round((options.duration_s or float(2**31)) * 1e9)
    return begin_ns, min(bag.end_ns, begin_ns + length_ns)


def published_names(bag: Bag, options: ReplayOptions, log: Log) -> dict[str, str]:
    """Return the published name of each topic to publish, by its name in the bag.

    Topics of earlier releases get their current names, unless the bag also has topics of that name
    or `options.remap` gives another one. The options may use either name.

    Raises:
        BagError: the options select nothing, or name a topic that the bag does not have.
    """
    current = {topic.name: current_name(topic.name, topic.type_name) for topic in _topics(bag)}
    renamed = {new: old for old, new in current.items() if new != old and new not in current}
    for requested in (*options.topics, *options.remap):
        if requested not in bag.topics and requested not in renamed:
            hint = did_you_mean(requested, bag.topics) or f': it has {", ".join(bag.topics)}'
            raise BagError(f'{bag.path} has no topic {requested}{hint}')
    remap = {renamed.get(old, old): new for old, new in options.remap.items()}
    wanted = [renamed.get(name, name) for name in options.topics] or list(bag.topics)
    names = {}
    for name in dict.fromkeys(wanted):
        if options.exclude and options.exclude.search(name):
            continue
        if options.clock_hz and name == '/clock':
            log('/clock of the bag is skipped because of --clock')
        elif _is_playable(bag, name, log):
            new = current[name] if renamed.get(current[name]) == name else name
            names[name] = remap.get(name, new)
            if new != name and name not in remap:
                log(f'{name} is published as {new}, its name in this release')
    if not names:
        raise BagError(f'the options select no topic of {bag.path}')
    return names


def _topics(bag: Bag) -> list[BagTopic]:
    return list(bag.topics.values())


def _is_playable(bag: Bag, name: str, log: Log) -> bool:
    try:
        note = bag.check(name)
    except UnreadableType as error:
        log(f'{name} is skipped: {error}')
        return False
    if note:
        log(f'warning: {name}: {note}')
    return True


class Player:
    """Publishes the part of a bag from `begin_ns` to `end_ns`, inclusive."""

    def __init__(
        self,
        bag: Bag,
        names: Mapping[str, str],
        begin_ns: int,
        end_ns: int,
        options: ReplayOptions,
        stop: threading.Event,
    ) -> None:
        """Create the publishers; `names` maps the topics of the bag to published names."""
        self._node = rclpy.create_node(
            f'sage_replay_{os.getpid()}', enable_rosout=False, start_parameter_services=False
        )
        self._bag, self._begin_ns, self._end_ns, self._stop = bag, begin_ns, end_ns, stop
        self._options = options
        self._progress = StatusLine()
        self._count = 0
        self._started_s = self._next_tick_s = 0.0
        self._offers: dict[str, QoSProfile] = {}
        self._publishers: dict[str, Publisher] = {}
        for name, published in names.items():
            topic = bag.topics[name]
            offer = self._offers[name] = offer_for(tuple(map(from_recorded, topic.profiles)))
            self._publishers[name] = self._node.create_publisher(
                message_class(topic.type_name), published, offer
            )
        self._clock: Publisher | None = None
        self._clock_period_s = 0.0
        if options.clock_hz:
            self._clock = self._node.create_publisher(Clock, '/clock', 10)
            self._clock_period_s = 1 / options.clock_hz

    def play(self, log: Log) -> int:
        """Publish the messages, repeatedly with `loop`; return the number of messages."""
        self._wait_for_subscribers(log)
        while not self._stop.is_set():
            self._play_once()
            if not self._options.loop:
                break
        self._progress.end()
        until = time.monotonic() + ACKNOWLEDGE_TIMEOUT_S
        for publisher in self._publishers.values():
            left_s = until - time.monotonic()
            if left_s > 0 and not self._stop.is_set():
                publisher.wait_for_all_acked(Duration(seconds=left_s))
        return self._count

    def close(self) -> None:
        """Destroy the publishers."""
        self._node.destroy_node()

    def _wait_for_subscribers(self, log: Log) -> None:
        """Wait until discovery has settled and, with the option, until there is a subscriber."""
        connected, until, logged = 0, time.monotonic() + DISCOVERY_S, False
        while not self._stop.is_set():
            now = sum(p.get_subscription_count() for p in self._publishers.values())
            if now != connected:
                # Subscribers of other topics follow soon after the first.
                connected, until = now, time.monotonic() + DISCOVERY_S
            if time.monotonic() >= until:
                if connected or not self._options.wait_for_subscribers:
                    return
                if not logged:
                    log('waiting for subscribers')
                    logged = True
            self._tick(self._begin_ns)
            self._stop.wait(0.02)

    def _play_once(self) -> None:
        self._tick(self._begin_ns)
        self._publish_latched()
        self._started_s = self._next_tick_s = time.monotonic()
        messages = self._bag.messages(self._publishers, self._begin_ns, self._end_ns + 1)
        for message in messages:
            if not self._wait_until(message.log_time_ns):
                return
            self._publishers[message.topic].publish(message.data)
            self._count += 1
        # Without a minimum, a bag of a single moment would loop without a pause.
        self._wait_until(max(self._end_ns, self._begin_ns + 10**8 if self._options.loop else 0))

    def _publish_latched(self) -> None:
        """Publish the messages that a late subscriber would have received at `begin_ns`."""
        latched = [name for name, offer in self._offers.items() if is_latched(offer)]
        held: dict[str, deque[bytes]] = {
            name: deque(maxlen=self._offers[name].depth or None) for name in latched
        }
        for message in self._bag.messages(latched, stop_ns=self._begin_ns):
            held[message.topic].append(message.data)
        for name, messages in held.items():
            for data in messages:
                self._publishers[name].publish(data)
                self._count += 1

    def _wait_until(self, log_time_ns: int) -> bool:
        """Wait until a time of the recording is due; return False if the replay is stopped."""
        rate = self._options.rate
        due = self._started_s + (log_time_ns - self._begin_ns) * 1e-9 / rate
        while True:
            now = time.monotonic()
            if self._progress.due:
                self._progress.show(self._describe(now))
            if self._clock and self._next_tick_s <= min(now, due):
                since_s = (self._next_tick_s - self._started_s) * rate
                self._tick(self._begin_ns + round(since_s * 1e9))
                self._next_tick_s += self._clock_period_s
            elif now >= due:
                return not self._stop.is_set()
            else:
                wake = min(due, self._next_tick_s) if self._clock else due
                # Wake up at least once a second for the progress line.
                if self._stop.wait(min(1.0, max(0.0, wake - now))):
                    return False

    def _tick(self, time_ns: int) -> None:
        if self._clock:
            sec, nanosec = divmod(time_ns, 10**9)
            self._clock.publish(Clock(clock=Time(sec=sec, nanosec=nanosec)))

    def _describe(self, now: float) -> str:
        offset_s = (self._begin_ns - self._bag.start_ns) * 1e-9
        at_s = (now - self._started_s) * self._options.rate + offset_s
        return (
            f'playing {self._bag.path}: {at_s:.0f} of {self._bag.duration_s:.0f} s, '
            f'{self._count} messages'
        )
