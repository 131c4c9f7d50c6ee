# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Scenes with moving objects, baselines and scores for bench/attention.py and bench/tracks.py."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np

from sage_perception.core.frame import CropSource
from sage_perception.core.latent import Roi
from sage_perception.vision import Attention
from sage_perception.vision.crops import square_roi
from sage_perception.vision.moving_camera import MovingCameraWorld
from sage_perception.vision.synthetic import SyntheticWorld

WIDTH, HEIGHT = 640, 480
VIDEO_FPS, SYNTHETIC_FPS = 24, 30
MIN_VISIBLE = 0.5
"""Visible fraction of a synthetic object from which it must be found."""
MIN_MASK = 50
"""Pixels of a mask at 640×480 from which its object must be found."""
MAX_TIMES = 9
"""Area of a region relative to the object's square up to which it shows the object."""
GOOD_IOU = 0.3
OTHER_PART = 0.3
"""Fraction of a region, or of another thing that moves, that both share in an exempt region."""
OTHERS = Path(__file__).with_name('attention_others.json')


@dataclass
class Sample:
    """A frame: the objects that must be found, and others that may be found."""

    image: np.ndarray
    stamp_s: float
    objects: dict[int, Roi]
    others: list[Roi] = field(default_factory=list)


Scene = Callable[[], Iterator[Sample]]
Finder = Callable[[np.ndarray, float], list[Roi]]


def masked_clips(folder: Path) -> dict[str, Scene]:
    """Return the clips with masks in `folder`: JPEGImages/NAME/*.jpg and Annotations/NAME/*.png.

    Without subfolders, the folder is one clip.
    """
    images = folder / 'JPEGImages'
    names = sorted(p.name for p in images.iterdir() if p.is_dir())
    others = json.loads(OTHERS.read_text())
    if not names:
        return {
            folder.name: lambda: _masked(
                images, folder / 'Annotations', others.get(folder.name, [])
            )
        }
    return {
        name: lambda name=name: _masked(
            images / name, folder / 'Annotations' / name, others.get(name, [])
        )
        for name in names
    }


def _masked(images: Path, masks: Path, others: list[dict]) -> Iterator[Sample]:
    for index, path in enumerate(sorted(images.glob('*.jpg'))):
        image = cv2.imread(str(path))
        mask = cv2.imread(str(masks / f'{path.stem}.png'), cv2.IMREAD_GRAYSCALE)
        image = cv2.resize(image, (WIDTH, HEIGHT), interpolation=cv2.INTER_AREA)
        mask = cv2.resize(mask, (WIDTH, HEIGHT), interpolation=cv2.INTER_AREA) > 0
        objects = {}
        if np.count_nonzero(mask) > MIN_MASK:
            objects[1] = Roi(*(int(v) for v in cv2.boundingRect(mask.astype(np.uint8))))
        exempt = [Roi(*o['roi']) for o in others if o['first'] <= index <= o['last']]
        yield Sample(image, index / VIDEO_FPS, objects, exempt)


def moving_camera(motion: str, px: float, seed: int, frames: int) -> Scene:
    """Return the synthetic world of a moving camera."""

    def samples() -> Iterator[Sample]:
        world = MovingCameraWorld(seed, motion, px)
        for index in range(frames):
            truth = world.truth(index)
            yield Sample(
                world.render(index),
                index / SYNTHETIC_FPS,
                {item.id: item.roi for item in truth if item.visible >= MIN_VISIBLE},
                [item.roi for item in truth if item.visible < MIN_VISIBLE],
            )

    return samples


def standing_camera(seed: int, frames: int, shake: float = 0.0, **settings) -> Scene:
    """Return the synthetic world of a standing camera with as many objects as fit."""

    def samples() -> Iterator[Sample]:
        rng = np.random.default_rng(seed)
        world = _world(seed, 1 + seed % 6, **settings)
        for index in range(frames):
            t = index / SYNTHETIC_FPS
            image = world.render(t, index)
            if shake:
                matrix = np.float32([[1, 0, 0], [0, 1, 0]])
                matrix[:, 2] = rng.uniform(-shake, shake, 2)
                image = cv2.warpAffine(image, matrix, (WIDTH, HEIGHT), borderMode=4)
            truth = world.truth(t)
            yield Sample(
                image,
                t,
                {item.id: item.roi for item in truth if item.visible >= MIN_VISIBLE},
                [item.roi for item in truth if item.visible < MIN_VISIBLE],
            )

    return samples


def _world(seed: int, objects: int, **settings) -> SyntheticWorld:
    while True:
        try:
            return SyntheticWorld(seed, objects=objects, **settings)
        except ValueError:
            objects -= 1
            if objects < 1:
                raise


def attention(source: CropSource = CropSource.MOTION) -> Finder:
    """Return attention, reduced to the regions of one source."""
    chooser = Attention()
    return lambda image, stamp_s: [
        crop.roi for crop in chooser.attend(image, stamp_s) if crop.source == source
    ]


def mog2() -> Finder:
    """Return the baseline of OpenCV's background model with contours."""
    model = cv2.createBackgroundSubtractorMOG2(detectShadows=False)
    return lambda image, stamp_s: _contours(model.apply(cv2.resize(image, (320, 240))))


def frame_difference() -> Finder:
    """Return the baseline of the difference between successive frames."""
    before: list[np.ndarray] = []

    def find(image: np.ndarray, stamp_s: float) -> list[Roi]:
        gray = cv2.GaussianBlur(cv2.cvtColor(cv2.resize(image, (320, 240)), 6), (5, 5), 0)
        before.append(gray)
        if len(before) < 2:
            return []
        return _contours((cv2.absdiff(gray, before.pop(0)) > 20).astype(np.uint8))

    return find


def center_square() -> Finder:
    """Return the baseline of one fixed square in the middle."""
    roi = square_roi((WIDTH / 2, HEIGHT / 2), HEIGHT / 2, WIDTH, HEIGHT)
    return lambda image, stamp_s: [roi]


def _contours(mask: np.ndarray) -> list[Roi]:
    """Return squares around the eight largest areas of a mask of 320×240."""
    mask = cv2.morphologyEx(cv2.medianBlur(mask, 5), cv2.MORPH_CLOSE, np.ones((7, 7), np.uint8))
    contours, _ = cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    boxes = sorted((cv2.boundingRect(c) for c in contours), key=lambda b: -b[2] * b[3])[:8]
    return [square_of(Roi(*(2 * v for v in b)), 1.2) for b in boxes if b[2] * b[3] >= 36]


def square_of(roi: Roi, margin: float = 1.0) -> Roi:
    """Return the square around a region, inside of the frame."""
    return square_roi(roi.center, margin * max(roi.width, roi.height), WIDTH, HEIGHT)


def shows(region: Roi, item: Roi) -> bool:
    """Return whether a region shows an object: its center without too much else, or IoU ≥ .3."""
    square, (x, y) = square_of(item), item.center
    inside = 0 <= x - region.x <= region.width and 0 <= y - region.y <= region.height
    return (inside and region.area <= MAX_TIMES * square.area) or region.iou(square) >= GOOD_IOU


def is_false(region: Roi, sample: Sample) -> bool:
    """Return whether a region shows no moving object, nor a part of one."""
    if any(
        shows(region, item) or region.fraction_inside(item) >= 0.5
        for item in sample.objects.values()
    ):
        return False
    return not is_exempt(region, sample)


def is_exempt(region: Roi, sample: Sample) -> bool:
    """Return whether a region shows a good part of something else that moves."""
    return any(
        region.fraction_inside(other) >= OTHER_PART or other.fraction_inside(region) >= OTHER_PART
        for other in sample.others
    )


@dataclass
class Score:
    """Counts over frames; `warmup` frames are not counted."""

    objects: int = 0
    found: int = 0
    good_square: int = 0
    good_box: int = 0
    false: int = 0
    unmarked: int = 0
    frames: int = 0

    def add(self, sample: Sample, regions: list[Roi]) -> None:
        """Count one frame."""
        self.frames += 1
        self.false += sum(is_false(region, sample) for region in regions)
        marked = Sample(sample.image, sample.stamp_s, sample.objects)
        self.unmarked += sum(is_false(region, marked) for region in regions)
        for item in sample.objects.values():
            square = square_of(item)
            self.objects += 1
            self.found += any(shows(region, item) for region in regions)
            self.good_square += any(region.iou(square) >= GOOD_IOU for region in regions)
            self.good_box += any(region.iou(item) >= GOOD_IOU for region in regions)

    def __add__(self, other: Score) -> Score:
        return Score(
            *(a + b for a, b in zip(vars(self).values(), vars(other).values(), strict=True))
        )

    def summary(self) -> dict[str, float]:
        """Return the rates."""
        objects, frames = max(self.objects, 1), max(self.frames, 1)
        return {
            'recall': round(self.found / objects, 4),
            'iou_square': round(self.good_square / objects, 4),
            'iou_box': round(self.good_box / objects, 4),
            'false_per_frame': round(self.false / frames, 4),
            'unmarked_per_frame': round(self.unmarked / frames, 4),
            'objects': self.objects,
            'frames': self.frames,
        }


def evaluate(scene: Scene, finder: Finder, warmup: int = 0) -> Score:
    """Return the score of a finder on a scene, without the first `warmup` frames."""
    score = Score()
    for index, sample in enumerate(scene()):
        regions = finder(sample.image, sample.stamp_s)
        if index >= warmup:
            score.add(sample, regions)
    return score
