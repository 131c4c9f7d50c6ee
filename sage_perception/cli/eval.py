# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""`sage eval`: evaluate models on images and clips."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path

from sage_perception.cli.terminal import Parser, examples, positive_int, report_errors

DESCRIPTION = (
    'Evaluate models on crops of images and clips, and compare them with principal '
    'components, image codecs and the encodings of their latents. Figures depend on how crops '
    'are cut: use the same options for every model.'
)


def parser() -> Parser:
    """Return the parser of `sage eval`."""
    parser = Parser(
        prog='sage eval',
        description=DESCRIPTION,
        epilog=examples(
            'sage eval tinyvae --data my_images',
            'sage eval tinyvae my_model --data my_images --plot rates.png',
        ),
    )
    parser.add_argument('models', nargs='+', metavar='MODEL', help='name or folder of a model')
    parser.add_argument(
        '--data',
        type=Path,
        required=True,
        metavar='PATH',
        help='folder of images, clips and bags, or one such file',
    )
    parser.add_argument(
        '--held-out',
        type=Path,
        metavar='CONFIG',
        help='use only the files that this training configuration holds out',
    )
    parser.add_argument(
        '--crops',
        type=positive_int,
        default=1000,
        metavar='N',
        help='number of crops of each kind (default: 1000)',
    )
    parser.add_argument(
        '--crop',
        type=positive_int,
        metavar='PIXELS',
        help='required side of the crops; fail if a model takes others',
    )
    parser.add_argument('--native', action='store_true', help='cut crops without scaling')
    parser.add_argument(
        '--probe',
        type=Path,
        metavar='FOLDER',
        help='folder with one folder of images per class; report the accuracy of a linear '
        'classifier',
    )
    parser.add_argument(
        '--plot', type=Path, metavar='FILE.png', help='plot quality over bytes, and report it'
    )
    parser.add_argument(
        '--backend', default='auto', help='auto, torch or onnxruntime (default: auto)'
    )
    parser.add_argument(
        '--json',
        action='store_true',
        help='print the report as JSON, a list for several models',
    )
    return parser


@report_errors('sage eval')
def main(argv: Sequence[str] | None = None) -> int:
    """Run `sage eval`; return the exit code."""
    args = parser().parse_args(argv)
    # These imports take seconds: the arguments are checked before.
    from sage_perception.evaluation.evaluate import evaluate_models, load_models
    from sage_perception.reports import rate_distortion
    from sage_perception.reports.tables import evaluation_tables
    from sage_perception.training.losses import perceptual

    if not perceptual.installed():
        print(
            f'sage eval: without the perceptual distance, which requires: {perceptual.FIX}',
            file=sys.stderr,
        )
    codecs = load_models(args.models, args.backend, args.crop)
    if args.plot:
        rate_distortion.check_plot(codecs, args.plot)
    reports = evaluate_models(
        codecs,
        args.data,
        args.crops,
        args.held_out,
        args.native,
        args.probe,
        rates=args.plot is not None,
    )
    if args.plot:
        rate_distortion.plot(reports, args.plot)
    if args.json:
        print(json.dumps(reports[0] if len(reports) == 1 else reports))
    else:
        print(evaluation_tables(reports))
    return 0
