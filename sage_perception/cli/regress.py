# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""`sage regress`: replay a bag offline and compare the result with its baseline."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from sage_perception.cli.terminal import (
    EXIT_FAILED,
    EXIT_USAGE,
    Parser,
    examples,
    report_errors,
    stop_requested,
)
from sage_perception.core.progress import StatusLine
from sage_perception.core.threads import bound_blas_threads

if TYPE_CHECKING:
    from sage_perception.regression.events import Observer
    from sage_perception.regression.regress import Regression
    from sage_perception.regression.replay import ReplayResult

STAGES = ('images', 'crops', 'lcts')
"""The values of `regression.sources.Stage`, whose module imports ROS."""


@report_errors('sage regress')
def main(argv: Sequence[str] | None = None) -> int:
    """Run `sage regress`; return 0 for a pass, 1 for a difference, 2 if it cannot judge."""
    args = parser().parse_args(argv)
    bound_blas_threads()
    # These imports take seconds: the arguments are checked before.
    from sage_perception.regression.baseline import baseline_path, read_baseline
    from sage_perception.regression.regress import Regression, regress, update_baseline
    from sage_perception.regression.replay import replay_bag
    from sage_perception.regression.sources import Stage
    from sage_perception.reports.html.render import check_report_file
    from sage_perception.ros.parameter_file import ParameterFile

    if args.html is not None:
        check_report_file('--html', args.html)
    progress = StatusLine()

    def show(share: float, frames: int) -> None:
        if progress.due:
            progress.show(f'replaying {args.bag}: {share:.0%}, {frames} frames')

    with stop_requested() as stop:
        options = {
            'model': args.model,
            'parameters': ParameterFile(args.params),
            'stage': None if args.stage is None else Stage(args.stage),
            'progress': show,
            'stop': stop,
        }
        if args.update:
            found = Regression(args.bag, replay_bag(args.bag, **options))
            path = args.baseline or baseline_path(args.bag)
            if path.exists():
                found.baseline = read_baseline(path)
        else:
            found = regress(args.bag, baseline=args.baseline, timelines=args.timeline, **options)
        progress.end()
        if stop.is_set():
            print('sage regress: interrupted: no verdict', file=sys.stderr)
            return EXIT_USAGE
    for note in found.result.notes:
        print(f'sage regress: {note}', file=sys.stderr)
    if args.update:
        path = update_baseline(found, args.baseline)
        print(f'{path}: baseline of {found.extent}')
        return 0
    if args.html is not None:
        _write_html(found, args)
    print(json.dumps(found.as_dict(), indent=2) if args.json else found.report)
    return 0 if found.passed else EXIT_FAILED


def _write_html(found: Regression, args: argparse.Namespace) -> None:
    """Write the report; the bag is replayed again for the images of the differences."""
    from sage_perception.codecs.latent_decoder import LatentDecoder
    from sage_perception.regression.replay import replay_bag
    from sage_perception.regression.sources import Stage
    from sage_perception.reports.html.render import write_report
    from sage_perception.reports.recorded_latency import recorded_latency
    from sage_perception.reports.regression import regression_moments, regression_report
    from sage_perception.ros.parameter_file import ParameterFile

    def replay(observers: Sequence[Observer]) -> ReplayResult:
        return replay_bag(
            args.bag,
            model=args.model,
            parameters=ParameterFile(args.params),
            stage=None if args.stage is None else Stage(args.stage),
            observers=observers,
            codes=False,
        )

    decoder = LatentDecoder([args.model] if args.model else [])
    moments = regression_moments(found, replay, decoder)
    write_report(regression_report(found, moments, recorded_latency(args.bag)), args.html)
    print(f'sage regress: report: {args.html}', file=sys.stderr)


def parser() -> Parser:
    """Return the parser of `sage regress`."""
    parser = Parser(
        prog='sage regress',
        description='Replay a bag through the pipeline of the nodes, offline and as fast as the '
        'machine allows, and compare the result with the baseline and the timelines beside the '
        'bag (BAG.baseline.json, BAG.timeline.yaml).\n'
        '\n'
        'Each camera is replayed from the earliest recorded stage: its images, else its crops, '
        'else its LCTs. The exit code is 0 for a pass, 1 for a difference, 2 if the bag cannot '
        'be judged.',
        epilog=examples(
            'sage regress bag --update',
            'sage regress bag',
            'sage regress bag --model tinyvae_128 --json',
            'sage regress bag --html report.html',
            'sage regress bag --params config/dual_camera.yaml --timeline walk.timeline.yaml',
        ),
    )
    add = parser.add_argument
    add('bag', metavar='BAG', type=Path, help='bag directory, .mcap file or .db3 file')
    add('--model', metavar='M', help='model of crops: a name, or the folder of an artifact')
    add('--params', metavar='FILE', type=Path, help='parameter file of the nodes')
    add(
        '--stage',
        choices=STAGES,
        help='replay all cameras from this recorded stage (default: the earliest of each)',
    )
    add(
        '--baseline',
        metavar='FILE',
        type=Path,
        help='baseline (default: BAG.baseline.json beside the bag)',
    )
    add('--update', action='store_true', help='write the baseline instead of comparing with it')
    add(
        '--timeline',
        metavar='FILE',
        type=Path,
        action='append',
        help='timeline; may be repeated (default: BAG*.timeline.yaml beside the bag)',
    )
    add('--json', action='store_true', help='print the verdict as JSON')
    add(
        '--html',
        metavar='FILE.html',
        type=Path,
        help='write a report with plots, and images around the differences',
    )
    return parser
