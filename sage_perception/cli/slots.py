# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""`sage slots`: divide the frames of a video among object slots."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path

import cv2
import numpy as np

from sage_perception.cli.terminal import Parser, examples, positive_int, report_errors
from sage_perception.core.files import replacing
from sage_perception.core.progress import track
from sage_perception.core.thinning import Thinned
from sage_perception.models.registry import load_slot_encoder
from sage_perception.slots.drawing import draw_frame
from sage_perception.slots.segmentation import segment, slot_regions
from sage_perception.slots.video import SlotFrame, segment_frames
from sage_perception.vision.grid import grid
from sage_perception.vision.image_file import write_image
from sage_perception.vision.sources.video_file import clip_frames

COLUMNS = 8
"""Number of frames on a sheet."""
MAX_KEPT = 64
"""Maximum number of frames in memory."""
TILE_PX = 128
"""Smallest height of an image in a video, pixels."""


@report_errors('sage slots')
def main(argv: Sequence[str] | None = None) -> int:
    """Run `sage slots`; return the exit code."""
    args = parser().parse_args(argv)
    suffix = args.output.suffix.lower()
    if suffix not in ('.png', '.jpg', '.mp4', '.avi', '.rrd'):
        raise ValueError(f'{args.output}: use a name that ends in .png, .jpg, .mp4, .avi or .rrd')
    args.video.stat()  # the error of the operating system is clearer than that of OpenCV
    model = load_slot_encoder(args.model)
    images = (image for image, _ in clip_frames(args.video))
    frames = itertools.islice(
        segment_frames(model, itertools.islice(images, 0, None, args.step), not args.independent),
        args.frames,
    )
    counted = track(frames, 'dividing frames', args.frames)
    if suffix in ('.mp4', '.avi'):
        count = write_video(args.output, counted, args.fps)
    elif suffix == '.rrd':
        count = write_recording(args.output, counted, args.fps)
    else:
        count = write_sheet(args.output, counted)
    print(f'{args.output}: {count} frames, {model.slot_count} slots of {model.id.name}')
    return 0


def write_sheet(path: Path, frames: Iterable[SlotFrame]) -> int:
    """Write some frames of a video side by side; return how many there were.

    Raises `ValueError` without frames.
    """
    kept = Thinned[tuple[list[np.ndarray], str]](MAX_KEPT)
    for frame in frames:
        kept.add(partial(_column, frame))
    if not len(kept):
        raise ValueError(f'{path} was not written: the video has no frame')
    columns, captions = [], []
    for index, (images, regions) in kept.chosen(COLUMNS):
        columns.append(images)
        captions.append([f'frame {index}', regions])
    write_image(path, grid(columns, captions))
    return len(kept)


def _column(frame: SlotFrame) -> tuple[list[np.ndarray], str]:
    """Return the images of a frame, and the number of its regions as text."""
    regions = slot_regions(frame.masks, segment(frame.masks))
    return draw_frame(frame), f'{len(regions)} regions'


def write_video(path: Path, frames: Iterator[SlotFrame], fps: float) -> int:
    """Write all frames, their images side by side, as a video; return how many there were.

    Raises `ValueError` without frames, and if OpenCV cannot write the format.
    """
    writer: cv2.VideoWriter | None = None
    count = 0
    codec = 'mp4v' if path.suffix.lower() == '.mp4' else 'MJPG'
    with replacing(path) as part:
        # OpenCV selects the container by the extension.
        target = part.with_name(f'{part.name}{path.suffix}')
        for frame in frames:
            row = np.hstack(draw_frame(frame))
            scale = max(1, -(-TILE_PX // row.shape[0]))
            row = cv2.resize(row, None, fx=scale, fy=scale, interpolation=cv2.INTER_NEAREST)
            if writer is None:
                size = (row.shape[1], row.shape[0])
                writer = cv2.VideoWriter(str(target), cv2.VideoWriter.fourcc(*codec), fps, size)
                if not writer.isOpened():
                    raise ValueError(f'{path} cannot be written: OpenCV has no encoder {codec}')
            writer.write(row[..., ::-1])
            count += 1
        if writer is None:
            raise ValueError(f'{path} was not written: the video has no frame')
        writer.release()
        target.replace(part)
    return count


def write_recording(path: Path, frames: Iterable[SlotFrame], fps: float) -> int:
    """Write all frames as a Rerun recording; return how many there were.

    Raises `ViewError` if Rerun is not installed, and `ValueError` without frames.
    """
    # Rerun takes seconds to import.
    from sage_perception.viewing.items import Timed
    from sage_perception.viewing.rerun_sink import RerunSink
    from sage_perception.viewing.slot_items import slot_items

    sink = RerunSink(f'slots {path.stem}')
    count = 0
    with replacing(path) as part:
        try:
            sink.save(part)
            for frame in frames:
                stamp_ns = round(count * 1e9 / fps)
                for item in slot_items(frame):
                    sink.write(Timed(stamp_ns, item), stamp_ns)
                count += 1
        finally:
            sink.close()
        if not count:
            raise ValueError(f'{path} was not written: the video has no frame')
    return count


def parser() -> Parser:
    """Return the parser of `sage slots`."""
    parser = Parser(
        prog='sage slots',
        description='Divide the frames of a video among the slots of a model, and draw them: the '
        'frame, its segmentation, what each slot holds, and the reconstruction.',
        epilog=examples(
            'sage slots clip.mp4 -o sheet.png',
            'sage slots clip.mp4 --model out/slots -o slots.mp4 --frames 300',
            'sage slots clip.mp4 -o slots.rrd',
        ),
    )
    parser.add_argument('video', type=Path, metavar='VIDEO', help='video file')
    parser.add_argument(
        '--model',
        default='slots',
        metavar='NAME',
        help='slot model: name or folder (default: slots)',
    )
    parser.add_argument(
        '-o',
        '--output',
        type=Path,
        required=True,
        metavar='FILE',
        help='sheet (.png, .jpg), video (.mp4, .avi), or Rerun recording (.rrd), which requires '
        'requirements/view.txt',
    )
    parser.add_argument(
        '--frames',
        type=positive_int,
        default=120,
        metavar='N',
        help='maximum number of frames (default: 120)',
    )
    parser.add_argument(
        '--step',
        type=positive_int,
        default=1,
        metavar='N',
        help='use every Nth frame of the video (default: 1)',
    )
    parser.add_argument(
        '--fps',
        type=positive_int,
        default=10,
        metavar='HZ',
        help='frame rate of the video or recording that is written (default: 10)',
    )
    parser.add_argument(
        '--independent', action='store_true', help='do not carry slots over between frames'
    )
    return parser
