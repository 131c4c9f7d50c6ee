# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""`sage export`: export a training run as a model folder."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from sage_perception.cli.terminal import Parser, examples, report_errors
from sage_perception.core.progress import progress

DESCRIPTION = (
    'Export a training run as a model folder: weights, ONNX graphs, principal components and '
    'configuration. Files in the folder that were fitted to another model are deleted.'
)


def parser() -> Parser:
    """Return the parser of `sage export`."""
    parser = Parser(
        prog='sage export',
        description=DESCRIPTION,
        epilog=examples(
            'sage export config/train/tinyvae.yaml --run out/train/tinyvae --to my_model'
        ),
    )
    parser.add_argument('config', type=Path, help='training configuration of the run')
    parser.add_argument(
        '--run', type=Path, required=True, metavar='FOLDER', help='run folder with last.ckpt'
    )
    parser.add_argument(
        '--to', type=Path, required=True, metavar='FOLDER', help='model folder to write'
    )
    return parser


@report_errors('sage export')
def main(argv: Sequence[str] | None = None) -> int:
    """Run `sage export`; return the exit code."""
    args = parser().parse_args(argv)
    # These imports take seconds: the arguments are checked before.
    from sage_perception.models import artifact
    from sage_perception.training.config import read_config
    from sage_perception.training.export.export import DERIVED_FILES, export

    config = read_config(args.config)
    with progress('exporting'):
        stale = export(config, args.run, args.to)
    print(f'exported: {artifact.read(args.to).id} in {args.to}')
    for file in stale:
        print(f'removed {file} of the previous model; to make it again: {DERIVED_FILES[file]}')
    return 0
