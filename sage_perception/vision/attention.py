# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Motion attention: the few regions of each frame that are worth encoding."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import numpy as np

from sage_perception.latent import Roi
from sage_perception.vision.crops import COLOURS, crop_image, square_roi
from sage_perception.vision.frame import Crop, CropSource
from sage_perception.vision.motion import MotionDetector, find_blobs
from sage_perception.vision.saliency import (
    InhibitionOfReturn,
    Place,
    StillAttention,
    contrast_saliency,
)
from sage_perception.vision.tracking import COAST_S, Detection, Tracker

MIN_FRAME_SIDE = 16
"""Smallest frame that attention works on, pixels."""
WORKING_WIDTH = 240
"""Frames are halved until they are at most this wide, pixels."""
MAX_GAP_S = 2.0
"""Time without frames after which the scene counts as a new one, seconds."""
QUIET = 0.1
"""Activity below which a track is not worth a crop."""
OVERLAP = 0.5
"""Intersection over union above which the weaker of two regions is suppressed."""
LOOK_S = 0.2
"""Time between two looks for salient places, seconds."""
MARGIN = 1.2
"""Side of a region over the longer side of the blob in it."""


@dataclass(frozen=True)
class AttentionConfig:
    """How attention chooses; every field is checked, ValueError names the one out of range.

    crop_size: side of a crop, pixels, 8 to 512.
    max_crops: crops a frame at most, 1 to 24.
    colour: 'rgb' or 'grey' crops.
    threshold: distance from the background, in standard deviations of its noise, from which a
        pixel is in motion, 2 to 50; smaller is more sensitive.
    min_object_px: side of the smallest mover that is reported, pixels of the frame, 1 to 512.
    min_roi_px, max_roi_px: smallest and largest side of a region, pixels of the frame, 8 to 4096.
    absorb_s: time constant with which what has come to rest becomes background, 0.1 to 600 s.
    saliency_weight: score of the most salient still place against that of a mover, 0 to 1; at 0
        still places are never attended to.
    inhibition: share of its score that a still place loses while attention rests on it, 0 to 1.
    inhibition_s: time constant of that loss and of its recovery, 0.1 to 600 s.
    """

    crop_size: int = 64
    max_crops: int = 8
    colour: str = 'rgb'
    threshold: float = 5.0
    min_object_px: int = 12
    min_roi_px: int = 32
    max_roi_px: int = 480
    absorb_s: float = 3.0
    saliency_weight: float = 0.0
    inhibition: float = 0.7
    inhibition_s: float = 3.0

    def __post_init__(self):
        ranges = {
            'crop_size': (8, 512),
            'max_crops': (1, 24),
            'threshold': (2.0, 50.0),
            'min_object_px': (1, 512),
            'min_roi_px': (8, 4096),
            'max_roi_px': (8, 4096),
            'absorb_s': (0.1, 600.0),
            'saliency_weight': (0.0, 1.0),
            'inhibition': (0.0, 1.0),
            'inhibition_s': (0.1, 600.0),
        }
        for name, (low, high) in ranges.items():
            value = getattr(self, name)
            whole = isinstance(low, int)
            if isinstance(value, bool) or not isinstance(value, int if whole else (int, float)):
                kind = 'a whole number' if whole else 'a number'
                raise ValueError(f'{name} is {value!r}; it is {kind} in [{low}, {high}]')
            if not low <= value <= high:
                raise ValueError(f'{name} is {value}; its range is [{low}, {high}]')
        if self.colour not in COLOURS:
            raise ValueError(f'colour is {self.colour!r}; it is one of {", ".join(COLOURS)}')
        if self.min_roi_px > self.max_roi_px:
            raise ValueError(
                f'min_roi_px is {self.min_roi_px}; its range is [8, max_roi_px={self.max_roi_px}]'
            )


@dataclass(frozen=True)
class _Candidate:
    """A region of the frame that asks for attention."""

    roi: Roi
    score: float
    source: CropSource
    track_id: int


class MotionAttention:
    """Chooses crops from the frames of one camera.

    Movers come first: each is followed and keeps its `track_id`. Where they leave room and
    `saliency_weight` is not 0, the most salient still places follow. A mover that stops fades
    over seconds. All times are taken from the stamps, so that the frame rate does not matter.
    """

    def __init__(self, config: AttentionConfig | None = None):
        self.config = config or AttentionConfig()
        ids = _track_ids()
        self._detector = MotionDetector(self.config.threshold, self.config.absorb_s)
        self._tracker = Tracker(ids)
        self._still = StillAttention(ids)
        self._inhibition = InhibitionOfReturn(self.config.inhibition, self.config.inhibition_s)
        self.reset()

    def reset(self) -> None:
        """Forget the scene and everything in it; track ids are not used again."""
        self._shape: tuple[int, ...] | None = None
        self._stamp_s = -math.inf
        self._map = np.zeros((1, 1), np.float32)
        self._crops: list[Crop] = []
        self._detector.reset()
        self._forget()

    def _forget(self) -> None:
        self._tracker.clear()
        self._still.clear()
        self._still_map = None
        self._places: list[Place] = []
        self._looked_s = -math.inf

    def attend(self, image: np.ndarray, stamp_s: float) -> list[Crop]:
        """Return the crops of a frame, best first; none while the scene is being learnt.

        `image` is uint8, `[H, W, 3]` in OpenCV's order (blue, green, red) or `[H, W]` grey, at
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
            self._forget()
            self._inhibition.reset(*small.shape[:2])
        smallest = max(round((self.config.min_object_px / scale) ** 2), 1)
        blobs = [
            Detection(tuple(scale * v for v in blob.box), blob.contrast, blob.activity)
            for blob in find_blobs(motion, smallest)
        ]
        tracks = self._tracker.update(blobs, dt)

        shift = motion.shift[0] * scale, motion.shift[1] * scale
        factor = self._inhibition.factor
        candidates = self._movers(tracks, shift, scale, factor)
        candidates = _suppress(candidates, self.config.max_crops)
        if self.config.saliency_weight and motion.ready:
            if len(candidates) < self.config.max_crops:
                still = self._still_places(shift, scale, factor)
                candidates = _suppress(candidates + still, self.config.max_crops)
        self._inhibition.attend([_on_map(c.roi, shift, scale) for c in candidates], dt)
        self._map = np.clip(motion.contrast * motion.foreground / (4 * self.config.threshold), 0, 1)
        if self._still_map is not None:
            still = self.config.saliency_weight * self._still_map.max(axis=0) * factor
            self._map = np.maximum(self._map, still)
        self._crops = [
            Crop(
                crop_image(image, c.roi, self.config.crop_size, self.config.colour),
                c.roi,
                c.score,
                c.source,
                c.track_id,
            )
            for c in sorted(candidates, key=lambda c: -c.score)
        ]
        return self._crops

    def get_latest_crop(self) -> Crop | None:
        """Return the best crop of the latest frame; None where nothing asked for attention."""
        return self._crops[0] if self._crops else None

    def saliency_map(self) -> np.ndarray:
        """Return what attention saw in the latest frame, float32 `[h, w]` in [0, 1].

        The map is at working resolution: the frame halved until it is at most 240 pixels wide.
        """
        return self._map

    def _movers(self, tracks, shift, scale, factor) -> list[_Candidate]:
        found = []
        for track in tracks:
            if not track.confirmed or track.activity < QUIET:
                continue
            roi = self._roi((track.x + shift[0], track.y + shift[1]), MARGIN * max(track.width, track.height))
            x, y, _ = _on_map(roi, shift, scale)
            inhibited = float(factor[_within(y, factor.shape[0]), _within(x, factor.shape[1])])
            # What moves is not inhibited, what has come to rest is, in between in proportion.
            weight = track.activity + (1 - track.activity) * inhibited
            missed = 1 - 0.5 * track.missed_s / COAST_S
            score = track.activity * track.contrast * weight * missed
            found.append(_Candidate(roi, score, CropSource.MOTION, track.id))
        return found

    def _still_places(self, shift, scale, factor) -> list[_Candidate]:
        if self._stamp_s - self._looked_s >= LOOK_S:
            self._looked_s = self._stamp_s
            self._still_map = contrast_saliency(self._detector.background)
            self._places = self._still.look(self._still_map, factor, self.config.max_crops)
        found = []
        for place in self._places:
            center = (place.x + 0.5) * scale + shift[0], (place.y + 0.5) * scale + shift[1]
            roi = self._roi(center, place.side * scale)
            score = self.config.saliency_weight * place.saliency
            found.append(_Candidate(roi, score, CropSource.SALIENCY, place.id))
        return found

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
    """Return `image` halved until it is narrow enough, and how much smaller it is then.

    Halving by area is several times faster than any other ratio; an odd last row or column is
    left out.
    """
    scale = 1
    while image.shape[1] > WORKING_WIDTH and min(image.shape[:2]) >= 2 * MIN_FRAME_SIDE:
        height, width = image.shape[0] // 2, image.shape[1] // 2
        even = image[: 2 * height, : 2 * width]
        image = cv2.resize(even, (width, height), interpolation=cv2.INTER_AREA)
        scale *= 2
    return image, scale


def _suppress(candidates: list[_Candidate], count: int) -> list[_Candidate]:
    """Return the `count` best candidates, movers first, without those that others cover."""
    kept: list[_Candidate] = []
    for c in sorted(candidates, key=lambda c: (c.source != CropSource.MOTION, -c.score)):
        if len(kept) < count and all(c.roi.iou(k.roi) <= OVERLAP for k in kept):
            kept.append(c)
    return kept


def _on_map(roi: Roi, shift: tuple[float, float], scale: int) -> tuple[float, float, float]:
    """Return centre and side of `roi` in pixels of the background."""
    x, y = roi.center
    return (x - shift[0]) / scale, (y - shift[1]) / scale, roi.width / scale


def _within(position: float, size: int) -> int:
    return min(max(int(position), 0), size - 1)
