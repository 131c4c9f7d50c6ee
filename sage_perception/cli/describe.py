# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""`sage describe`: name the object in the center of images."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from sage_perception.cli.terminal import Parser, examples, positive_int, report_errors
from sage_perception.core.progress import track
from sage_perception.models import load_semantic
from sage_perception.models.semantic.nouns import MIN_CONFIDENCE
from sage_perception.models.semantic.semantic_text import Noun
from sage_perception.models.semantic.vocabulary import UNKNOWN
from sage_perception.vision.color_names import color_shares, main_color
from sage_perception.vision.crops import crop_image, square_roi
from sage_perception.vision.image_file import read_bgr

DESCRIPTION = """\
Print the nouns that fit the central square of images, each with a score, and the main color.

The first noun is the most specific one whose score is at least --min-score: "dog" where several \
breeds compete, and "animal" where little can be seen. An image without such a noun is "unknown". \
The score is the probability that the noun is true: 51% of small, blurred images (CIFAR-10) get a \
noun, and 83% of these nouns are right, at a mean score of 0.84; most of them are general ones. \
Lower --min-score for more specific nouns, of which more are wrong. With --nouns, the scores are \
those of a choice among the given nouns: their sum is 1, and they are too high on such images.

The nouns are the classes of ImageNet and their hypernyms in WordNet; people, for example, are \
not among them. The network runs on the CPU and needs the packages of requirements/semantic.txt.
"""


MIN_CHOSEN = 0.3
"""Least score of a noun in a choice among given ones."""


def center_square(image: np.ndarray, size: int) -> np.ndarray:
    """Return the central square of a BGR image, uint8 RGB `[size, size, 3]`."""
    height, width = image.shape[:2]
    roi = square_roi((width / 2, height / 2), min(width, height), width, height)
    return crop_image(image, roi, size, 'rgb')


def line(name: str, nouns: Sequence[Noun], color: str, min_score: float) -> str:
    """Return the description of an image as text."""
    shown = [noun for noun in nouns if noun.score >= min_score]
    words = ', '.join(f'{noun.noun} {noun.score:.2f}' for noun in shown) or UNKNOWN
    return f'{name}: {words}; {color}'


def parser() -> Parser:
    """Return the parser of `sage describe`."""
    parser = Parser(
        prog='sage describe',
        description=DESCRIPTION,
        epilog=examples(
            'sage describe cup.jpg',
            'sage describe *.jpg --min-score 0.9',
            'sage describe crop.png --nouns dog car bicycle',
        ),
    )
    parser.add_argument('images', nargs='+', type=Path, metavar='IMAGE', help='image file')
    parser.add_argument(
        '--nouns',
        nargs='+',
        metavar='NOUN',
        help='choose among these nouns only (default: the nouns of the model)',
    )
    parser.add_argument(
        '-n', '--count', type=positive_int, default=3, help='maximum number of nouns (default: 3)'
    )
    parser.add_argument(
        '--min-score',
        type=score,
        metavar='S',
        help=f'least score of a noun, 0 to 1 (default: {MIN_CONFIDENCE:g}, or {MIN_CHOSEN:g} with '
        '--nouns)',
    )
    parser.add_argument('--json', action='store_true', help='print a JSON list')
    return parser


def score(text: str) -> float:
    """Return an argument in [0, 1]."""
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(f'{text!r} is not a number from 0 to 1')
    return value


@report_errors('sage describe')
def main(argv: Sequence[str] | None = None) -> int:
    """Run `sage describe`; return the exit code."""
    args = parser().parse_args(argv)
    model, min_score = load_semantic(), args.min_score
    if min_score is None:
        min_score = MIN_CHOSEN if args.nouns else MIN_CONFIDENCE
    rows = []
    for path in track(args.images, 'describing images'):
        square = center_square(read_bgr(path), model.input_size)[None]
        if args.nouns:
            nouns = model.choose(square, args.nouns)[0][: args.count]
        else:
            (nouns,) = model.describe(square, args.count, min_score)
        rows.append((path.name, nouns, main_color(color_shares(square)[0])))
    if args.json:
        entries = [
            {'image': name, 'color': color, 'nouns': [noun._asdict() for noun in nouns]}
            for name, nouns, color in rows
        ]
        print(json.dumps(entries))
    else:
        for name, nouns, color in rows:
            print(line(name, nouns, color, min_score))
    return 0
