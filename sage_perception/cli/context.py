# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""`sage context`: record H contexts for the training and evaluation of compressors.

Clips, and montages of images, are played through attention, encoder, arbiter, memory, and context
builder as on a robot. A run is nine seconds of one to four virtual cameras: windows of the scene,
some of them mirrored, exposed differently, or delayed.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from sage_perception.cli.terminal import (
    Parser,
    examples,
    positive_int,
    report_errors,
    whole_number,
)
from sage_perception.core.files import make_folder


@report_errors('sage context')
def main(argv: Sequence[str] | None = None) -> int:
    """Run `sage context`; return the exit code."""
    args = parser().parse_args(argv)
    # These imports take seconds: the arguments are checked before.
    from sage_perception.training.config import read_config
    from sage_perception.training.contexts.dataset import joined
    from sage_perception.training.contexts.plan import (
        files_of,
        load_encoder,
        plan,
        record,
        recorded,
    )
    from sage_perception.training.data.files import file_filter

    config = args.training_files or args.held_out
    wanted = file_filter(read_config(config).data, bool(args.held_out)) if config else None
    clips, images = files_of(args.places, wanted)
    if args.montages and not images:
        raise ValueError('--montages needs images: add a folder with images')
    if not clips and not args.montages:
        places = ', '.join(map(str, args.places))
        raise ValueError(f'{places}: no clip to record; add one, or images and --montages N')
    runs = plan(clips, images, args.runs, args.montages)
    codec = load_encoder(args.model)
    make_folder(args.output.parent)  # before the recording, which takes long
    contexts = joined(recorded(runs, lambda run: record(run, codec, args.seed)))
    contexts.write(args.output)
    print(f'{len(contexts)} contexts of {len(runs)} runs written to {args.output}')
    return 0


def parser() -> Parser:
    """Return the parser of `sage context`."""
    epilog = examples('sage context record clips -o contexts.npz --runs 4')
    parser = Parser(prog='sage context', description='Record 4096-D H contexts.', epilog=epilog)
    commands = parser.add_subparsers(dest='command', required=True, metavar='COMMAND')
    command = commands.add_parser(
        'record',
        help='record contexts from clips and images',
        description=__doc__,
        epilog=epilog,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = command.add_argument
    add('places', nargs='+', type=Path, metavar='PATH', help='clips, or folders with clips')
    add('-o', '--output', required=True, type=Path, metavar='FILE', help='output file, .npz')
    add('--runs', type=positive_int, default=8, metavar='N', help='runs of each clip (default: 8)')
    add(
        '--montages',
        type=whole_number,
        default=0,
        metavar='N',
        help='runs of montages (default: 0)',
    )
    files = command.add_mutually_exclusive_group()
    files.add_argument(
        '--training-files',
        type=Path,
        metavar='CONFIG',
        help='use only the training files of a training configuration',
    )
    files.add_argument(
        '--held-out',
        type=Path,
        metavar='CONFIG',
        help='use only the held-out files of a training configuration',
    )
    add('--model', default='tinyvae', help='encoder (default: tinyvae)')
    add(
        '--seed',
        type=whole_number,
        default=0,
        metavar='N',
        help='seed of the random views (default: 0)',
    )
    return parser
