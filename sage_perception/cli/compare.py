# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""`sage compare`: replay bags with several models or parameter files, side by side."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from sage_perception.cli.terminal import (
    EXIT_USAGE,
    Parser,
    examples,
    report_errors,
    stop_requested,
)
from sage_perception.core.progress import StatusLine
from sage_perception.core.threads import bound_blas_threads

if TYPE_CHECKING:
    from sage_perception.regression.variants import Variant


@report_errors('sage compare')
def main(argv: Sequence[str] | None = None) -> int:
    """Run `sage compare`; return 0, or 2 for invalid usage and after an interrupt."""
    args = parser().parse_args(argv)
    bound_blas_threads()
    # These imports take seconds: the arguments are checked before.
    from sage_perception.codecs.latent_decoder import LatentDecoder
    from sage_perception.regression.variants import compare_variants, variants
    from sage_perception.reports.figures import check_figure_file
    from sage_perception.reports.html.render import check_report_file, write_report
    from sage_perception.reports.variant_moments import VariantMoments
    from sage_perception.reports.variants import plot_variants, variants_report, variants_table

    compared = variants(args.models or (), args.params or ())
    if args.html is not None:
        check_report_file('--html', args.html)
    if args.plot is not None:
        check_figure_file('--plot', args.plot)
    images = VariantMoments(args.bags) if args.html else None
    line = StatusLine()

    def show(bag: Path, variant: Variant, share: float) -> None:
        if line.due:
            line.show(f'replaying {bag} with {variant.name}: {share:.0%}')

    with stop_requested() as stop:
        observe = (lambda bag, variant: ()) if images is None else images.observers
        results = compare_variants(args.bags, compared, observe, show, stop)
        line.end()
        if stop.is_set():
            print('sage compare: interrupted', file=sys.stderr)
            return EXIT_USAGE
    for note in dict.fromkeys(note for result in results for note in result.replay.notes):
        print(f'sage compare: {note}', file=sys.stderr)
    if args.plot:
        plot_variants(results, args.plot)
    if images is not None:
        decoder = LatentDecoder(args.models or ())
        write_report(variants_report(results, images.moments(decoder)), args.html)
        print(f'sage compare: report: {args.html}', file=sys.stderr)
    if args.json:
        print(json.dumps([result.as_dict() for result in results], indent=2))
    else:
        print(variants_table(results))
    return 0


def parser() -> Parser:
    """Return the parser of `sage compare`."""
    parser = Parser(
        prog='sage compare',
        description='Replay bags offline with several models, several parameter files, or all '
        'combinations of both, and print quality, bytes, agreements and times side by side.',
        epilog=examples(
            'sage compare bag --models tinyvae tinyvae_128',
            'sage compare bag --params today.yaml tomorrow.yaml --html report.html',
            'sage compare bag1 bag2 --models tinyvae my_model --plot quality.png',
        ),
    )
    add = parser.add_argument
    add('bags', metavar='BAG', nargs='+', type=Path, help='bag directory, .mcap or .db3 file')
    add('--models', metavar='MODEL', nargs='+', help='names or folders of models of crops')
    add('--params', metavar='FILE', nargs='+', type=Path, help='parameter files of the nodes')
    add('--plot', metavar='FILE.png', type=Path, help='plot quality over bytes, and times')
    add(
        '--html',
        metavar='FILE.html',
        type=Path,
        help='write a report with plots over time, crops and reconstructions',
    )
    add('--json', action='store_true', help='print the results as JSON')
    return parser
