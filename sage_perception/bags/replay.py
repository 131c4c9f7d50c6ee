# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""`sage replay`: publish a bag again, with the times and quality of service of the recording.

Serialized messages are published as they are. Each is due at its log time on a steady clock, so
that delays do not add up. What a latched topic held when the played part begins is published
first. A topic whose type is not installed, or is installed with other fields, is left out, and a
line says so: subscribers would read nonsense.
"""

from __future__ import annotations

import argparse
import difflib
import os
import sys
import threading
import time
from collections import deque
from collections.abc import Iterable
from pathlib import Path

import rclpy
from builtin_interfaces.msg import Time
from rclpy.duration import Duration
from rclpy.exceptions import InvalidTopicNameException
from rclpy.publisher import Publisher
from rclpy.qos import QoSProfile
from rclpy.signals import SignalHandlerOptions
from rclpy.validate_full_topic_name import validate_full_topic_name
from rosgraph_msgs.msg import Clock

from sage_perception.bags.definitions import UnreadableType, message_class
from sage_perception.bags.profiles import is_latched, offer_for
from sage_perception.bags.storage import Bag, BagError, BagTopic, open_bag
from sage_perception.bringup.environment import dds_environment
from sage_perception.cli.terminal import (
    Parser,
    in_one_line,
    non_negative,
    positive,
    regex,
    stop_requested,
)
from sage_perception.core.progress import Progress

DEFAULT_CLOCK_HZ = 40.0
# How long publishers and subscribers of one host may take to find each other.
DISCOVERY_S = 1.0
# How long the last messages may take: subscribers confirm them late, if at all.
CONFIRM_S = 0.5


@in_one_line('sage replay')
def main(argv: list[str] | None = None) -> int:
    """Run `sage replay`; return 0 at the end or when told to end, 2: bad usage."""
    options = _parser().parse_args(argv)
    os.environ.update(dds_environment(os.environ))
    with stop_requested() as told, open_bag(options.bag) as bag:
        begin_ns, end_ns = _span(bag, options)
        topics = _choose(bag, options)
        rclpy.init(args=[], signal_handler_options=SignalHandlerOptions.NO)
        try:
            Player(bag, topics, begin_ns, end_ns, options, told).play()
        finally:
            rclpy.try_shutdown()
    return 0


def _parser() -> Parser:
    parser = Parser(prog='sage replay', description=__doc__.partition('\n')[0], allow_abbrev=False)
    add = parser.add_argument
    add('bag', metavar='BAG', type=Path, help='a directory, a .mcap file or a .db3 file')
    add('-r', '--rate', metavar='R', type=positive, default=1.0, help='R times as fast')
    add('-l', '--loop', action='store_true', help='begin anew at the end')
    add(
        '--clock',
        metavar='HZ',
        type=positive,
        nargs='?',
        const=DEFAULT_CLOCK_HZ,
        help='publish the time of the recording on /clock, for nodes with use_sim_time '
        f'(default: {DEFAULT_CLOCK_HZ:g} times a second)',
    )
    add('--start-offset', metavar='S', type=non_negative, default=0.0, help='leave out S seconds')
    add('-d', '--duration', metavar='S', type=positive, help='play so many seconds of it')
    add('--topics', metavar='T', nargs='+', action='extend', help='play these only')
    add('-x', '--exclude', metavar='R', type=regex, help='not those R is found in')
    add(
        '--remap',
        metavar='OLD:=NEW',
        nargs='+',
        action='extend',
        type=_remapping,
        default=[],
        help='publish under other names',
    )
    add(
        '--wait-for-subscribers',
        action='store_true',
        help='begin only when someone subscribes to a played topic',
    )
    return parser


def _remapping(text: str) -> tuple[str, str]:
    old, separator, new = text.partition(':=')
    if not (separator and old and new):
        raise argparse.ArgumentTypeError(f'{text!r} is not OLD:=NEW')
    try:
        validate_full_topic_name(_absolute(new))
    except InvalidTopicNameException as error:
        reason = str(error).splitlines()[0]
        raise argparse.ArgumentTypeError(f'{new!r} can be no topic: {reason}') from None
    return _absolute(old), _absolute(new)


def _absolute(topic: str) -> str:
    return topic if topic.startswith('/') else f'/{topic}'


def _span(bag: Bag, options: argparse.Namespace) -> tuple[int, int]:
    """Return the log times between which to play, the last included."""
    if not bag.count:
        raise BagError(f'{bag.path} holds no messages')
    begin_ns = bag.start_ns + round(options.start_offset * 1e9)
    if begin_ns > bag.end_ns:
        raise BagError(
            f'--start-offset: {options.start_offset:g} s is past the end of {bag.path}, '
            f'which lasts {bag.duration_s:.1f} s'
        )
    length_ns = round((options.duration or float(2**31)) * 1e9)
    return begin_ns, min(bag.end_ns, begin_ns + length_ns)


def _choose(bag: Bag, options: argparse.Namespace) -> list[BagTopic]:
    """Return the topics that are asked for and can be played; say why others cannot."""
    names = list(bag.topics)
    for asked in [*(options.topics or []), *(old for old, _ in options.remap)]:
        if _absolute(asked) not in bag.topics:
            close = difflib.get_close_matches(_absolute(asked), names, n=1)
            hint = f'did you mean {close[0]}?' if close else f'it has {", ".join(names)}'
            raise BagError(f'{bag.path} has no topic {asked}: {hint}')
    if options.topics:
        names = [_absolute(name) for name in options.topics]
    if options.exclude:
        names = [name for name in names if not options.exclude.search(name)]
    if options.clock and '/clock' in names:
        names.remove('/clock')
        print('sage replay: /clock of the bag is left out: --clock publishes it', file=sys.stderr)
    playable = []
    for name in dict.fromkeys(names):
        try:
            note = bag.check(name)
        except UnreadableType as error:
            print(f'sage replay: {name} is left out: {error}', file=sys.stderr)
            continue
        if note:
            print(f'sage replay: warning: {name}: {note}', file=sys.stderr)
        playable.append(bag.topics[name])
    if not playable:
        raise BagError(f'nothing of {bag.path} is left to play')
    return playable


class Player:
    """Publishes the part of a bag from `begin_ns` to `end_ns`, the last included."""

    def __init__(
        self,
        bag: Bag,
        topics: Iterable[BagTopic],
        begin_ns: int,
        end_ns: int,
        options: argparse.Namespace,
        told: threading.Event,
    ) -> None:
        """Create the publishers; `told` ends everything."""
        self._node = rclpy.create_node(
            f'sage_replay_{os.getpid()}', enable_rosout=False, start_parameter_services=False
        )
        self._bag, self._begin_ns, self._end_ns, self._told = bag, begin_ns, end_ns, told
        self._rate, self._loop = options.rate, options.loop
        self._wait_for_subscribers = options.wait_for_subscribers
        self._progress = Progress()
        self._played = 0
        self._offers: dict[str, QoSProfile] = {}
        self._publishers: dict[str, Publisher] = {}
        names = dict(options.remap)
        for topic in topics:
            offer = self._offers[topic.name] = offer_for(topic.profiles)
            self._publishers[topic.name] = self._node.create_publisher(
                message_class(topic.type_name), names.get(topic.name, topic.name), offer
            )
        self._clock = None
        if options.clock:
            self._clock = self._node.create_publisher(Clock, '/clock', 10)
            self._clock_period_s = 1 / options.clock

    def play(self) -> None:
        """Play until the end, or for ever when asked to."""
        self._wait_to_be_heard()
        while not self._told.is_set():
            self._play_once()
            if not self._loop:
                break
        self._progress.end()
        until = time.monotonic() + CONFIRM_S
        for publisher in self._publishers.values():
            left_s = until - time.monotonic()
            if left_s > 0 and not self._told.is_set():
                publisher.wait_for_all_acked(Duration(seconds=left_s))
        print(f'{self._bag.path}: {self._played} messages played')
        self._node.destroy_node()

    def _wait_to_be_heard(self) -> None:
        """Wait until those who subscribe, or with the option at least one, are connected."""
        connected, until, said = 0, time.monotonic() + DISCOVERY_S, False
        while not self._told.is_set():
            now = sum(p.get_subscription_count() for p in self._publishers.values())
            if now != connected:
                # Those of other topics follow soon after the first.
                connected, until = now, time.monotonic() + DISCOVERY_S
            if time.monotonic() >= until:
                if connected or not self._wait_for_subscribers:
                    return
                if not said:
                    print('waiting for subscribers', file=sys.stderr)
                    said = True
            self._tick(self._begin_ns)
            self._told.wait(0.02)

    def _play_once(self) -> None:
        self._tick(self._begin_ns)
        self._publish_latched()
        self._begun = self._next_tick = time.monotonic()
        messages = self._bag.messages(self._publishers, self._begin_ns, self._end_ns + 1)
        for message in messages:
            if not self._wait_until(message.log_time_ns):
                return
            self._publishers[message.topic].publish(message.data)
            self._played += 1
        # A bag whose messages are all of one moment would loop without a pause.
        self._wait_until(max(self._end_ns, self._begin_ns + 10**8 if self._loop else 0))

    def _publish_latched(self) -> None:
        """Publish what late subscribers would have been given at `begin_ns`."""
        latched = [name for name, offer in self._offers.items() if is_latched(offer)]
        held = {name: deque(maxlen=self._offers[name].depth or None) for name in latched}
        for message in self._bag.messages(latched, stop_ns=self._begin_ns):
            held[message.topic].append(message.data)
        for name, messages in held.items():
            for data in messages:
                self._publishers[name].publish(data)
                self._played += 1

    def _wait_until(self, log_time_ns: int) -> bool:
        """Wait until a time of the recording has come; return False when told to end."""
        due = self._begun + (log_time_ns - self._begin_ns) * 1e-9 / self._rate
        while True:
            now = time.monotonic()
            if self._progress.due:
                self._progress.show(self._describe(now))
            if self._clock and self._next_tick <= min(now, due):
                since = (self._next_tick - self._begun) * self._rate
                self._tick(self._begin_ns + round(since * 1e9))
                self._next_tick += self._clock_period_s
            elif now >= due:
                return not self._told.is_set()
            else:
                wake = min(due, self._next_tick) if self._clock else due
                # Not longer than the line of progress may stand still.
                if self._told.wait(min(1.0, max(0.0, wake - now))):
                    return False

    def _tick(self, time_ns: int) -> None:
        if self._clock:
            sec, nanosec = divmod(time_ns, 10**9)
            self._clock.publish(Clock(clock=Time(sec=sec, nanosec=nanosec)))

    def _describe(self, now: float) -> str:
        at = (now - self._begun) * self._rate + (self._begin_ns - self._bag.start_ns) * 1e-9
        return (
            f'playing {self._bag.path}: {at:.0f} of {self._bag.duration_s:.0f} s, '
            f'{self._played} messages'
        )


if __name__ == '__main__':
    sys.exit(main())
