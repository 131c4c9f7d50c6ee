# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""`sage memory`: search the memory of a robot or a fleet."""

from __future__ import annotations

import argparse
import math
import re
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import astuple
from datetime import datetime
from pathlib import Path

import numpy as np

from sage_perception.cli.terminal import (
    Parser,
    add_command,
    examples,
    positive_int,
    report_errors,
)
from sage_perception.codecs.images import encode_images
from sage_perception.core.progress import progress
from sage_perception.memory import (
    Hit,
    MemoryStore,
    Query,
    Space,
    StoreError,
    default_path,
    open_store,
)
from sage_perception.memory.opening import DEFAULT_FOLDER, ENVIRONMENT
from sage_perception.memory.query import MAX_STAMP_NS
from sage_perception.memory.words import Found, WordSearch, decoded
from sage_perception.models import Codec, ModelError, load_crop_codec, load_semantic
from sage_perception.vision.grid import grid
from sage_perception.vision.image_file import read_bgr, write_image

DESCRIPTION = f"""\
Search the memory that memory_node writes. A record is the latent of a crop with its metadata, \
not an image. The node may run at the same time.

A search by --image encodes the central square of an image, so crop the image to the object of \
interest. A search by words, such as "a red car", compares the words with the semantic codes of \
the records, and the color with their latents; it needs the packages of \
requirements/semantic.txt. Records have codes if the parameter codes of the encoders has \
semantic. In a memory without codes, the search decodes the newest latents and compares the \
images with the words: latents keep colors, but little of what nouns depend on. With words and \
an image, the similarities are added.

A thing is an object that several tracks show, across cameras, robots and time. Option --thing \
shows its records, and why they belong together. --output decodes the records found and writes \
them as an image grid.

The default memory is memory.db in ${ENVIRONMENT}, which defaults to {DEFAULT_FOLDER}. --store \
selects another file or postgresql://user@host/database, like the parameter 'store' of the node.
"""

EXAMPLES = examples(
    'sage memory info',
    'sage memory list --since 10m',
    'sage memory search "a red car"',
    'sage memory search --image cup.jpg -o found.png',
    'sage memory search --image cup.jpg --entity cam0 --until 2026-11-22T09:00',
)

UNITS_S = {'s': 1, 'm': 60, 'h': 3600, 'd': 86400}


def stamp_argument(text: str) -> int:
    """Return a time argument in nanoseconds since 1970.

    It is a duration before now, such as '10m', or an ISO 8601 local time.
    """
    ago = re.fullmatch(r'(\d+)([smhd])', text)
    if ago:
        return time.time_ns() - int(ago[1]) * UNITS_S[ago[2]] * 10**9
    try:
        return round(datetime.fromisoformat(text).timestamp() * 1e9)
    except (ValueError, OverflowError):
        raise argparse.ArgumentTypeError(
            f'{text!r} is not a time: use 30s, 10m, 2h or 1d before now, or 2026-11-22T09:00'
        ) from None


def query_of(args: argparse.Namespace, like: np.ndarray | None = None) -> Query:
    """Return the query with the filters of the arguments."""
    return Query(like, args.since, args.until, args.entity, args.track, args.count, args.thing)


def info(args: argparse.Namespace) -> None:
    """Print a summary of a memory."""
    with open_store(args.store, create=False) as store:
        held = store.contents()
        codes, things = store.extra_counts()
        print(f'{store}: {held.records} records, {held.size_bytes / 1e6:.1f} MB')
    if held.oldest_ns is not None and held.newest_ns is not None:
        print(f'from {local_time(held.oldest_ns)} to {local_time(held.newest_ns)}')
    for entity, count in held.entities.items():
        print(f'  {count:8} observed by {entity}')
    for fingerprint, count in held.models.items():
        print(f'  {count:8} latents of {held.model_names[fingerprint]}, {fingerprint[:8]}')
    for kind, count in codes.items():
        print(f'  {count:8} {kind} codes')
    counted = ', '.join(f'{count} {name}' for name, count in things.items())
    print(f'  {counted}')


def list_records(args: argparse.Namespace) -> None:
    """Print the newest records."""
    with open_store(args.store, create=False) as store:
        hits = store.with_things(store.find(query_of(args)))
        warn_of_unreadable(store)
    present(hits, args.output, args.model)


def search(args: argparse.Namespace) -> None:
    """Print the records that fit words or an image best."""
    if not (args.text or args.image):
        raise StoreError('nothing to search for: give words, --image IMAGE, or both')
    codec = load_crop_codec(args.model)
    like = None
    if args.image is not None:
        image = read_bgr(args.image)
        like = encode_images(codec, [args.image.name], [image], tiled=False).latents[0].ravel()
    query = query_of(args, like)
    semantic = load_semantic() if args.text else None
    with open_store(args.store, Space.of(args.model), create=False) as store:
        models = store.contents().models
        if models and codec.id.fingerprint.hex() not in models:
            raise StoreError(
                f'{store} has no latents of {codec.id}: run sage memory info to list its models'
            )
        if semantic is None:
            hits = store.find(query)
        else:
            with progress('comparing records with the words'):
                found = WordSearch(semantic, codec, args.text).search(store, query)
            print(basis_text(found))
            hits = found.hits
        hits = store.with_things(hits)
        warn_of_unreadable(store)
    present(hits, args.output, args.model)


def basis_text(found: Found) -> str:
    """Return what a search by words compared, in one line."""
    if not found.by_codes:
        return f'compared {found.compared} records with the words, by their decoded latents'
    text = f'compared {found.compared} records with the words, by their codes'
    if found.without_code:
        text += f'; {found.without_code} records without a code were left out'
    return text


def warn_of_unreadable(store: MemoryStore) -> None:
    """Print the number of rows that the search skipped."""
    for row_id, reason in store.unreadable.items():
        print(
            'sage memory: skipped rows that are damaged or of a later version: '
            f'{len(store.unreadable)} (row {row_id}: {reason})',
            file=sys.stderr,
        )
        return


def present(hits: Sequence[Hit], output: Path | None, model: str) -> None:
    """Print hits as a table; with `output`, decode them with `model` and write an image grid."""
    if not hits:
        print('no matching records')
        return
    print(
        f'{"time":19}  {"entity":16} {"track":>6} {"simil.":>6} {"salient":>7}  S N A R C  thing'
    )
    for hit in hits:
        lct, snarc = hit.record.lct, hit.record.snarc
        scores = ' '.join(f'{score:.1f}' for score in astuple(snarc))
        print(
            f'{local_time(lct.stamp_ns)}  {hit.record.entity:16} {lct.latent.track_id or "":>6} '
            f'{similarity_text(hit):>6} {snarc.salience:7.2f}  {scores}  '
            f'{hit.thing or ""}'
        )
    for thing, evidence in {hit.thing: hit.evidence for hit in hits if hit.evidence}.items():
        print(f'thing {thing}: {evidence}')
    if output is not None:
        write_image(output, decoded_grid(hits, load_crop_codec(model)))
        print(f'{output}: {len(hits)} records')


def decoded_grid(hits: Sequence[Hit], codec: Codec) -> np.ndarray:
    """Return the decoded latents of hits with captions, uint8 RGB `[H, W, 3]`."""
    for hit in hits:
        model = hit.record.lct.latent.model
        if model.fingerprint != codec.id.fingerprint:
            raise ModelError(f'{codec.id} cannot decode a latent of {model}: use --model')
    captions = [
        [
            f'{hit.record.entity} {hit.record.lct.latent.track_id or ""}',
            local_time(hit.record.lct.stamp_ns)[5:],
            similarity_text(hit),
        ]
        for hit in hits
    ]
    return grid([[crop] for crop in decoded(hits, codec)], captions)


def similarity_text(hit: Hit) -> str:
    """Return the similarity of a hit with three decimals, '' for a hit without one."""
    return '' if math.isnan(hit.similarity) else f'{hit.similarity:.3f}'


def local_time(stamp_ns: int) -> str:
    """Return a stamp as local time, to the second."""
    return datetime.fromtimestamp(stamp_ns * 1e-9).isoformat(sep=' ', timespec='seconds')


def add_filters(parser: argparse.ArgumentParser) -> None:
    """Add the options of `list` and `search`."""
    parser.add_argument(
        '-n',
        '--count',
        type=positive_int,
        default=10,
        help='maximum number of records (default: 10)',
    )
    parser.add_argument(
        '--since',
        type=stamp_argument,
        default=0,
        metavar='TIME',
        help='earliest time, such as 10m or 2026-11-22T09:00',
    )
    parser.add_argument(
        '--until', type=stamp_argument, default=MAX_STAMP_NS, metavar='TIME', help='latest time'
    )
    parser.add_argument('--entity', help='observing entity, such as robot1/cam0')
    parser.add_argument('--track', type=int, help='track ID')
    parser.add_argument(
        '--thing',
        type=int,
        help='number of the object that the records show, as "sage memory list" prints it',
    )
    parser.add_argument(
        '-o', '--output', type=Path, metavar='GRID.png', help='write the decoded records here'
    )
    parser.add_argument(
        '--model', default='tinyvae', help='name or folder of the model (default: tinyvae)'
    )


def parser() -> Parser:
    """Return the parser of `sage memory`."""
    parser = Parser(prog='sage memory', description=DESCRIPTION, epilog=EXAMPLES)
    commands = parser.add_subparsers(required=True, metavar='COMMAND')

    def command(
        name: str, run: Callable[[argparse.Namespace], None], summary: str
    ) -> argparse.ArgumentParser:
        own = add_command(commands, name, run, summary)
        own.add_argument(
            '--store', default=str(default_path()), help='file or URL (default: %(default)s)'
        )
        return own

    command('info', info, 'show the number of records, their time range, entities and models')
    add_filters(command('list', list_records, 'list the newest records'))
    own = command('search', search, 'find the records that fit words or an image best')
    own.add_argument('text', nargs='?', metavar='WORDS', help='words, such as "a red car"')
    own.add_argument('--image', type=Path, metavar='IMAGE', help='image file')
    add_filters(own)
    return parser


@report_errors('sage memory')
def main(argv: Sequence[str] | None = None) -> int:
    """Run `sage memory`; return the exit code."""
    args = parser().parse_args(argv)
    args.run(args)
    return 0
