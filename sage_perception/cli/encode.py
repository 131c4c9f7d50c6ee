# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""`sage encode`: encode image files to latents."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from sage_perception.cli.terminal import Parser, examples, report_errors
from sage_perception.codecs.encoded_images import EncodedImages
from sage_perception.codecs.images import encode_images
from sage_perception.core.progress import progress, track
from sage_perception.models import load_codec
from sage_perception.vision.image_file import read_bgr


@report_errors('sage encode')
def main(argv: Sequence[str] | None = None) -> int:
    """Run `sage encode`; return the exit code."""
    own = parser()
    args = own.parse_args(argv)
    if not (args.print or args.output):
        own.error('no output: use --print, -o FILE.npz, or both')
    codec = load_codec(args.model)
    images = [read_bgr(path) for path in track(args.images, 'reading images')]
    with progress('encoding'):
        encoded = encode_images(codec, [p.name for p in args.images], images, args.tiles)
    if args.output:
        encoded.save(args.output)
    if args.print:
        _print_latents(encoded)
    if args.output:
        shape = '×'.join(map(str, encoded.latents.shape[1:]))
        print(f'{args.output}: {len(encoded.latents)} latents of shape {shape} by {encoded.model}')
    return 0


def parser() -> Parser:
    """Return the parser of `sage encode`."""
    parser = Parser(
        prog='sage encode',
        description='Encode image files to latents of a model, and print them or write them to a '
        'file for `sage decode`.',
        epilog=examples(
            'sage encode image.png --print', 'sage encode *.jpg --tiles -o latents.npz'
        ),
    )
    add_image_arguments(parser)
    parser.add_argument('--print', action='store_true', help='print the latents')
    parser.add_argument(
        '-o', '--output', type=Path, metavar='FILE.npz', help='write the latents to this file'
    )
    return parser


def add_image_arguments(parser: Parser) -> None:
    """Add the arguments that `sage encode` and `sage reconstruct` share."""
    parser.add_argument('images', nargs='+', type=Path, metavar='IMAGE', help='image file')
    parser.add_argument(
        '--model', default='tinyvae', help='name or folder of the model (default: tinyvae)'
    )
    parser.add_argument(
        '--tiles',
        action='store_true',
        help='cover each image with tiles at its own scale (default: its center square, scaled)',
    )


def _print_latents(encoded: EncodedImages) -> None:
    for z, (x, y, width, height), owner in zip(
        encoded.latents, encoded.rois, encoded.owners, strict=True
    ):
        values = np.array2string(
            z, precision=3, suppress_small=True, max_line_width=99, threshold=sys.maxsize
        )
        print(f'{encoded.names[owner]} {width}x{height}+{x}+{y}\n{values}')
