# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""`sage view`: show a bag or a running graph with Rerun."""

from __future__ import annotations

import os
import pkgutil
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from sage_perception.bringup.environment import dds_environment
from sage_perception.cli.terminal import (
    Parser,
    examples,
    port,
    positive,
    report_errors,
    stop_requested,
)
from sage_perception.viewing import DEFAULT_RATE_HZ, GRPC_PORT, WEB_PORT

if TYPE_CHECKING:
    from sage_perception.viewing.rerun_sink import RerunSink
    from sage_perception.viewing.scene import Scene


@report_errors('sage view')
def main(argv: Sequence[str] | None = None) -> int:
    """Run `sage view`; return 0 at the end or after a signal, 2 for invalid usage."""
    own = parser()
    args = own.parse_args(argv)
    if (args.bag is None) != args.live:
        own.error('pass either a bag or --live')
    # These imports take seconds: the arguments are checked before.
    from sage_perception.codecs.latent_decoder import LatentDecoder
    from sage_perception.viewing.rerun_sink import RerunSink
    from sage_perception.viewing.scene import Scene

    with stop_requested() as stop:
        sink = RerunSink('live' if args.live else args.bag.name)
        if args.save:
            sink.save(args.save)
        elif args.web:
            print(f'open {sink.serve(args.grpc_port, args.web_port)}', flush=True)
        else:
            sink.spawn()
        try:
            scene = Scene(LatentDecoder(args.model), args.rate)
            count = (
                _draw_graph(scene, sink, stop) if args.live else _draw(args.bag, scene, sink, stop)
            )
            for topic, number in scene.skipped.items():
                _log(f'{topic}: {number} messages could not be read')
            print(
                f'{count} messages drawn' + (f' to {args.save}' if args.save else ''), flush=True
            )
            if args.web and not args.live and not stop.is_set():
                print('press Ctrl-C to end', flush=True)
                stop.wait()
        finally:
            sink.close()
    return 0


def parser() -> Parser:
    """Return the parser of `sage view`."""
    parser = Parser(
        prog='sage view',
        description='Show a bag or a running graph with Rerun: frames with regions and tracks, '
        'crops and reconstructions, latents as heat map and projection, trust and health, matches '
        'across cameras, recalls of memory and fused LCTs, over the header stamps.\n'
        '\n'
        'Rerun is optional and has an environment of its own: requirements/view.txt. A bag can be '
        'shown where ROS is not installed; --live needs ROS.',
        epilog=examples(
            'sage view bag',
            'sage view bag --web',
            'sage view bag --save bag.rrd',
            'sage view --live --web',
        ),
        allow_abbrev=False,
    )
    add = parser.add_argument
    add('bag', metavar='BAG', type=Path, nargs='?', help='bag directory, .mcap or .db3 file')
    add('--live', action='store_true', help='show the running graph in place of a bag')
    target = parser.add_mutually_exclusive_group()
    target.add_argument(
        '--web', action='store_true', help='serve the viewer to a browser and print its URL'
    )
    target.add_argument(
        '--save', metavar='FILE.rrd', type=Path, help='write a Rerun recording, without a viewer'
    )
    add(
        '--rate',
        metavar='HZ',
        type=positive,
        default=DEFAULT_RATE_HZ,
        help='maximum rate of the images and latents of each camera '
        f'(default: {DEFAULT_RATE_HZ:g})',
    )
    add(
        '--model',
        metavar='MODEL',
        action='append',
        default=[],
        help='folder of a model that decodes latents, beside those of sage; can be repeated',
    )
    add(
        '--web-port',
        metavar='PORT',
        type=port,
        default=WEB_PORT,
        help=f'port of the web viewer (default: {WEB_PORT})',
    )
    add(
        '--grpc-port',
        metavar='PORT',
        type=port,
        default=GRPC_PORT,
        help=f'port from which the web viewer reads the recording (default: {GRPC_PORT})',
    )
    return parser


def _draw(path: Path, scene: Scene, sink: RerunSink, stop: threading.Event) -> int:
    from sage_perception.bags.reader import open_bag
    from sage_perception.viewing.recorded import draw_bag

    with open_bag(path) as bag:
        return draw_bag(bag, scene, sink, stop)


def _draw_graph(scene: Scene, sink: RerunSink, stop: threading.Event) -> int:
    from sage_perception.viewing.rerun_sink import ViewError

    os.environ.update(dds_environment(os.environ))
    try:
        # Imported on demand, because a bag can be shown where ROS is not installed.
        draw_graph = pkgutil.resolve_name('sage_perception.viewing.live:draw_graph')
    except ModuleNotFoundError as error:
        raise ViewError(
            f'--live needs ROS, which is not installed here ({error}): source it and start sage '
            'in its environment, or show a bag'
        ) from None
    return draw_graph(scene, sink, stop, _log)


def _log(text: str) -> None:
    print(f'sage view: {text}', file=sys.stderr)
