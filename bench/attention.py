# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Measure motion attention on one thread: `python bench/attention.py [VIDEO]`.

On synthetic worlds with ground truth: time per frame, recall and precision of moving objects,
changes of track ids, and the false motion crops of still scenes. On a video: time and crops per
frame.
"""

from __future__ import annotations

import argparse
import json
import time

import cv2
import numpy as np

from sage_perception.core.frame import Crop, CropSource
from sage_perception.core.latent import Roi
from sage_perception.vision.attention import Attention
from sage_perception.vision.attention_config import AttentionConfig
from sage_perception.vision.synthetic import SyntheticWorld

FPS = 30
WARMUP_S = 1.0


def covers(region: Roi, item: Roi) -> bool:
    """Return whether `region` contains the center and at least 60 % of `item`."""
    across = min(region.x + region.width, item.x + item.width) - max(region.x, item.x)
    down = min(region.y + region.height, item.y + item.height) - max(region.y, item.y)
    x, y = item.center
    central = 0 <= x - region.x <= region.width and 0 <= y - region.y <= region.height
    return central and max(across, 0) * max(down, 0) >= 0.6 * item.area


class Stopwatch:
    """Attention with the wall time and the CPU time of each frame, milliseconds."""

    def __init__(self, config: AttentionConfig):
        self.attention = Attention(config)
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
    """Return a world with as many of the objects as fit."""
    while True:
        try:
            return SyntheticWorld(seed, objects=objects, **settings)
        except ValueError:
            objects -= 1
            if objects < 1:
                raise


def shake_image(image: np.ndarray, rng: np.random.Generator, pixels: float = 4.0) -> np.ndarray:
    x, y = rng.uniform(-pixels, pixels, 2)
    matrix = np.float32([[1, 0, x], [0, 1, y]])
    return cv2.warpAffine(image, matrix, image.shape[1::-1], borderMode=cv2.BORDER_REFLECT)


def moving_objects(seeds: range, seconds: float, shake: bool = False, **settings) -> dict:
    objects = found = crops = correct = switches = 0
    watches = []
    for seed in seeds:
        scene, rng = world(seed, 1 + seed % 6, **settings), np.random.default_rng(seed)
        watches.append(Stopwatch(AttentionConfig()))
        ids = {}
        for index in range(int(seconds * FPS)):
            t = index / FPS
            image = scene.render(t, index)
            chosen = watches[-1].attend(shake_image(image, rng) if shake else image, t)
            if t < WARMUP_S:
                continue
            items = [item for item in scene.truth(t) if item.visible >= 0.5]
            crops += len(chosen)
            correct += sum(any(covers(c.roi, item.roi) for item in items) for c in chosen)
            for item in items:
                objects += 1
                shown = [c for c in chosen if covers(c.roi, item.roi)]
                if shown:
                    found += 1
                    best = max(shown, key=lambda c: c.roi.iou(item.roi)).track_id
                    switches += ids.get(item.id, best) != best
                    ids[item.id] = best
    return {
        'recall': round(found / objects, 4),
        'precision': round(correct / crops, 4),
        'id_switches_per_object_frame': round(switches / objects, 5),
        'objects_evaluated': objects,
        'ms_per_frame': milliseconds(watches),
    }


def still(seeds: range, seconds: float, shake: bool = False, **settings) -> dict:
    """Return the motion crops of still scenes in which the gain steps up and down."""
    crops, watches = 0, []
    for seed in seeds:
        scene, rng = SyntheticWorld(seed, objects=0, **settings), np.random.default_rng(seed)
        watches.append(Stopwatch(AttentionConfig()))
        for index in range(int(seconds * FPS)):
            image = scene.render(index / FPS, index)
            image = cv2.convertScaleAbs(image, alpha=(1.0, 1.3, 0.8)[index // 60 % 3])
            crops += len(
                watches[-1].attend(shake_image(image, rng) if shake else image, index / FPS)
            )
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
        raise SystemExit(f'{path} is not a readable video')
    return {
        'frames': len(watch.wall),
        'crops_per_frame': round(crops / len(watch.wall), 2),
        'ms_per_frame': milliseconds([watch]),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('video', nargs='?', help='measure a video, too')
    parser.add_argument(
        '--seeds', type=int, default=6, help='number of worlds of each kind (default: 6)'
    )
    parser.add_argument(
        '--seconds', type=float, default=5.0, help='duration of each world, seconds (default: 5)'
    )
    args = parser.parse_args()
    cv2.setNumThreads(1)
    seeds = range(args.seeds)
    result = {
        'frame': '640x480',
        'moving_objects': moving_objects(seeds, args.seconds),
        'moving_objects_flicker': moving_objects(seeds, args.seconds, flicker=0.2),
        'moving_objects_shake': moving_objects(seeds, args.seconds, shake=True),
        'moving_objects_plain': moving_objects(seeds, args.seconds, background='plain'),
        'still': still(seeds, args.seconds),
        'still_flicker': still(seeds, args.seconds, flicker=0.3),
        'still_shake': still(seeds, args.seconds, shake=True),
    }
    if args.video:
        result['video'] = video(args.video)
    print(json.dumps(result))


if __name__ == '__main__':
    main()
