# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Motion attention: choose the regions of each frame to encode."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import numpy as np

from sage_perception.core.frame import Crop, CropSource
from sage_perception.core.latent import Roi
from sage_perception.vision.attention_config import AttentionConfig
from sage_perception.vision.crops import crop_image, square_roi
from sage_perception.vision.motion import Motion, MotionDetector
from sage_perception.vision.saliency import (
    InhibitionOfReturn,
    SalientRegion,
    StillAttention,
    blob_saliency,
)
from sage_perception.vision.tracking import COAST_S, Detection, Tracker

MIN_FRAME_SIDE = 16
"""Minimum width and height of a frame, pixels."""
WORKING_PIXELS = 40_000
"""Maximum number of pixels at the working resolution; larger frames are halved repeatedly."""
MAX_GAP_S = 2.0
"""Time without frames after which a new scene starts, seconds."""
MIN_ACTIVITY = 0.1
"""Activity below which a track gets no crop."""
MAX_IOU = 0.5
"""Intersection over union above which the weaker of two regions is suppressed."""
MAX_CONTAINED = 0.85
"""Fraction of a region inside another above which the smaller one is redundant."""
SALIENCY_PERIOD_S = 0.2
"""Time between two computations of the saliency, seconds."""
MARGIN = 1.2
"""Side of a region relative to the longer side of the object in it."""


@dataclass(frozen=True)
class _Candidate:
    """A region that competes for a crop."""

    roi: Roi
    score: float
    source: CropSource
    track_id: int


@dataclass(frozen=True)
class _Transform:
    """Maps between the frame and the background, which is `scale` times smaller and shifted."""

    scale: int
    shift: tuple[float, float]

    def to_frame(self, x: float, y: float) -> tuple[float, float]:
        """Return the position in the frame of a position in the background."""
        return (x + self.shift[0]) * self.scale, (y + self.shift[1]) * self.scale

    def to_background(self, roi: Roi) -> tuple[float, float, float]:
        """Return center x, y and side of `roi` in the background."""
        x, y = roi.center
        return (
            x / self.scale - self.shift[0],
            y / self.scale - self.shift[1],
            roi.width / self.scale,
        )


class MotionAttention:
    """Chooses crops from the frames of one camera.

    Moving objects come first. Each is tracked and keeps its `track_id`; its score fades over
    seconds when it stops. If `saliency_weight` is not 0, salient still regions fill the crops that
    are left. All times come from the stamps of the frames, so that the result does not depend on
    the frame rate.
    """

    _shape: tuple[int, ...]
    _stamp_s: float
    _detector: MotionDetector
    _tracker: Tracker
    _still: StillAttention
    _inhibition: InhibitionOfReturn
    _map: np.ndarray
    _still_map: np.ndarray
    _regions: list[SalientRegion]
    _saliency_s: float
    _crops: list[Crop]

    def __init__(self, config: AttentionConfig | None = None) -> None:
        self._ids = _track_ids()
        self._config = config or AttentionConfig()
        self._start((), (1, 1))

    @property
    def config(self) -> AttentionConfig:
        """Return the settings in use."""
        return self._config

    def reset(self, config: AttentionConfig | None = None) -> None:
        """Forget the scene and, if given, use another `config`; track ids are not reused."""
        self._config = config or self._config
        self._start((), (1, 1))

    def attend(self, image: np.ndarray, stamp_s: float) -> list[Crop]:
        """Return the crops of a frame, highest score first.

        The list is empty while the background of a new scene is learned. A new scene starts when
        the image shape changes, when a stamp precedes the last one, and after a gap of more than
        2 s.

        Args:
            image: uint8, `[H, W, 3]` in BGR order or `[H, W]` gray, at least 16×16 pixels.
            stamp_s: time of capture, seconds on any clock.

        Raises:
            ValueError: `image` has another shape or dtype, or `stamp_s` is not finite.
        """
        _check(image, stamp_s)
        dt = stamp_s - self._stamp_s
        if image.shape != self._shape or not 0 <= dt <= MAX_GAP_S:
            self._start(image.shape, (1, 1))
            dt = 0.0
        self._stamp_s = stamp_s

        small, scale = _halve(image)
        motion = self._detector.update(small, dt)
        if motion.new:
            self._forget(small.shape[:2])
        transform = _Transform(scale, motion.shift)
        factor = self._inhibition.factor
        count = self._config.max_crops
        chosen = _suppress(self._moving(motion, transform, factor, dt), count)
        self._map = motion.evidence
        if motion.ready and self._config.saliency_weight and len(chosen) < count:
            chosen = _suppress(chosen + self._still_regions(transform, factor), count)
            salient = self._config.saliency_weight * self._still_map * factor
            self._map = np.maximum(motion.evidence, salient)
        self._inhibition.attend([transform.to_background(c.roi) for c in chosen], dt)
        self._crops = [
            Crop(
                crop_image(image, c.roi, self._config.crop_size, self._config.color),
                c.roi,
                c.score,
                c.source,
                c.track_id,
            )
            for c in sorted(chosen, key=lambda c: -c.score)
        ]
        return list(self._crops)

    def get_latest_crop(self) -> Crop | None:
        """Return the crop of the latest frame with the highest score, or None without crops."""
        return self._crops[0] if self._crops else None

    def saliency_map(self) -> np.ndarray:
        """Return the evidence for attention in the latest frame, float32 `[h, w]` in [0, 1].

        The map has the working resolution: the frame halved until it has at most 40,000 pixels.
        """
        return self._map

    def _start(self, image_shape: tuple[int, ...], map_shape: tuple[int, int]) -> None:
        """Start a new scene with frames of `image_shape`."""
        config = self._config
        self._shape = image_shape
        self._stamp_s = -math.inf
        self._detector = MotionDetector(config.threshold, config.background_time_s)
        self._tracker = Tracker(self._ids)
        self._still = StillAttention(self._ids)
        self._inhibition = InhibitionOfReturn(config.inhibition, config.inhibition_s)
        self._map = np.zeros(map_shape, np.float32)
        self._crops = []
        self._forget(map_shape)

    def _forget(self, shape: tuple[int, int]) -> None:
        """Drop the state that refers to an earlier background; maps have `shape` from now on."""
        self._tracker.clear()
        self._still.clear()
        self._inhibition.reset(shape)
        self._still_map = np.zeros(shape, np.float32)
        self._regions = []
        self._saliency_s = -math.inf

    def _moving(
        self, motion: Motion, transform: _Transform, factor: np.ndarray, dt: float
    ) -> list[_Candidate]:
        """Update the tracks and return a candidate for each active one."""
        scale = transform.scale
        min_area = (self._config.min_object_px / scale) ** 2
        # Tracks use the coordinates of the background, which do not shake with the camera.
        detections = []
        for blob in motion.blobs:
            if blob.area >= min_area:
                left, top, right, bottom = (scale * v for v in blob.box)
                detections.append(
                    Detection((left, top, right, bottom), blob.contrast, blob.activity)
                )
        found = []
        for track in self._tracker.update(detections, dt):
            if not track.confirmed or track.activity < MIN_ACTIVITY:
                continue
            roi = self._roi(
                transform.to_frame(track.x / scale, track.y / scale),
                MARGIN * max(track.width, track.height),
            )
            x, y, _ = transform.to_background(roi)
            row = min(max(int(y), 0), factor.shape[0] - 1)
            column = min(max(int(x), 0), factor.shape[1] - 1)
            # Inhibition applies to resting objects, not to moving ones; blend in between.
            inhibited = track.activity + (1 - track.activity) * float(factor[row, column])
            certainty = 1 - track.missed_s / (2 * COAST_S)
            score = track.activity * track.contrast * inhibited * certainty
            found.append(_Candidate(roi, score, CropSource.MOTION, track.id))
        return found

    def _still_regions(self, transform: _Transform, factor: np.ndarray) -> list[_Candidate]:
        """Return candidates for the salient still regions, updated every `SALIENCY_PERIOD_S`."""
        if self._stamp_s - self._saliency_s >= SALIENCY_PERIOD_S:
            self._saliency_s = self._stamp_s
            maps = blob_saliency(self._detector.background)
            self._regions = self._still.select(maps, factor, self._config.max_crops)
            self._still_map = maps.max(axis=0)
        return [
            _Candidate(
                self._roi(
                    transform.to_frame(region.x + 0.5, region.y + 0.5),
                    MARGIN * region.side * transform.scale,
                ),
                self._config.saliency_weight * region.saliency,
                CropSource.SALIENCY,
                region.id,
            )
            for region in self._regions
        ]

    def _roi(self, center: tuple[float, float], side: float) -> Roi:
        side = min(max(side, self._config.min_roi_px), self._config.max_roi_px)
        height, width = self._shape[:2]
        return square_roi(center, side, width, height)


def _track_ids() -> Iterator[int]:
    """Yield 1, 2, … as uint32; 0 means no track."""
    while True:
        yield from range(1, 2**32)


def _check(image: np.ndarray, stamp_s: float) -> None:
    shape: tuple[int, ...] = getattr(image, 'shape', ())
    dtype = getattr(image, 'dtype', type(image).__name__)
    if dtype != np.uint8 or len(shape) not in (2, 3) or shape[2:] not in ((), (3,)):
        raise ValueError(f'image is {dtype} {shape}; attention requires uint8 [H, W, 3] or [H, W]')
    if min(shape[:2]) < MIN_FRAME_SIDE:
        raise ValueError(
            f'image is {shape[1]}x{shape[0]} pixels; attention requires at least '
            f'{MIN_FRAME_SIDE}x{MIN_FRAME_SIDE}'
        )
    if not math.isfinite(stamp_s):
        raise ValueError(f'stamp_s is {stamp_s}; it must be a finite number of seconds')


def _halve(image: np.ndarray) -> tuple[np.ndarray, int]:
    """Return `image` halved until it has at most `WORKING_PIXELS`, and the total factor.

    Halving by area is several times faster than any other ratio. An odd last row or column is
    dropped.
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
    """Return the `count` best candidates without redundant ones, moving objects first.

    Of two regions that overlap by more than `MAX_IOU` the weaker is dropped. Of two regions of
    which one contains the other the smaller is dropped, unless the larger is much weaker.
    """
    kept: list[_Candidate] = []
    for c in sorted(candidates, key=lambda c: (c.source != CropSource.MOTION, -c.score)):
        if any(
            k.roi.iou(c.roi) > MAX_IOU or c.roi.fraction_inside(k.roi) > MAX_CONTAINED
            for k in kept
        ):
            continue
        if c.source == CropSource.MOTION:
            kept = [
                k
                for k in kept
                if k.roi.fraction_inside(c.roi) <= MAX_CONTAINED or c.score < k.score / 2
            ]
        kept.append(c)
    return kept[:count]
