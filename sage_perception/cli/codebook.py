# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""`sage codebook`: train the codebook of a model."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from sage_perception.cli.terminal import Parser, describe, examples, positive_int, report_errors
from sage_perception.core.npz_file import read_npy

DESCRIPTION = (
    'Train the codebook that quantizes the latents of a model to tokens, and write it to the '
    'model folder. The codebook is trained on crops of the training files and evaluated on '
    'held-out files.'
)


def named_latents(text: str) -> tuple[str, np.ndarray]:
    """Return an argument `NAME=FILE.npy` as a name and latents, float32 `[N, D]`."""
    name, _, file = text.partition('=')
    if not name or not file:
        raise argparse.ArgumentTypeError(f'{text!r} is not NAME=FILE.npy')
    try:
        z = read_npy(Path(file))
    except OSError as error:
        raise argparse.ArgumentTypeError(describe(error)) from None
    except ValueError:
        raise argparse.ArgumentTypeError(f'{file} is not an .npy file of numbers') from None
    if z.ndim != 2 or z.dtype.kind != 'f' or len(z) < 2:
        shape = f'{z.dtype} {list(z.shape)}'
        raise argparse.ArgumentTypeError(f'{file} holds {shape}; latents are float32 [N, D]')
    return name, z.astype(np.float32)


def parser() -> Parser:
    """Return the parser of `sage codebook`."""
    parser = Parser(
        prog='sage codebook',
        description=DESCRIPTION,
        epilog=examples('sage codebook my_model config/train/tinyvae.yaml --levels 8'),
    )
    parser.add_argument('model', help='name or folder of the model')
    parser.add_argument('config', type=Path, help='training configuration of the model')
    parser.add_argument(
        '--levels',
        type=positive_int,
        default=8,
        metavar='N',
        help='maximum number of tokens per latent (default: 8)',
    )
    parser.add_argument(
        '--crops',
        type=positive_int,
        default=96_000,
        metavar='N',
        help='number of training crops (default: 96000)',
    )
    parser.add_argument(
        '--latents',
        type=named_latents,
        action='append',
        default=[],
        metavar='NAME=FILE.npy',
        help='also train on latents of another modality in the same space, float32 [N, D]',
    )
    parser.add_argument('--json', action='store_true', help='print the report as JSON')
    return parser


@report_errors('sage codebook')
def main(argv: Sequence[str] | None = None) -> int:
    """Run `sage codebook`; return the exit code."""
    args = parser().parse_args(argv)
    # These imports take seconds: the arguments are checked before.
    from sage_perception.evaluation.codebook import evaluate_codebook
    from sage_perception.models import load_crop_codec
    from sage_perception.reports.codebook import codebook_table
    from sage_perception.training.codebook import CODES, train_for_model
    from sage_perception.training.config import read_config

    if args.crops < CODES and not args.latents:
        raise ValueError(
            f'--crops is {args.crops}; at least {CODES} are required, one for each code'
        )
    data = read_config(args.config).data
    codec = load_crop_codec(args.model)
    trained = train_for_model(codec, data, args.levels, args.crops, dict(args.latents))
    report = evaluate_codebook(codec, trained)
    print(json.dumps(report) if args.json else f'{codebook_table(report)}\n{trained.path}')
    return 0
