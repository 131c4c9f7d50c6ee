# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Measure attention on one thread: `python bench/attention.py [--shared FOLDER] [VIDEO]`.

`moving`: the clips with masks in FOLDER/video_masks_davis, whose camera moves; every frame counts,
the first one too. An object is found if a region of source MOTION holds its center and is at most
nine times its square, or overlaps its square by IoU ≥ .3. A region is false if it shows neither an
object nor a part of it; other things that really move are listed in attention_others.json, and
`unmarked_per_frame` counts the regions that show none of the marked objects, those things too.
`saliency`: the same with regions of source SALIENCY. `motion`: synthetic camera motions by pixels
per frame. `standing`: synthetic worlds and FOLDER/video_masks_pumavos_chair, after one second.
`still`: motion crops of still scenes whose gain steps up and down. The baselines see the same
frames. Prints a JSON object and writes out/bench/attention.json.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import cv2
import numpy as np
from attention_scenes import (
    SYNTHETIC_FPS,
    Score,
    attention,
    center_square,
    evaluate,
    frame_difference,
    masked_clips,
    mog2,
    moving_camera,
    standing_camera,
)
from result_file import add_out, show_result, write_result

from sage_perception.core.frame import CropSource
from sage_perception.vision import Attention
from sage_perception.vision.synthetic import SyntheticWorld

MOTIONS = ('pan', 'tilt', 'roll', 'zoom', 'drive')
STANDING = ({}, {'flicker': 0.2}, {'shake': 4.0}, {'background': 'plain'})
BASELINES = {'mog2': mog2, 'framediff': frame_difference, 'centre': center_square}


def total(scores: list[Score]) -> dict:
    return sum(scores, Score()).summary()


def moving(folder: Path) -> dict:
    """Return the scores of the clips with a moving camera, and those of the baselines."""
    clips = masked_clips(folder)
    scores = {name: evaluate(clip, attention()) for name, clip in clips.items()}
    salient = [evaluate(clip, attention(CropSource.SALIENCY)) for clip in clips.values()]
    return {
        'moving': {
            **total(list(scores.values())),
            'clips': {name: score.summary() for name, score in scores.items()},
        },
        'saliency': total(salient),
        'baselines': {
            name: total([evaluate(clip, make()) for clip in clips.values()])
            for name, make in BASELINES.items()
        },
    }


def synthetic_motion(pixels: list[float], seeds: range, frames: int) -> dict:
    """Return recall and false regions per frame by motion and pixels per frame."""
    result: dict = {}
    for motion in MOTIONS:
        for px in pixels:
            scores = [
                evaluate(moving_camera(motion, px, seed, frames), attention(), warmup=6)
                for seed in seeds
            ]
            summary = total(scores)
            summary['false'] = summary.pop('false_per_frame')
            result.setdefault(motion, {})[f'{px:g}'] = summary
    return result


def still_camera(shared: Path | None, seeds: range, frames: int) -> dict:
    """Return the scores of standing cameras after the first second."""
    synthetic = [
        evaluate(standing_camera(seed, frames, **settings), attention(), SYNTHETIC_FPS)
        for settings in STANDING
        for seed in seeds
    ]
    parts = {'synthetic': total(synthetic)}
    clips = []
    if shared:
        for name, clip in masked_clips(shared / 'video_masks_pumavos_chair').items():
            clips.append(evaluate(clip, attention(), warmup=24))
            parts[name] = clips[-1].summary()
    return {**total(synthetic + clips), 'parts': parts}


def still(seeds: range, frames: int) -> dict:
    """Return the motion crops of still scenes with flicker, rain and gain steps."""
    crops = 0
    for seed in seeds:
        scene, chooser = SyntheticWorld(seed, objects=0, flicker=0.3), attention()
        for index in range(frames):
            image = scene.render(index / SYNTHETIC_FPS, index)
            image = cv2.convertScaleAbs(image, alpha=(1.0, 1.3, 0.8)[index // 60 % 3])
            crops += len(chooser(image, index / SYNTHETIC_FPS))
    return {'motion_crops': crops, 'frames': frames * len(seeds)}


def milliseconds(frames: int, video: str | None) -> dict:
    """Return the time per frame of a standing and a moving camera, and of a video."""
    result = {}
    for name, scene in (
        ('standing', standing_camera(3, frames)),
        ('moving', moving_camera('pan', 8, 0, frames)),
    ):
        result[name] = _times([(s.image, s.stamp_s) for s in scene()])
    if video:
        capture, images = cv2.VideoCapture(video), []
        while len(images) < frames and (read := capture.read())[0]:
            images.append((cv2.resize(read[1], (640, 480)), len(images) / SYNTHETIC_FPS))
        if not images:
            raise SystemExit(f'{video} is not a readable video')
        result['video'] = _times(images)
    return result


def _times(frames: list[tuple[np.ndarray, float]]) -> dict:
    chooser, wall, thread = Attention(), [], []
    for image, stamp_s in frames:
        begin = time.perf_counter(), time.thread_time()
        chooser.attend(image, stamp_s)
        wall.append(1e3 * (time.perf_counter() - begin[0]))
        thread.append(1e3 * (time.thread_time() - begin[1]))
    first = min(30, len(frames) // 2)
    return {
        name: {f'p{p}': round(float(np.percentile(times[first:], p)), 2) for p in (50, 95)}
        for name, times in (('wall', wall), ('thread', thread))
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('video', nargs='?', help='measure the time on a video, too')
    parser.add_argument('--shared', type=Path, help='folder of the clips with masks')
    parser.add_argument('--seeds', type=int, default=3, help='worlds of each kind (default: 3)')
    parser.add_argument('--frames', type=int, default=120, help='frames per world (default: 120)')
    parser.add_argument('--pixels', default='0,1,2,4,8,16', help='motion, pixels per frame')
    add_out(parser, 'attention')
    args = parser.parse_args()
    cv2.setNumThreads(1)
    seeds = range(args.seeds)
    result = {'frame': '640x480'}
    if args.shared:
        result |= moving(args.shared / 'video_masks_davis')
    pixels = [float(px) for px in args.pixels.split(',')]
    result['motion'] = synthetic_motion(pixels, seeds, args.frames)
    result['standing'] = still_camera(args.shared, seeds, args.frames)
    result['still'] = still(seeds, args.frames)
    times = milliseconds(args.frames, args.video)
    result['ms_per_frame'] = times['moving']['thread']['p50']
    result['ms_standing'] = times['standing']['thread']['p50']
    result['times'] = times
    show_result(result)
    write_result(args.out, result)


if __name__ == '__main__':
    main()
