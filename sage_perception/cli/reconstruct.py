# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""`sage reconstruct`: show images beside their reconstructions."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from sage_perception.cli.encode import add_image_arguments
from sage_perception.cli.terminal import Parser, examples, report_errors
from sage_perception.codecs.images import (
    assemble,
    crops_of,
    decode_images,
    encode_images,
    squares,
)
from sage_perception.core.metrics import psnr, ssim
from sage_perception.core.progress import track
from sage_perception.models import load_codec
from sage_perception.vision.grid import grid
from sage_perception.vision.image_file import read_bgr, write_image


@report_errors('sage reconstruct')
def main(argv: Sequence[str] | None = None) -> int:
    """Run `sage reconstruct`; return the exit code."""
    args = parser().parse_args(argv)
    columns, captions = [], []
    codec = load_codec(args.model)
    images = [read_bgr(path) for path in track(args.images, 'reading images')]
    names = [path.name for path in args.images]
    encoded = encode_images(codec, names, images, args.tiles)
    x = crops_of(images, squares(names, images, codec.input_size, args.tiles), codec)
    pairs = zip(assemble(x, encoded), decode_images(codec, encoded), strict=True)
    for name, (before, after) in zip(names, pairs, strict=True):
        figures = f'{psnr(before, after):.2f} dB', f'SSIM {ssim(before, after):.3f}'
        columns.append([before, after])
        captions.append([name, *figures])
        print(f'{name}: PSNR {", ".join(figures)}')
    write_image(args.output, grid(columns, captions))
    return 0


def parser() -> Parser:
    """Return the parser of `sage reconstruct`."""
    parser = Parser(
        prog='sage reconstruct',
        description='Encode and decode images, print PSNR and SSIM, and write a sheet of the '
        'images above their reconstructions.',
        epilog=examples('sage reconstruct image.png -o sheet.png'),
    )
    add_image_arguments(parser)
    parser.add_argument(
        '-o', '--output', type=Path, required=True, metavar='SHEET.png', help='image to write'
    )
    return parser
