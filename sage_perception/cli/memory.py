# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""`sage memory`: looks into what a robot, or a fleet, remembers."""

from __future__ import annotations

import argparse
import math
import re
import sys
import time
from collections.abc import Sequence
from dataclasses import astuple
from datetime import datetime
from pathlib import Path

import numpy as np

from sage_perception.cli.terminal import Parser, add_command, in_one_line
from sage_perception.codecs.images import encode_images, read_bgr, write_image
from sage_perception.memory import Hit, Query, Space, Store, StoreFault, default_place, open_store
from sage_perception.memory.sql_store import DEFAULT_FOLDER, ENVIRONMENT, LATEST_NS
from sage_perception.models import Codec, ModelError, available, load_crop_codec
from sage_perception.models.artifact import read
from sage_perception.vision.crops import to_pixels
from sage_perception.vision.grid import grid

HELP = f"""\
memory_node keeps of what the cameras see what was worth it, 64 numbers each. This looks into it,
also while the node runs.

  sage memory info                               how much it holds, from when, of whom
  sage memory list --since 10m                   what was kept in the last ten minutes
  sage memory search cup.jpg -o found.png        what looked most like an image
  sage memory search cup.jpg --entity cam0 --until 2026-11-22T09:00

An image is asked for by its middle square: cut it to the thing that you look for. With -o the
memories are drawn as the decoder sees them, which is all that is left of the images.

The memory is memory.db in ${ENVIRONMENT}, else in {DEFAULT_FOLDER}; --store names another file, or
postgresql://user@host/database, as the parameter 'store' of the node does.
"""

UNITS_S = {'s': 1, 'm': 60, 'h': 3600, 'd': 86400}


def moment(text: str) -> int:
    """Read an option that is a time, as '10m' ago or 2026-11-22T09:00; nanoseconds since 1970."""
    ago = re.fullmatch(r'(\d+)([smhd])', text)
    if ago:
        return time.time_ns() - int(ago[1]) * UNITS_S[ago[2]] * 10**9
    try:
        return round(datetime.fromisoformat(text).timestamp() * 1e9)
    except (ValueError, OverflowError):
        raise argparse.ArgumentTypeError(
            f'{text!r} is no time: write 30s, 10m, 2h or 1d for so long ago, or 2026-11-22T09:00'
        ) from None


def query_of(args: argparse.Namespace, like: np.ndarray | None = None) -> Query:
    """Return what the options ask for."""
    return Query(like, args.since, args.until, args.entity, args.track, args.count)


def info(args: argparse.Namespace) -> None:
    """Print what a memory holds."""
    with open_store(args.store, create=False) as store:
        held = store.contents()
        print(f'{store}: {held.entries} memories, {held.size_bytes / 1e6:.1f} MB')
    if held.entries:
        print(f'from {shown_time(held.oldest_ns)} to {shown_time(held.newest_ns)}')
    for entity, count in held.entities.items():
        print(f'  {count:8} seen by {entity}')
    known = {read(path).id.fingerprint.hex(): name for name, path in available().items()}
    for fingerprint, count in held.models.items():
        name = known.get(fingerprint, 'a model that is not installed here')
        print(f'  {count:8} latents of {name}, {fingerprint[:8]}')


def show(args: argparse.Namespace) -> None:
    """Print the newest memories."""
    with open_store(args.store, create=False) as store:
        hits = store.find(query_of(args))
        complain(store)
    present(hits, args.output, args.model)


def search(args: argparse.Namespace) -> None:
    """Print the memories most like an image."""
    picture = read_bgr(args.image)
    codec = load_crop_codec(args.model)
    like = encode_images(codec, [args.image.name], [picture], tiled=False).latents[0].ravel()
    with open_store(args.store, Space.of(args.model), create=False) as store:
        hits = store.find(query_of(args, like))
        complain(store)
        held = store.contents().models
        if held and codec.id.fingerprint.hex() not in held:
            raise StoreFault(f'{store} holds no latents of {codec.id}: sage memory info tells')
    present(hits, args.output, args.model)


def complain(store: Store) -> None:
    """Say how many memories were passed over."""
    if store.unreadable:
        print(
            f'sage memory: {store.unreadable} passed over that cannot be read: damaged, or of a '
            'later version',
            file=sys.stderr,
        )


def present(hits: Sequence[Hit], output: Path | None, model: str) -> None:
    """Print what was found, and draw it where that was asked for."""
    if not hits:
        print('nothing is remembered that fits')
        return
    print(f'{"seen":19}  {"by":16} {"track":>6} {"alike":>6} {"salient":>7}  S N A R C')
    for hit in hits:
        lct = hit.entry.lct
        alike = '' if math.isnan(hit.similarity) else f'{hit.similarity:.3f}'
        parts = ' '.join(f'{part:.1f}' for part in astuple(hit.entry.snarc))
        print(
            f'{shown_time(lct.stamp_ns)}  {hit.entry.entity:16} {lct.latent.track_id or "":>6} '
            f'{alike:>6} {hit.entry.snarc.salience:7.2f}  {parts}'
        )
    if output is not None:
        drawn = draw(hits, load_crop_codec(model))
        write_image(output, drawn)
        print(f'{output}: {len(hits)} memories')


def draw(hits: Sequence[Hit], codec: Codec) -> np.ndarray:
    """Return memories as the decoder sees them, side by side, uint8 RGB."""
    for hit in hits:
        model = hit.entry.lct.latent.model
        if model.fingerprint != codec.id.fingerprint:
            raise ModelError(f'{codec.id} cannot draw a latent of {model}: give --model')
    z = np.stack([hit.entry.lct.latent.mean for hit in hits])
    x = codec.decode(z.reshape(-1, *codec.latent_shape))
    pictures = to_pixels(x)
    pictures = np.repeat(pictures, 3, axis=3) if pictures.shape[3] == 1 else pictures
    captions = [
        [
            f'{hit.entry.entity} {hit.entry.lct.latent.track_id or ""}',
            shown_time(hit.entry.lct.stamp_ns)[5:],
            '' if math.isnan(hit.similarity) else f'{hit.similarity:.3f}',
        ]
        for hit in hits
    ]
    return grid([[picture] for picture in pictures], captions)


def shown_time(stamp_ns: int) -> str:
    """Return a time as people here read it, to the second."""
    return datetime.fromtimestamp(stamp_ns * 1e-9).isoformat(sep=' ', timespec='seconds')


def parser() -> Parser:
    """Return the parser of `sage memory`."""
    top = Parser(
        prog='sage memory',
        description=HELP,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = top.add_subparsers(required=True, metavar='COMMAND')

    def command(name, run, what):
        own = add_command(commands, name, run, what)
        own.add_argument('--store', default=str(default_place()), help='file or URL (%(default)s)')
        return own

    def narrowed(own):
        own.add_argument('-n', '--count', type=int, default=10, help='how many at most (10)')
        own.add_argument('--since', type=moment, default=0, metavar='TIME', help='from, as 10m')
        own.add_argument('--until', type=moment, default=LATEST_NS, metavar='TIME', help='to')
        own.add_argument('--entity', help='who saw it, as robot1/cam0')
        own.add_argument('--track', type=int, help='of which track')
        own.add_argument('-o', '--output', type=Path, metavar='GRID.png', help='draw them')
        own.add_argument('--model', default='tinyvae', help='name or folder (tinyvae)')

    command('info', info, 'tell how much is remembered, from when, of whom')
    narrowed(command('list', show, 'list what was kept last'))
    own = command('search', search, 'find what looked most like an image')
    own.add_argument('image', type=Path, metavar='IMAGE')
    narrowed(own)
    return top


@in_one_line('sage memory')
def main(argv: Sequence[str] | None = None) -> int:
    """Run `sage memory`; return the exit code."""
    args = parser().parse_args(argv)
    args.run(args)
    return 0


if __name__ == '__main__':
    sys.exit(main())
