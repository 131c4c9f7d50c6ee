# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""`sage watch`: judge a timeline on a running graph."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from sage_perception.bringup.environment import dds_environment
from sage_perception.cli.terminal import (
    EXIT_FAILED,
    EXIT_USAGE,
    Parser,
    examples,
    positive,
    report_errors,
    stop_requested,
)


@report_errors('sage watch')
def main(argv: Sequence[str] | None = None) -> int:
    """Run `sage watch`; return 0 if all expectations are met, 1 if not, 2 if it cannot judge."""
    args = parser().parse_args(argv)
    # These imports take seconds: the arguments are checked before.
    import rclpy
    from rclpy.exceptions import InvalidNamespaceException
    from rclpy.signals import SignalHandlerOptions

    from sage_perception.regression.timeline import read_timeline
    from sage_perception.regression.watch import watch

    timeline = read_timeline(args.timeline)
    os.environ.update(dds_environment(os.environ))
    with stop_requested() as stop:
        rclpy.init(args=[], signal_handler_options=SignalHandlerOptions.NO)
        try:
            outcomes = watch(
                timeline,
                namespace=args.namespace,
                use_sim_time=args.use_sim_time,
                timeout_s=args.timeout,
                stop=stop,
                log=lambda text: print(f'sage watch: {text}', file=sys.stderr, flush=True),
            )
        except InvalidNamespaceException as error:
            raise ValueError(f'--namespace: {str(error).splitlines()[0]}') from None
        finally:
            rclpy.try_shutdown()
        if stop.is_set():
            print('sage watch: interrupted: no verdict', file=sys.stderr)
            return EXIT_USAGE
    passed = all(each.passed for each in outcomes)
    if args.json:
        expectations = [
            {'text': str(o.expectation), 'passed': o.passed, 'detail': o.detail} for o in outcomes
        ]
        verdict = {'verdict': 'pass' if passed else 'fail', 'expectations': expectations}
        print(json.dumps(verdict, indent=2))
    else:
        print('\n'.join([*map(str, outcomes), 'PASS' if passed else 'FAIL']))
    return 0 if passed else EXIT_FAILED


def parser() -> Parser:
    """Return the parser of `sage watch`."""
    parser = Parser(
        prog='sage watch',
        description='Judge the expectations of a timeline on a running graph. Start it before the '
        'recording is played: time 0 of the timeline is the first frame of a camera.\n'
        '\n'
        'The exit code is 0 if all expectations are met, 1 if one is not, 2 if no frame arrives.',
        epilog=examples(
            'sage watch walk.timeline.yaml --use-sim-time',
            'sage replay walk --clock --topics /cam0/image_raw  # in another terminal',
        ),
    )
    add = parser.add_argument
    add('timeline', metavar='TIMELINE', type=Path, help='file *.timeline.yaml')
    add('--namespace', metavar='NS', default='', help='namespace of the graph (default: none)')
    add('--use-sim-time', action='store_true', help='measure latencies on /clock')
    add(
        '--timeout',
        metavar='S',
        type=positive,
        default=30.0,
        help='time to wait for the first frame, seconds (default: 30)',
    )
    add('--json', action='store_true', help='print the verdicts as JSON')
    return parser
