# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Motion attention: the few regions of each frame that are worth encoding."""

from __future__ import annotations

import math
import numbers
from collections.abc import Iterator
from dataclasses import Field, dataclass, field, fields

import cv2
import numpy as np

from sage_perception.core.frame import Crop, CropSource
from sage_perception.core.latent import Roi
from sage_perception.vision.crops import COLORS, crop_image, square_roi
from sage_perception.vision.motion import Motion, MotionDetector
from sage_perception.vision.saliency import (
    InhibitionOfReturn,
    Place,
    StillAttention,
    blob_saliency,
)
from sage_perception.vision.tracking import COAST_S, Detection, Tracker

MIN_FRAME_SIDE = 16
"""Smallest frame that attention works on, pixels."""
WORKING_PIXELS = 40_000
"""Frames are halved until they have at most so many pixels."""
MAX_GAP_S = 2.0
"""Time without frames after which the scene counts as a new one, seconds."""
QUIET = 0.1
"""Activity below which a track is not worth a crop."""
OVERLAP = 0.5
"""Intersection over union above which the weaker of two regions is suppressed."""
NESTED = 0.85
"""Share of a region within another from which on the two tell the same."""
LOOK_S = 0.2
"""Time between two looks for salient places, seconds."""
MARGIN = 1.2
"""Side of a region over the longer side of the blob in it."""


def _setting(default: object, description: str, **limits: object) -> object:
    return field(default=default, metadata={'description': description, **limits})


@dataclass(frozen=True)
class AttentionConfig:
    """How attention chooses.

    Each field describes itself: its `metadata` has a `description` and either `minimum` and
    `maximum`, both allowed, or `choices`. ValueError names a field that is out of range.
    """

    crop_size: int = _setting(64, 'Side of a crop, pixels.', minimum=8, maximum=512)
    max_crops: int = _setting(8, 'Crops of a frame at most.', minimum=1, maximum=24)
    color: str = _setting('rgb', 'Colors of the crops.', choices=COLORS)
    threshold: float = _setting(
        5.0,
        'Difference from the background that counts, standard deviations; less is more sensitive.',
        minimum=2.0,
        maximum=50.0,
    )
    min_object_px: int = _setting(
        12, 'Side of the smallest mover, pixels of the frame.', minimum=1, maximum=512
    )
    min_roi_px: int = _setting(
        32, 'Smallest side of a region, pixels of the frame.', minimum=8, maximum=4096
    )
    max_roi_px: int = _setting(
        480, 'Largest side of a region, pixels of the frame.', minimum=8, maximum=4096
    )
    background_time_s: float = _setting(
        3.0,
        'How long something rests until it is part of the background, seconds.',
        minimum=0.1,
        maximum=600.0,
    )
    saliency_weight: float = _setting(
        0.0,
        'Score of the most salient still place where movers leave room; 0: movers only.',
        minimum=0.0,
        maximum=1.0,
    )
    inhibition: float = _setting(
        0.7,
        'Share of its score that a still place loses while attention rests on it.',
        minimum=0.0,
        maximum=1.0,
    )
    inhibition_s: float = _setting(
        3.0,
        'Time constant of that loss and of the recovery from it, seconds.',
        minimum=0.1,
        maximum=600.0,
    )

    def __post_init__(self):
        for setting in fields(self):
            _check_setting(setting, getattr(self, setting.name))
        if self.min_roi_px > self.max_roi_px:
            raise ValueError(
                f'min_roi_px is {self.min_roi_px}; it is at most max_roi_px, {self.max_roi_px}'
            )


def _check_setting(setting: Field, value: object) -> None:
    kind, limits = type(setting.default), setting.metadata
    if kind is str:
        if value not in limits['choices']:
            allowed = ', '.join(limits['choices'])
            raise ValueError(f'{setting.name} is {value!r}; it is one of {allowed}')
        return
    low, high = limits['minimum'], limits['maximum']
    number = isinstance(value, numbers.Integral if kind is int else numbers.Real)
    if not number or isinstance(value, bool) or not low <= value <= high:
        word = 'a whole number' if kind is int else 'a number'
        raise ValueError(f'{setting.name} is {value!r}; it is {word} in [{low}, {high}]')


@dataclass(frozen=True)
class _Candidate:
    """A region of the frame that asks for attention."""

    roi: Roi
    score: float
    source: CropSource
    track_id: int


@dataclass(frozen=True)
class _View:
    """How the image that is worked on lies in the frame: `scale` times smaller, and shifted."""

    scale: int
    shift: tuple[float, float]

    def in_frame(self, x: float, y: float) -> tuple[float, float]:
        """Return the place in the frame of a place in the background."""
        return (x + self.shift[0]) * self.scale, (y + self.shift[1]) * self.scale

    def place(self, roi: Roi) -> tuple[float, float, float]:
        """Return center x, y and side of `roi` in the background."""
        x, y = roi.center
        return (
            x / self.scale - self.shift[0],
            y / self.scale - self.shift[1],
            roi.width / self.scale,
        )


class MotionAttention:
    """Chooses crops from the frames of one camera.

    Movers come first: each is followed and keeps its `track_id`. Where they leave room and
    `saliency_weight` is not 0, the most salient still places follow. A mover that stops fades
    over seconds. All times are taken from the stamps, so that the frame rate does not matter.
    """

    def __init__(self, config: AttentionConfig | None = None):
        self._ids = _track_ids()
        self.reset(config or AttentionConfig())

    def reset(self, config: AttentionConfig | None = None) -> None:
        """Forget the scene, and go on with `config` if it is given; no id is used again."""
        self.config = config or self.config
        self._detector = MotionDetector(self.config.threshold, self.config.background_time_s)
        self._tracker = Tracker(self._ids)
        self._still = StillAttention(self._ids)
        self._inhibition = InhibitionOfReturn(self.config.inhibition, self.config.inhibition_s)
        self._forget((1, 1))
        self._shape: tuple[int, ...] | None = None
        self._stamp_s = -math.inf
        self._map = np.zeros((1, 1), np.float32)
        self._crops: list[Crop] = []

    def attend(self, image: np.ndarray, stamp_s: float) -> list[Crop]:
        """Return the crops of a frame, best first; none while the scene is being learnt.

        `image` is uint8, `[H, W, 3]` in OpenCV's order (blue, green, red) or `[H, W]` gray, at
        least 16 × 16 pixels. `stamp_s` is when it was captured, seconds on any clock. Another
        shape, a stamp before the last one or more than 2 s after it begin a new scene.
        ValueError for anything else than such an image and a finite stamp.
        """
        _check(image, stamp_s)
        dt = stamp_s - self._stamp_s
        if image.shape != self._shape or not 0 <= dt <= MAX_GAP_S:
            self.reset()
            self._shape, dt = image.shape, 0.0
        self._stamp_s = stamp_s

        small, scale = _halved(image)
        motion = self._detector.update(small, dt)
        if motion.new:
            self._forget(small.shape[:2])
        view = _View(scale, motion.shift)
        factor = self._inhibition.factor
        chosen = _suppress(self._movers(motion, view, factor, dt), self.config.max_crops)
        self._map = motion.evidence
        if motion.ready and self.config.saliency_weight and len(chosen) < self.config.max_crops:
            still = self._still_places(view, factor)
            chosen = _suppress(chosen + still, self.config.max_crops)
            salient = self.config.saliency_weight * self._still_map * factor
            self._map = np.maximum(motion.evidence, salient)
        self._inhibition.attend([view.place(c.roi) for c in chosen], dt)
        self._crops = [
            Crop(
                crop_image(image, c.roi, self.config.crop_size, self.config.color),
                c.roi,
                c.score,
                c.source,
                c.track_id,
            )
            for c in sorted(chosen, key=lambda c: -c.score)
        ]
        return list(self._crops)

    def get_latest_crop(self) -> Crop | None:
        """Return the best crop of the latest frame; None where nothing asked for attention."""
        return self._crops[0] if self._crops else None

    def saliency_map(self) -> np.ndarray:
        """Return what attention saw in the latest frame, float32 `[h, w]` in [0, 1].

        The map is at working resolution: the frame halved until it has at most 40,000 pixels.
        """
        return self._map

    def _forget(self, shape: tuple[int, int]) -> None:
        """Give up what was seen in a background that is no more; maps are `shape` from here on."""
        self._tracker.clear()
        self._still.clear()
        self._inhibition.reset(shape)
        self._still_map = np.zeros(shape, np.float32)
        self._places: list[Place] = []
        self._looked_s = -math.inf

    def _movers(
        self, motion: Motion, view: _View, factor: np.ndarray, dt: float
    ) -> list[_Candidate]:
        smallest = (self.config.min_object_px / view.scale) ** 2
        # Tracks live in the background's coordinates, in which a camera that shakes rests.
        blobs = [
            Detection(tuple(view.scale * v for v in blob.box), blob.contrast, blob.activity)
            for blob in motion.blobs
            if blob.area >= smallest
        ]
        found = []
        for track in self._tracker.update(blobs, dt):
            if not track.confirmed or track.activity < QUIET:
                continue
            roi = self._roi(
                view.in_frame(track.x / view.scale, track.y / view.scale),
                MARGIN * max(track.width, track.height),
            )
            x, y, _ = view.place(roi)
            row = min(max(int(y), 0), factor.shape[0] - 1)
            column = min(max(int(x), 0), factor.shape[1] - 1)
            # What moves is not inhibited, what has come to rest is, in between in proportion.
            inhibited = track.activity + (1 - track.activity) * float(factor[row, column])
            certain = 1 - track.missed_s / (2 * COAST_S)
            score = track.activity * track.contrast * inhibited * certain
            found.append(_Candidate(roi, score, CropSource.MOTION, track.id))
        return found

    def _still_places(self, view: _View, factor: np.ndarray) -> list[_Candidate]:
        if self._stamp_s - self._looked_s >= LOOK_S:
            self._looked_s = self._stamp_s
            maps = blob_saliency(self._detector.background)
            self._places = self._still.look(maps, factor, self.config.max_crops)
            self._still_map = maps.max(axis=0)
        return [
            _Candidate(
                self._roi(view.in_frame(p.x + 0.5, p.y + 0.5), MARGIN * p.side * view.scale),
                self.config.saliency_weight * p.saliency,
                CropSource.SALIENCY,
                p.id,
            )
            for p in self._places
        ]

    def _roi(self, center: tuple[float, float], side: float) -> Roi:
        side = min(max(side, self.config.min_roi_px), self.config.max_roi_px)
        return square_roi(center, side, self._shape[1], self._shape[0])


def _track_ids() -> Iterator[int]:
    """Yield 1, 2, … as uint32; 0 means no track."""
    while True:
        yield from range(1, 2**32)


def _check(image: np.ndarray, stamp_s: float) -> None:
    shape, dtype = getattr(image, 'shape', None), getattr(image, 'dtype', None)
    if dtype != np.uint8 or len(shape) not in (2, 3) or shape[2:] not in ((), (3,)):
        raise ValueError(f'image is {dtype} {shape}; attention takes uint8 [H, W, 3] or [H, W]')
    if min(shape[:2]) < MIN_FRAME_SIDE:
        raise ValueError(
            f'image is {shape[1]}x{shape[0]} pixels; attention needs '
            f'{MIN_FRAME_SIDE}x{MIN_FRAME_SIDE} at least'
        )
    if not math.isfinite(stamp_s):
        raise ValueError(f'stamp_s is {stamp_s}; a stamp is a finite number of seconds')


def _halved(image: np.ndarray) -> tuple[np.ndarray, int]:
    """Return `image` halved until it is small enough, and how much smaller it is then.

    Halving by area is several times faster than any other ratio; an odd last row or column is
    left out.
    """
    scale = 1
    while (
        image.shape[0] * image.shape[1] > WORKING_PIXELS
        and min(image.shape[:2]) >= 2 * MIN_FRAME_SIDE
    ):
        height, width = image.shape[0] // 2, image.shape[1] // 2
        even = image[: 2 * height, : 2 * width]
        image = cv2.resize(even, (width, height), interpolation=cv2.INTER_AREA)
        scale *= 2
    return image, scale


def _suppress(candidates: list[_Candidate], count: int) -> list[_Candidate]:
    """Return the `count` best candidates, movers first, none of which tells what another does.

    Of two regions that are about the same the weaker goes; of two of which one holds the other,
    the smaller goes, unless the larger is much weaker.
    """
    kept: list[_Candidate] = []
    for c in sorted(candidates, key=lambda c: (c.source != CropSource.MOTION, -c.score)):
        if any(k.roi.iou(c.roi) > OVERLAP or c.roi.share_in(k.roi) > NESTED for k in kept):
            continue
        if c.source == CropSource.MOTION:
            kept = [k for k in kept if k.roi.share_in(c.roi) <= NESTED or c.score < k.score / 2]
        kept.append(c)
    return kept[:count]
