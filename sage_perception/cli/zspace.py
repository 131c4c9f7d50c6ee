# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""`sage zspace`: draw the saliency maps of cameras and their weights over time."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from urllib.parse import quote

from sage_perception.cli.terminal import Parser, examples, positive_int, report_errors


@report_errors('sage zspace')
def main(argv: Sequence[str] | None = None) -> int:
    """Run `sage zspace`; return the exit code."""
    args = parser().parse_args(argv)
    # These imports take seconds: the arguments are checked before.
    from sage_perception.core.progress import track
    from sage_perception.pipeline.camera_maps import fused_maps
    from sage_perception.reports.figures import check_figure_file
    from sage_perception.reports.zspace import draw_maps

    check_figure_file('-o', args.output)
    moments = fused_maps([_unpaced(video) for video in args.videos], args.frames)
    names = [Path(video.partition('?')[0]).name or video for video in args.videos]
    count = draw_maps(track(moments, 'frames'), names, args.output)
    print(f'{args.output}: {count} frames of {len(names)} camera{"s" * (len(names) > 1)}')
    return 0


def parser() -> Parser:
    """Return the parser of `sage zspace`."""
    parser = Parser(
        prog='sage zspace',
        description='Draw the saliency maps of one or more cameras. The cues motion, saliency, '
        'contrast and change form a volume that is accumulated, diffused and projected to one '
        'map per camera. The maps of several cameras, whose frames are read in step, are fused; '
        'a faulty camera hands its weight over to the others. The figure has frames with maps '
        'and peaks, the weights of the cues, and the weights of the cameras before (dotted) and '
        'after smoothing, with the disagreement of their maps.',
        epilog=examples(
            'sage zspace video.mp4 -o maps.png',
            'sage zspace left.mp4 right.mp4 -o maps.png --frames 300',
        ),
    )
    add = parser.add_argument
    add('videos', nargs='+', metavar='VIDEO', help='video file, or the URI of a source')
    add('-o', '--output', type=Path, required=True, metavar='FILE', help='figure, such as .png')
    add(
        '--frames',
        type=positive_int,
        default=150,
        metavar='N',
        help='number of frames of each video (default: 150)',
    )
    return parser


def _unpaced(video: str) -> str:
    """Return the URI that delivers the frames of a video, or of another URI, without pacing."""
    uri = video if '://' in video else f'file://{quote(str(Path(video).absolute()))}'
    if not uri.startswith(('file:', 'images:', 'synthetic:')):
        return uri
    options = ['pace=fast', *(['loop=false'] if not uri.startswith('synthetic:') else [])]
    wanted = [o for o in options if f'{o.partition("=")[0]}=' not in uri]
    return uri + ('&' if '?' in uri else '?') + '&'.join(wanted) if wanted else uri
