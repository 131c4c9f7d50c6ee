# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""The arguments and the output of `sage demo`."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

from sage_perception.cli.terminal import EXIT_FAILED, Parser, examples, positive, report_errors


def parser() -> Parser:
    """Return the parser of `sage demo`."""
    parser = Parser(
        prog='sage demo',
        description='Run the two-camera graph on a video: cam0 plays it, and cam1 plays a '
        'shifted, scaled and brighter part of it synchronously. The demo records all topics '
        'except the raw images, replays the crops to new encoders, runs again while cam1 pans '
        'and shakes, compares the graph in one process with one process per node, and writes an '
        'HTML report, figures, images and the bags to the output folder.',
        epilog=examples('sage demo --footage people.avi --out out/demo'),
    )
    parser.add_argument(
        '--footage',
        type=Path,
        required=True,
        metavar='PATH',
        help='a video, or a folder with videos (vtest.avi is preferred)',
    )
    parser.add_argument(
        '--out',
        type=Path,
        default=Path('out/demo'),
        metavar='FOLDER',
        help='output folder (default: out/demo)',
    )
    parser.add_argument(
        '--duration',
        type=positive,
        default=20.0,
        metavar='SECONDS',
        help='duration of the first recording (default: 20); the others are shorter',
    )
    return parser


@report_errors('sage demo')
def main(argv: Sequence[str] | None = None) -> int:
    """Run `sage demo`; return 0, or 1 if the demo failed."""
    args = parser().parse_args(argv)
    # These imports take seconds: the arguments are checked before.
    from sage_perception.cli.demo.footage import DemoError, find_video
    from sage_perception.cli.demo.run import run_demo

    console = Console()
    try:
        summary = run_demo(find_video(args.footage), args.out, args.duration, console)
    except DemoError as error:
        print(f'sage demo: {error}', file=sys.stderr)
        return EXIT_FAILED
    _show(summary, args.out, console)
    return 0


def _show(summary: dict[str, Any], out: Path, console: Console) -> None:
    """Print the most important figures."""
    for name, camera in summary['cameras'].items():
        latency = camera['latency_ms']
        console.print(
            f'{name}: {camera["frames_attended"]} of {camera["frames_published"]} frames '
            f'processed, {camera["latents"]} latents, latency p50 {latency["p50"]} ms, '
            f'p95 {latency["p95"]} ms'
        )
        replay = summary['replay'][name]
        console.print(
            f'      replay: {replay["identical"]} of {replay["latents_recorded"]} latents '
            'identical'
        )
    moving = summary['moving']
    for name, scene in (('standing', summary), ('moving', moving)):
        both, camera = scene['seen_by_both'], scene['cameras']['cam1']
        found = '-' if both['found'] is None else f'{both["found"]:.0%}'
        console.print(
            f'cam1 {name}: {camera["frames_attended"]} of {camera["frames_published"]} frames '
            f'processed, p95 {camera["latency_ms"]["p95"]} ms, {found} of {both["objects"]} '
            f'moving regions of cam0 found, {both["unmatched_per_frame"]} others per frame'
        )
    for name, figures in summary['composition'].items():
        console.print(
            f'{name} (without recorder): {figures["attended"]:.1%} of the frames encoded, p95 '
            f'{figures["p95_ms"]} ms, {figures["cpu_percent"]} % of a core, '
            f'{figures["pss_mb"]} MB'
        )
    agreements = summary['agreements']
    console.print(f'agreements: {agreements["high"]} HIGH, {agreements["low"]} LOW')
    for image in summary['images']:
        console.print(f'image: {image}')
    console.print(f'report: {summary["report"]}')
    console.print(f'all figures: {out}/summary.json')
