# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""`sage imagine`: show what words mean, by the memories that fit them."""

from __future__ import annotations

import itertools
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from sage_perception.cli.memory import add_filters, basis_text, local_time, query_of
from sage_perception.cli.terminal import Parser, examples, report_errors
from sage_perception.core.lct import LCT
from sage_perception.core.progress import progress
from sage_perception.memory import Space, StoreError, default_path, open_store
from sage_perception.memory.language import Imagined, LanguageVisionBridge
from sage_perception.models import load_audio, load_crop_codec, load_semantic
from sage_perception.models.semantic.nouns import MIN_CONFIDENCE
from sage_perception.pipeline.recorded_words import recorded_words
from sage_perception.pipeline.sound_encoder import SoundEncoder
from sage_perception.vision.grid import grid
from sage_perception.vision.image_file import write_image

ENTITY = 'sage/imagine'
DESCRIPTION = f"""\
Show images for words, such as "a red car": the records of the memory that fit the words best, \
marked "memory", and one image that is decoded from the mean of the latents of the best ones, \
marked "decoded". Cameras captured the records; no camera captured the decoded image.

The column "words" describes each image: its main color and a noun with its score, or "unknown" \
if no noun scores at least {MIN_CONFIDENCE:g}. If these words differ from the given ones, the \
memory has nothing that fits well. Trust is the product of the trusts of all steps from the \
encoder to the image; --json prints the steps.

With --sound, the words are recognized in a recording, by the model of audio_node: the words of \
docs/audio.md, one at a time, with a pause after each.

The memory is that of memory_node ("sage memory --help"). The model that compares images with \
words needs the packages of requirements/semantic.txt.
"""


def recorded_text(path: Path, min_confidence: float) -> tuple[str, str]:
    """Return the words of a recording, and what was recognized with which confidence.

    Raises `ValueError` if there is no word, or none with enough confidence.
    """
    sounds = recorded_words(path, SoundEncoder(load_audio()))
    if not sounds:
        raise ValueError(f'{path}: no voice found; record words with a pause between them')
    recognized = ', '.join(f'{sound.word} {sound.confidence:.2f}' for sound in sounds)
    words = [s.word for s in sounds if s.known and s.confidence >= min_confidence]
    if not words:
        raise ValueError(
            f'{path}: no word has a confidence of {min_confidence:g} ({recognized}); lower '
            '--min-confidence'
        )
    return ' '.join(words), recognized


def entry(imagined: Imagined, words: str, confidence: float) -> dict[str, Any]:
    """Return an image as a JSON object, without its pixels."""
    lct = imagined.lct
    return {
        'origin': imagined.origin,
        'similarity': round(imagined.similarity, 4),
        'words': words,
        'confidence': round(confidence, 4),
        'trust': round(lct.trust, 4),
        'entity': source(lct),
        'stamp_ns': lct.stamp_ns,
        'provenance': [
            {
                'operation': step.operation.name.lower(),
                'entity': step.entity_id,
                'model': str(step.model),
                'trust': round(step.trust, 4),
            }
            for step in lct.provenance
        ],
    }


def source(lct: LCT) -> str:
    """Return the entity that encoded the crop that an LCT starts from."""
    return lct.provenance[0].entity_id if lct.provenance else lct.entity_id


def show(found: Sequence[Imagined], entries: Sequence[dict[str, Any]]) -> None:
    """Print the images as a table."""
    print(f'{"origin":8} {"simil.":>6} {"trust":>5}  {"time":19}  {"entity":16} words')
    for imagined, row in zip(found, entries, strict=True):
        words = f'{row["words"]} {row["confidence"]:.2f}' if row['confidence'] else row['words']
        print(
            f'{imagined.origin:8} {imagined.similarity:6.3f} {row["trust"]:5.2f}  '
            f'{local_time(row["stamp_ns"])}  {row["entity"]:16} {words}'
        )


def write_sheet(path: Path, found: Sequence[Imagined], entries: Sequence[dict[str, Any]]) -> None:
    """Write the images side by side, with captions."""
    captions = [
        [
            imagined.origin if imagined.origin == 'memory' else 'decoded, not captured',
            f'{row["similarity"]:.3f}  trust {row["trust"]:.2f}',
            row['words'],
        ]
        for imagined, row in zip(found, entries, strict=True)
    ]
    write_image(path, grid([[imagined.image] for imagined in found], captions))


def parser() -> Parser:
    """Return the parser of `sage imagine`."""
    parser = Parser(
        prog='sage imagine',
        description=DESCRIPTION,
        epilog=examples(
            'sage imagine "a red car" -o red_car.png',
            'sage imagine "a dog" --entity cam0 --since 1h',
            'sage imagine --sound word.wav -o seen.png',
        ),
    )
    parser.add_argument('text', nargs='?', metavar='WORDS', help='words, such as "a red car"')
    parser.add_argument('--sound', type=Path, metavar='FILE.wav', help='recording of the words')
    parser.add_argument(
        '--min-confidence',
        type=float,
        default=0.5,
        metavar='P',
        help='least probability of a word of a recording (default: 0.5)',
    )
    parser.add_argument(
        '--store', default=str(default_path()), help='file or URL (default: %(default)s)'
    )
    add_filters(parser)
    parser.add_argument('--json', action='store_true', help='print a JSON list')
    return parser


@report_errors('sage imagine')
def main(argv: Sequence[str] | None = None) -> int:
    """Run `sage imagine`; return the exit code."""
    args = parser().parse_args(argv)
    if (args.text is None) == (args.sound is None):
        raise ValueError('give words, such as "a red car", or --sound FILE.wav')
    if not 0 <= args.min_confidence <= 1:
        raise ValueError(f'--min-confidence is {args.min_confidence:g}; it must be 0 to 1')
    codec = load_crop_codec(args.model)
    with open_store(args.store, Space.of(args.model), create=False) as store:
        text = args.text
        if text is None:
            text, recognized = recorded_text(args.sound, args.min_confidence)
            if not args.json:
                print(f'{args.sound}: {recognized}')
        count = itertools.count(1)
        bridge = LanguageVisionBridge(load_semantic(), codec, ENTITY, lambda: next(count))
        with progress('comparing records with the words'):
            found, searched = bridge.imagine_from_text(text, store, query_of(args))
        if not found:
            raise StoreError(f'{store} has no matching records of {codec.id}: nothing to show')
        named = [bridge.describe(each.lct) for each in found]
    entries = [
        entry(each, words.text, words.confidence) for each, words in zip(found, named, strict=True)
    ]
    if args.json:
        print(json.dumps(entries, indent=1))
    else:
        print(basis_text(searched))
        show(found, entries)
    if args.output is not None:
        write_sheet(args.output, found, entries)
        if not args.json:
            print(f'{args.output}: {len(found)} images')
    return 0
