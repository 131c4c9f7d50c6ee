# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""`sage train`: train a model."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path

from sage_perception.cli.terminal import Parser, examples, report_errors

DESCRIPTION = (
    'Train a model. A run that was interrupted resumes from its last checkpoint; the result '
    'is the same as without the interruption. To train with several processes, start them '
    'with torchrun.'
)


def parser() -> Parser:
    """Return the parser of `sage train`."""
    parser = Parser(
        prog='sage train',
        description=DESCRIPTION,
        epilog=examples(
            'sage train config/train/tinyvae.yaml',
            'torchrun --nproc_per_node 2 -m sage_perception.cli.train config/train/tinyvae.yaml',
        ),
    )
    parser.add_argument('config', type=Path, help='training configuration')
    parser.add_argument(
        '--out', type=Path, metavar='FOLDER', help='run folder (default: out/train/NAME)'
    )
    return parser


@report_errors('sage train')
def main(argv: Sequence[str] | None = None) -> int:
    """Run `sage train`; return the exit code."""
    args = parser().parse_args(argv)
    # These imports take seconds: the arguments are checked before.
    from sage_perception.training.config import read_config

    config = read_config(args.config)
    # And so does that of Lightning: an invalid configuration is rejected before.
    from sage_perception.training.train import train

    out = args.out or Path('out/train') / config.name
    train(config, out)
    if os.environ.get('RANK', '0') == '0':
        print(f'trained: {out}')
        print(f'next: sage export {args.config} --run {out} --to FOLDER')
    return 0


if __name__ == '__main__':
    sys.exit(main(sys.argv[1:]))
