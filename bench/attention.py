# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Time and judge motion attention on one thread: `python bench/attention.py [VIDEO]`.

On synthetic worlds, whose truth is known: milliseconds a frame, recall and precision of movers,
changes of track ids; and the motion crops of scenes in which nothing moves. Given a video, the
milliseconds and crops a frame on that.
"""

from __future__ import annotations

import argparse
import json
import time

import cv2
import numpy as np

from sage_perception.core.frame import Crop, CropSource
from sage_perception.core.latent import Roi
from sage_perception.vision.attention import AttentionConfig, MotionAttention
from sage_perception.vision.synthetic import SyntheticWorld

FPS = 30
WARMUP_S = 1.0


def covers(region: Roi, thing: Roi) -> bool:
    """Whether `region` shows `thing`: at least 60 % of it, and its center."""
    across = min(region.x + region.width, thing.x + thing.width) - max(region.x, thing.x)
    down = min(region.y + region.height, thing.y + thing.height) - max(region.y, thing.y)
    x, y = thing.center
    central = 0 <= x - region.x <= region.width and 0 <= y - region.y <= region.height
    return central and max(across, 0) * max(down, 0) >= 0.6 * thing.area


class Stopwatch:
    """Attention, and the times it took: of the wall, and of this thread alone."""

    def __init__(self, config: AttentionConfig):
        self.attention = MotionAttention(config)
        self.wall, self.thread = [], []

    def attend(self, image: np.ndarray, stamp_s: float) -> list[Crop]:
        """Return the motion crops of a frame."""
        wall, thread = time.perf_counter(), time.thread_time()
        crops = self.attention.attend(image, stamp_s)
        self.wall.append(1e3 * (time.perf_counter() - wall))
        self.thread.append(1e3 * (time.thread_time() - thread))
        return [crop for crop in crops if crop.source == CropSource.MOTION]


def milliseconds(watches: list[Stopwatch]) -> dict:
    wall = np.concatenate([watch.wall for watch in watches])
    thread = np.concatenate([watch.thread for watch in watches])
    return {
        name: {f'p{p}': round(float(np.percentile(times, p)), 2) for p in (50, 95)}
        for name, times in (('wall', wall), ('thread', thread))
    }


def world(seed: int, objects: int, **settings) -> SyntheticWorld:
    """As many objects as find room."""
    while True:
        try:
            return SyntheticWorld(seed, objects=objects, **settings)
        except ValueError:
            objects -= 1
            if objects < 1:
                raise


def shaken(image: np.ndarray, rng: np.random.Generator, pixels: float = 4.0) -> np.ndarray:
    x, y = rng.uniform(-pixels, pixels, 2)
    matrix = np.float32([[1, 0, x], [0, 1, y]])
    return cv2.warpAffine(image, matrix, image.shape[1::-1], borderMode=cv2.BORDER_REFLECT)


def movers(seeds: range, seconds: float, shake: bool = False, **settings) -> dict:
    objects = found = crops = right = switches = 0
    watches = []
    for seed in seeds:
        scene, rng = world(seed, 1 + seed % 6, **settings), np.random.default_rng(seed)
        watches.append(Stopwatch(AttentionConfig()))
        ids = {}
        for index in range(int(seconds * FPS)):
            t = index / FPS
            image = scene.render(t, index)
            chosen = watches[-1].attend(shaken(image, rng) if shake else image, t)
            if t < WARMUP_S:
                continue
            things = [thing for thing in scene.truth(t) if thing.visible >= 0.5]
            crops += len(chosen)
            right += sum(any(covers(c.roi, thing.roi) for thing in things) for c in chosen)
            for thing in things:
                objects += 1
                shown = [c for c in chosen if covers(c.roi, thing.roi)]
                if shown:
                    found += 1
                    best = max(shown, key=lambda c: c.roi.iou(thing.roi)).track_id
                    switches += ids.get(thing.id, best) != best
                    ids[thing.id] = best
    return {
        'recall': round(found / objects, 4),
        'precision': round(right / crops, 4),
        'id_switches_per_object_frame': round(switches / objects, 5),
        'objects_judged': objects,
        'ms_per_frame': milliseconds(watches),
    }


def still(seeds: range, seconds: float, shake: bool = False, **settings) -> dict:
    """Nothing moves; the gain steps up and down on the way."""
    crops, watches = 0, []
    for seed in seeds:
        scene, rng = SyntheticWorld(seed, objects=0, **settings), np.random.default_rng(seed)
        watches.append(Stopwatch(AttentionConfig()))
        for index in range(int(seconds * FPS)):
            image = scene.render(index / FPS, index)
            image = cv2.convertScaleAbs(image, alpha=(1.0, 1.3, 0.8)[index // 60 % 3])
            crops += len(watches[-1].attend(shaken(image, rng) if shake else image, index / FPS))
    frames = sum(len(watch.wall) for watch in watches)
    return {'motion_crops': crops, 'frames': frames, 'ms_per_frame': milliseconds(watches)}


def video(path: str, frames: int = 300) -> dict:
    capture = cv2.VideoCapture(path)
    watch, crops = Stopwatch(AttentionConfig()), 0
    for index in range(frames):
        read, image = capture.read()
        if not read:
            break
        crops += len(watch.attend(cv2.resize(image, (640, 480)), index / FPS))
    if not watch.wall:
        raise SystemExit(f'{path} is not a video that OpenCV reads')
    return {
        'frames': len(watch.wall),
        'crops_per_frame': round(crops / len(watch.wall), 2),
        'ms_per_frame': milliseconds([watch]),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('video', nargs='?', help='a video to time as well')
    parser.add_argument('--seeds', type=int, default=6, help='worlds of each kind')
    parser.add_argument('--seconds', type=float, default=5.0, help='length of each')
    args = parser.parse_args()
    cv2.setNumThreads(1)
    seeds = range(args.seeds)
    result = {
        'frame': '640x480',
        'movers': movers(seeds, args.seconds),
        'movers_flicker': movers(seeds, args.seconds, flicker=0.2),
        'movers_shake': movers(seeds, args.seconds, shake=True),
        'movers_plain': movers(seeds, args.seconds, background='plain'),
        'still': still(seeds, args.seconds),
        'still_flicker': still(seeds, args.seconds, flicker=0.3),
        'still_shake': still(seeds, args.seconds, shake=True),
    }
    if args.video:
        result['video'] = video(args.video)
    print(json.dumps(result))


if __name__ == '__main__':
    main()
