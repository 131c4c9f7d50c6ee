# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""`sage record`: record topics into a bag, or repair a bag."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from sage_perception.bringup.environment import dds_environment
from sage_perception.cli.terminal import (
    EXIT_FAILED,
    Parser,
    examples,
    positive,
    regex,
    report_errors,
    stop_requested,
)
from sage_perception.core.progress import progress
from sage_perception.core.text import counted

if TYPE_CHECKING:
    from sage_perception.bags.record import Recording

COMPRESSIONS = ('none', 'lz4', 'zstd')
"""The keys of `bags.writer.COMPRESSIONS`, whose module imports ROS."""


@report_errors('sage record')
def main(argv: Sequence[str] | None = None) -> int:
    """Run `sage record`; return 0 after a signal, 1 if writing failed, 2 for invalid usage."""
    own = parser()
    args = own.parse_args(argv)
    if args.repair:
        return _repair(args.repair)
    # These imports take seconds: the arguments are checked before.
    import rclpy
    from rclpy.signals import SignalHandlerOptions

    from sage_perception.bags.record import BagWriteError, RecordOptions, record
    from sage_perception.ros.allocator import SMALL_MMAP_THRESHOLD, configure_allocator

    if not (args.topics or args.all or args.regex):
        own.error('nothing to record: name topics, or use --all or --regex')
    path = args.output or Path(time.strftime('bag_%Y_%m_%d-%H_%M_%S'))
    options = RecordOptions(
        topics=tuple(args.topics),
        all=args.all,
        regex=args.regex,
        exclude=args.exclude,
        duration_s=args.duration,
        compression=args.compression,
    )
    os.environ.update(dds_environment(os.environ))
    # The recorder subscribes again when publishers with other QoS appear.
    configure_allocator(SMALL_MMAP_THRESHOLD)
    with stop_requested() as stop:
        rclpy.init(args=[], signal_handler_options=SignalHandlerOptions.NO)
        try:
            recording = record(path, options, stop, _log)
        except BagWriteError as error:
            _log(str(error))
            return EXIT_FAILED
        finally:
            rclpy.try_shutdown()
    _print_summary(recording)
    return 0


def parser() -> Parser:
    """Return the parser of `sage record`."""
    parser = Parser(
        prog='sage record',
        description='Record topics of any type into an MCAP bag that `ros2 bag` reads, until '
        'Ctrl-C. If the recorder is killed, --repair makes its bag readable.',
        epilog=examples(
            'sage record /cam0/lcts /cam1/lcts -o bag',
            'sage record --all --exclude image -o bag',
            'sage record --repair bag',
        ),
        allow_abbrev=False,
    )
    add = parser.add_argument
    add('topics', metavar='TOPIC', nargs='*', help='topics to record; they need not exist yet')
    add('-a', '--all', action='store_true', help='record all topics that are not hidden')
    add(
        '-e',
        '--regex',
        metavar='REGEX',
        type=regex,
        help='record topics that contain a match of a regular expression',
    )
    add(
        '-x',
        '--exclude',
        metavar='REGEX',
        type=regex,
        help='exclude topics that contain a match, of those that --all and --regex select',
    )
    add(
        '-o',
        '--output',
        metavar='DIR',
        type=Path,
        help='directory of the bag, which must not exist (default: bag_DATE-TIME)',
    )
    add('-d', '--duration', metavar='S', type=positive, help='stop after S seconds')
    add(
        '--compression',
        choices=COMPRESSIONS,
        default='none',
        help='compression of the bag: none uses the least CPU, zstd the most (default: none)',
    )
    add(
        '--repair',
        metavar='BAG',
        type=Path,
        help='rewrite the damaged files of a bag and its metadata, keep the originals, and exit',
    )
    return parser


def _repair(path: Path) -> int:
    from sage_perception.bags.reader import open_bag
    from sage_perception.bags.repair import repair

    with progress(f'repairing {path}'):
        result = repair(path)
    print(f'{path} is repaired')
    if result.damaged:
        verb = 'is' if result.damaged == 1 else 'are'
        print(f'{counted(result.damaged, "incomplete or damaged record")} {verb} left out')
    for original in result.originals:
        print(f'the original is kept as {original}')
    with open_bag(path) as bag:
        print(f'{path}: {bag.count} messages, {bag.duration_s:.1f} s')
        for name, topic in sorted(bag.topics.items()):
            print(f'  {name} ({topic.type_name}): {topic.count}')
    return 0


def _log(text: str) -> None:
    print(f'sage record: {text}', file=sys.stderr)


def _print_summary(recording: Recording) -> None:
    bag, lost = recording.bag, recording.lost
    size = f'{bag.size / 1e6:.1f} MB'
    print(f'{bag.path}: {bag.count} messages, {bag.duration_s:.1f} s, {size}')
    for name, topic in sorted(bag.topics.items()):
        missed = f', {lost[name]} lost' if name in lost else ''
        print(f'  {name} ({topic.type_name}): {topic.count}{missed}')
