# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""`sage decode`: decode latents to images."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from sage_perception.cli.terminal import Parser, examples, report_errors
from sage_perception.codecs.encoded_images import EncodedImages
from sage_perception.codecs.images import decode_images
from sage_perception.models import ModelError, available, load_codec
from sage_perception.vision.grid import grid
from sage_perception.vision.image_file import write_image


@report_errors('sage decode')
def main(argv: Sequence[str] | None = None) -> int:
    """Run `sage decode`; return the exit code."""
    args = parser().parse_args(argv)
    encoded = EncodedImages.read(args.latents)
    if not args.model and encoded.model.name not in available():
        raise ModelError(
            f'{args.latents}: made by {encoded.model}, which is not a model of this package '
            f'({", ".join(available())}): select its folder with --model FOLDER'
        )
    codec = load_codec(args.model or encoded.model.name)
    try:
        images = decode_images(codec, encoded)
    except ModelError as error:
        raise ModelError(f'{args.latents}: {error}') from error
    write_image(args.output, grid([[image] for image in images], [[n] for n in encoded.names]))
    print(f'{args.output}: {len(images)} images')
    return 0


def parser() -> Parser:
    """Return the parser of `sage decode`."""
    parser = Parser(
        prog='sage decode',
        description='Decode the latents of `sage encode` and write all images on one sheet.',
        epilog=examples('sage decode latents.npz -o sheet.png'),
    )
    parser.add_argument('latents', type=Path, metavar='FILE.npz', help='file of `sage encode`')
    parser.add_argument(
        '-o', '--output', type=Path, required=True, metavar='SHEET.png', help='image to write'
    )
    parser.add_argument(
        '--model', help='name or folder of the model (default: the model that made the latents)'
    )
    return parser
