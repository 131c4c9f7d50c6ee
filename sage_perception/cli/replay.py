# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""`sage replay`: publish the messages of a bag."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from sage_perception.bringup.environment import dds_environment
from sage_perception.cli.terminal import (
    Parser,
    examples,
    non_negative,
    positive,
    regex,
    report_errors,
    stop_requested,
)

DEFAULT_CLOCK_HZ = 40.0


@report_errors('sage replay')
def main(argv: Sequence[str] | None = None) -> int:
    """Run `sage replay`; return 0 at the end or after a signal, 2 for invalid usage."""
    args = parser().parse_args(argv)
    # These imports take seconds: the arguments are checked before.
    import rclpy
    from rclpy.signals import SignalHandlerOptions

    from sage_perception.bags.reader import open_bag
    from sage_perception.bags.replay import ReplayOptions, replay

    options = ReplayOptions(
        rate=args.rate,
        loop=args.loop,
        clock_hz=args.clock,
        start_offset_s=args.start_offset,
        duration_s=args.duration,
        topics=tuple(map(_absolute, args.topics or ())),
        exclude=args.exclude,
        remap=dict(args.remap),
        wait_for_subscribers=args.wait_for_subscribers,
    )
    os.environ.update(dds_environment(os.environ))
    with stop_requested() as stop, open_bag(args.bag) as bag:
        rclpy.init(args=[], signal_handler_options=SignalHandlerOptions.NO)
        try:
            count = replay(bag, options, stop, _log)
        finally:
            rclpy.try_shutdown()
    print(f'{args.bag}: {count} messages published')
    return 0


def parser() -> Parser:
    """Return the parser of `sage replay`."""
    parser = Parser(
        prog='sage replay',
        description='Publish the messages of a bag with the timing and the QoS of the recording. '
        'Topics whose types are not installed, or have other fields, are skipped with a message.\n'
        '\n'
        'Renamed topics in bags of earlier releases are published under their current names '
        '(*/deltas as */residuals, */probes as */probe_latents), with a message for each. To keep '
        'an old name, remap the topic to itself.',
        epilog=examples(
            'sage replay bag --clock --loop',
            'sage replay bag --topics /cam0/crops --rate 0.5',
            'sage replay bag --remap /cam0/deltas:=/cam0/deltas',
        ),
        allow_abbrev=False,
    )
    add = parser.add_argument
    add('bag', metavar='BAG', type=Path, help='bag directory, .mcap file or .db3 file')
    add(
        '-r',
        '--rate',
        metavar='R',
        type=positive,
        default=1.0,
        help='speed relative to the recording (default: 1)',
    )
    add('-l', '--loop', action='store_true', help='start again at the end')
    add(
        '--clock',
        metavar='HZ',
        type=positive,
        nargs='?',
        const=DEFAULT_CLOCK_HZ,
        help='publish the time of the recording on /clock, for nodes with use_sim_time '
        f'(default rate: {DEFAULT_CLOCK_HZ:g} Hz)',
    )
    add(
        '--start-offset',
        metavar='S',
        type=non_negative,
        default=0.0,
        help='skip the first S seconds (default: 0)',
    )
    add('-d', '--duration', metavar='S', type=positive, help='publish S seconds of the bag')
    add('--topics', metavar='TOPIC', nargs='+', action='extend', help='publish only these topics')
    add(
        '-x',
        '--exclude',
        metavar='REGEX',
        type=regex,
        help='exclude topics that contain a match of a regular expression',
    )
    add(
        '--remap',
        metavar='OLD:=NEW',
        nargs='+',
        action='extend',
        type=_remapping,
        default=[],
        help='publish topics under other names',
    )
    add(
        '--wait-for-subscribers',
        action='store_true',
        help='start when a published topic has a subscriber',
    )
    return parser


def _remapping(text: str) -> tuple[str, str]:
    old, separator, new = text.partition(':=')
    if not (separator and old and new):
        raise argparse.ArgumentTypeError(f'{text!r} is not OLD:=NEW')
    from rclpy.exceptions import InvalidTopicNameException
    from rclpy.validate_full_topic_name import validate_full_topic_name

    try:
        validate_full_topic_name(_absolute(new))
    except InvalidTopicNameException as error:
        reason = str(error).splitlines()[0]
        raise argparse.ArgumentTypeError(f'{new!r} is not a valid topic name: {reason}') from None
    return _absolute(old), _absolute(new)


def _absolute(topic: str) -> str:
    return topic if topic.startswith('/') else f'/{topic}'


def _log(text: str) -> None:
    print(f'sage replay: {text}', file=sys.stderr)
