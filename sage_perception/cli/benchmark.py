# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""`sage benchmark`: measure frame rate, latency, CPU, memory and power on this machine."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from sage_perception.bringup.composition import MODES
from sage_perception.cli.terminal import (
    EXIT_FAILED,
    Parser,
    examples,
    positive,
    positive_int,
    report_errors,
)
from sage_perception.core.files import write_atomically


@report_errors('sage benchmark')
def main(argv: Sequence[str] | None = None) -> int:
    """Run `sage benchmark`; return 0, or 1 if a configuration could not be measured."""
    options = parser().parse_args(argv)
    if options.footage is not None and not options.footage.is_file():
        raise ValueError(f'--footage {options.footage}: no such file; give a video')
    if options.params_file is not None and not options.params_file.is_file():
        raise ValueError(f'--params-file {options.params_file}: no such file')
    # These imports take seconds: the arguments are checked before.
    from sage_perception.benchmark.footage import check_video, render_video
    from sage_perception.benchmark.machine import benchmark, markdown

    if options.footage is not None:
        check_video(options.footage)
    video = options.footage or render_video(options.out.parent / 'benchmark.avi')
    report = benchmark(
        video,
        options.cameras,
        options.rate,
        options.composed,
        options.duration,
        options.params_file,
        _show,
    )
    write_atomically(options.out, json.dumps(report, indent=2) + '\n')
    table = options.out.with_suffix('.md')
    write_atomically(table, markdown(report) + '\n')
    print(markdown(report))
    print(f'\n{options.out} has all figures, {table} this table')
    return EXIT_FAILED if any('error' in run for run in report['runs']) else 0


def parser() -> Parser:
    """Return the parser of `sage benchmark`."""
    parser = Parser(
        prog='sage benchmark',
        description='Run the graph on a video and measure this machine: encoded frames per '
        'second, latency from the source to the latents and to the fused LCTs, CPU and memory '
        '(PSS) by process and node, and power (tegrastats on a Jetson, else RAPL). Stop other '
        'programs before.',
        epilog=examples(
            'sage benchmark',
            'sage benchmark --cameras 4 --rate 30 60 --composed graph camera',
        ),
    )
    add = parser.add_argument
    add('--cameras', type=positive_int, default=2, metavar='N', help='cameras (default: 2)')
    add(
        '--rate',
        type=positive,
        nargs='+',
        default=[30.0],
        metavar='HZ',
        help='rates of the cameras; each is measured (default: 30)',
    )
    add(
        '--composed',
        nargs='+',
        choices=MODES,
        default=['graph', 'none'],
        metavar='MODE',
        help='processes: graph (one), camera (one per camera) and none (one per node); each is '
        'measured (default: graph none)',
    )
    add('--duration', type=positive, default=20.0, metavar='S', help='of a run (default: 20)')
    add('--footage', type=Path, metavar='VIDEO', help='video to play (default: a rendered one)')
    add('--params-file', type=Path, metavar='FILE', help='parameter file of the nodes')
    add(
        '--out',
        type=Path,
        default=Path('out/benchmark/benchmark.json'),
        metavar='FILE',
        help='report; a Markdown table is written beside it (default: '
        'out/benchmark/benchmark.json)',
    )
    return parser


def _show(run: Mapping[str, Any]) -> None:
    """Print one line about a finished run to stderr."""
    name = f'{run["cameras"]} cameras, {run["rate_hz"]:g} Hz, composed {run["composition"]}'
    result = run.get('error') or f'{run["fps"]} Hz encoded, p95 {run["p95_ms"]} ms'
    print(f'{name}: {result}', file=sys.stderr)


if __name__ == '__main__':
    sys.exit(main(None))
