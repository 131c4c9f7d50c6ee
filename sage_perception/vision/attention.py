# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Attention: choose the regions of each frame to encode."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import lru_cache

import cv2
import numpy as np

from sage_perception.core.frame import Crop, CropSource
from sage_perception.core.latent import Roi
from sage_perception.core.track_ids import track_ids
from sage_perception.vision.attention_config import AttentionConfig
from sage_perception.vision.boxes import Box, area, center, clip, scaled, size
from sage_perception.vision.crops import crop_image, square_roi
from sage_perception.vision.ego_motion import CameraMotion, EgoMotion, mean_motion
from sage_perception.vision.external_regions import ExternalDetection, ExternalRegions
from sage_perception.vision.frame_times import FrameTimes
from sage_perception.vision.regions import Candidate, suppress
from sage_perception.vision.saliency import (
    InhibitionOfReturn,
    StillAttention,
    signature_saliency,
    square_around,
)
from sage_perception.vision.scene_motion import SceneMotion, SceneMotionDetector
from sage_perception.vision.thumbnails import thumbnail
from sage_perception.vision.track_scores import TrackScores
from sage_perception.vision.tracking import Detection, Tracker, View

MIN_FRAME_SIDE = 16
"""Minimum width and height of a frame, pixels."""
WORKING_PIXELS = 40_000
"""Maximum number of pixels at the working resolution; larger frames are halved repeatedly."""
MIN_ACTIVITY = 0.1
"""Activity below which a track gets no crop."""
BESIDE = 1.5
"""Side of the area around a moving region without still regions, relative to that region."""
MARGIN = 1.2
"""Side of a region relative to the longer side of the object in it."""
SLOTS_WEIGHT = 0.5
"""Score of a slot without a moving object, relative to its trust."""
MAX_SLOT_AREA = 0.5
"""Fraction of the frame above which a slot is background."""


class Attention:
    """Chooses crops from the frames of one camera, which may stand or move.

    Moving objects come first. Each is tracked and keeps its `track_id`; its score fades over
    seconds when it stops. Every `saliency_period_s`, salient still regions fill crops that are
    left, one after the other (inhibition of return). All times come from the stamps of the frames,
    so that the result does not depend on the frame rate.
    """

    _shape: tuple[int, ...]
    _times: FrameTimes
    _scene: SceneMotionDetector
    _tracker: Tracker
    _still: StillAttention
    _inhibition: InhibitionOfReturn
    _camera: CameraMotion | None
    _speed_px: float
    _still_map: np.ndarray
    _factor: np.ndarray
    _saliency_age_s: float
    _crops: list[Crop]

    def __init__(self, config: AttentionConfig | None = None, first_track_id: int = 1) -> None:
        """Start without a scene; the tracks are numbered from `first_track_id`."""
        self._ids = track_ids(first_track_id)
        self._config = config or AttentionConfig()
        self._times = FrameTimes()
        self._external = ExternalRegions(self._ids)
        self._slots = ExternalRegions(self._ids, CropSource.SLOTS, SLOTS_WEIGHT)
        self._track_scores = TrackScores()
        self._start((), (1, 1))

    @property
    def config(self) -> AttentionConfig:
        """Return the settings in use."""
        return self._config

    @property
    def camera_motion(self) -> CameraMotion | None:
        """Return the motion of the camera in the latest frame, in pixels of the working image.

        None if it was not estimated: the camera stands, or `ego_motion` is 'off'.
        """
        return self._camera

    @property
    def camera_speed_px(self) -> float:
        """Return the mean motion of the image in the latest frame, pixels of the frame."""
        return self._speed_px

    @property
    def ego_motion(self) -> str:
        """Return how the latest frame was analyzed: 'standing', 'moving' or 'learning'."""
        return self._scene.state

    @property
    def odd_stamps(self) -> int:
        """Return the number of frames whose stamp did not follow the stamp before."""
        return self._times.odd

    @property
    def unmatched_detections(self) -> int:
        """Return the number of calls of `add_detections` whose frame is not known."""
        return self._external.unmatched

    def add_detections(self, stamp_s: float, detections: Sequence[ExternalDetection]) -> None:
        """Add the boxes that another detector found in the frame with the stamp `stamp_s`.

        They get crops (source EXTERNAL) before all others, in the next frames and for half a
        second; they move with the camera. An empty sequence ends those before.
        """
        self._external.add(stamp_s, detections)

    def add_slots(self, stamp_s: float, regions: Sequence[ExternalDetection]) -> None:
        """Add the regions of object slots in the frame with the stamp `stamp_s`.

        A moving object that is also a slot gets a higher score. Other slots get crops (source
        SLOTS) after the moving objects. A region of more than `MAX_SLOT_AREA` of the frame is
        background and left out.
        """
        limit = MAX_SLOT_AREA * float(np.prod(self._shape[:2]))
        self._slots.add(stamp_s, [each for each in regions if area(each.box) <= limit])

    def set_track_scores(self, scores: Mapping[int, float], stamp_s: float) -> None:
        """Weight the tracks of the next frames by how well they fit a goal.

        `scores` in [0, 1] are those of the frame with the stamp `stamp_s`, 0.5 without effect; {}
        ends the goal. Raises `ValueError` for other values.
        """
        self._track_scores.set(scores, stamp_s)

    def reset(self, config: AttentionConfig | None = None) -> None:
        """Forget the scene and, if given, use another `config`; track ids are not reused."""
        self._config = config or self._config
        self._times = FrameTimes()
        self._start((), (1, 1))

    def attend(
        self, image: np.ndarray, stamp_s: float, camera_motion: np.ndarray | None = None
    ) -> list[Crop]:
        """Return the crops of a frame, highest score first.

        A new scene starts when the image shape changes, and when the stamps jump: back, or by more
        than 2 s. The first frame of a jump has no crops; a single odd stamp is left out.

        Args:
            image: uint8, `[H, W, 3]` in BGR order or `[H, W]` gray, at least 16×16 pixels.
            stamp_s: time of capture, seconds on any clock.
            camera_motion: homography `[3, 3]` from this frame to the last one, pixels of the
                frame, for example of `ego_motion.rotation_homography`; used if `ego_motion` is
                'odometry' or 'auto'.

        Raises:
            ValueError: `image` has another shape or dtype, or `stamp_s` is not finite.
        """
        _check(image, stamp_s)
        step = self._times.advance(stamp_s)
        if step.skip:
            self._crops = []
            return []
        if step.new or image.shape != self._shape:
            self._start(image.shape, (1, 1))
        small, scale = _halve(image)
        hint = self._hint(camera_motion, scale)
        motion = self._scene.update(small, step.dt, hint, self._tracker.near_objects)
        self._camera = motion.camera
        self._speed_px = scale * mean_motion(motion.matrix, small.shape[:2])
        if motion.new or self._still_map.shape != small.shape[:2]:
            self._forget(small.shape[:2])
        self._inhibition.move(motion.matrix)
        self._still.move(motion.matrix)
        for regions in (self._external, self._slots):
            regions.move(stamp_s, _scaled(motion.matrix, scale))
        count = self._config.max_crops
        moving = self._moving(motion, small, scale, step.dt)
        height, width = image.shape[:2]
        for regions in (self._slots, self._external):
            moving = regions.merge(moving, self._object_roi, width, height)
        weight = self._config.goal_weight
        chosen = suppress(self._track_scores.apply(moving, stamp_s, weight), count)
        self._saliency_age_s += step.dt
        if self._config.saliency_weight and self._saliency_age_s >= self._config.saliency_period_s:
            self._saliency_age_s = 0.0
            still = self._still_regions(small, scale, chosen)
            chosen = suppress(chosen + self._track_scores.apply(still, stamp_s, weight), count)
        self._factor = self._inhibition.factor
        squares = [
            (c.roi.center[0] / scale, c.roi.center[1] / scale, c.roi.width / scale)
            for c in chosen
            if c.source != CropSource.SALIENCY
        ]
        # The surroundings of a region are salient, too: inhibit them with it.
        squares += [(r.x, r.y, 2 * r.side) for r in self._still.regions]
        self._inhibition.attend(squares, step.dt)
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
        salient = self._config.saliency_weight * self._still_map * self._factor
        return np.maximum(self._scene.evidence(), salient)

    def _start(self, image_shape: tuple[int, ...], map_shape: tuple[int, int]) -> None:
        """Start a new scene with frames of `image_shape`."""
        config = self._config
        self._shape = image_shape
        ego = EgoMotion(fit=config.ego_motion != 'odometry')
        self._scene = SceneMotionDetector(
            config.threshold,
            config.background_time_s,
            None if config.ego_motion == 'off' else ego,
        )
        self._tracker = Tracker(self._ids)
        self._still = StillAttention(self._ids)
        self._inhibition = InhibitionOfReturn(config.inhibition, config.inhibition_s)
        self._camera, self._speed_px = None, 0.0
        self._crops = []
        self._forget(map_shape)

    def _forget(self, shape: tuple[int, int]) -> None:
        """Drop the state that refers to an earlier scene; maps have `shape` from now on."""
        self._tracker.clear()
        self._still.clear()
        self._external.clear()
        self._slots.clear()
        self._inhibition.reset(shape)
        self._still_map = np.zeros(shape, np.float32)
        self._factor = self._inhibition.factor
        self._saliency_age_s = math.inf

    def _hint(self, matrix: np.ndarray | None, scale: int) -> np.ndarray | None:
        """Return the homography of another source in working pixels, if it shall be used."""
        if matrix is None or self._config.ego_motion not in ('auto', 'odometry'):
            return None
        return _scaled(np.asarray(matrix, float), 1 / scale)

    def _moving(
        self, motion: SceneMotion, small: np.ndarray, scale: int, dt: float
    ) -> list[Candidate]:
        """Update the tracks and return a candidate for each active one."""
        min_area = (self._config.min_object_px / scale) ** 2
        detections = [
            Detection(
                _times(blob.box, scale),
                blob.contrast,
                blob.activity,
                blob.starts,
                blob.residual,
            )
            for blob in motion.blobs
            if blob.area >= min_area
        ]
        camera = motion.camera if self._scene.by_flow else None

        def displace(box: Box) -> Box | None:
            moved = self._scene.displace(_times(box, 1 / scale), camera) if camera else None
            return _times(moved, scale) if moved else None

        view = View(
            _scaled(motion.matrix, scale),
            displace if camera else None,
            lambda box: thumbnail(small, _times(box, 1 / scale)),
            blind=camera is not None and not camera.valid,
        )
        found = []
        for track in self._tracker.update(detections, dt, view):
            if not track.shown or track.activity < MIN_ACTIVITY:
                continue
            factor = self._inhibition.factor_at(track.x / scale, track.y / scale)
            # Inhibition applies to resting objects, not to moving ones; blend in between.
            inhibited = track.activity + (1 - track.activity) * factor
            certainty = 1 - track.missed_s / (2 * track.coast_s)
            score = track.activity * track.contrast * inhibited * certainty
            seen = clip(track.box, self._shape[1], self._shape[0])
            roi, extent = self._object_roi(seen), scaled(seen, MARGIN)
            found.append(Candidate(roi, score, CropSource.MOTION, track.id, extent))
        return found

    def _still_regions(
        self, small: np.ndarray, scale: int, moving: list[Candidate]
    ) -> list[Candidate]:
        """Return candidates for the most salient regions beside the `moving` ones.

        There are at most `max_salient`, and at most one beside moving ones.
        """
        maps = signature_saliency(small)
        self._still_map = maps.max(axis=0)
        weight = self._config.saliency_weight
        count = min(self._config.max_salient, self._config.max_crops - len(moving))
        factor = self._inhibition.factor
        for c in moving:
            count = min(count, 1)
            side = BESIDE * c.roi.width / scale
            x, y = c.roi.center[0] / scale, c.roi.center[1] / scale
            factor[square_around(x, y, side)] = 0
        return [
            Candidate(
                self._roi((region.x * scale, region.y * scale), region.side * scale),
                weight * region.saliency,
                CropSource.SALIENCY,
                region.id,
            )
            for region in self._still.select(maps, factor, count)
        ]

    def _object_roi(self, box: Box) -> Roi:
        """Return the region of an object."""
        return self._roi(center(box), MARGIN * max(size(box)))

    def _roi(self, center: tuple[float, float], side: float) -> Roi:
        side = min(max(side, self._config.min_roi_px), self._config.max_roi_px)
        height, width = self._shape[:2]
        return square_roi(center, side, width, height)


def _times(box: Box, scale: float) -> Box:
    left, top, right, bottom = box
    return scale * left, scale * top, scale * right, scale * bottom


def _scaled(matrix: np.ndarray, scale: float) -> np.ndarray:
    """Return a homography `[3, 3]` in pixels that are `scale` times smaller."""
    return np.asarray(matrix * _zoom(scale), float)


@lru_cache(maxsize=8)
def _zoom(scale: float) -> np.ndarray:
    """Return the factors `[3, 3]` of a homography's elements for pixels of another size."""
    factors = np.array([scale, scale, 1.0])
    return factors[:, None] / factors


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

    At half the size, linear interpolation is the mean of four pixels; the exact one is the fastest
    of OpenCV. An odd last row or column is dropped.
    """
    scale = 1
    while (
        image.shape[0] * image.shape[1] > WORKING_PIXELS
        and min(image.shape[:2]) >= 2 * MIN_FRAME_SIDE
    ):
        height, width = image.shape[0] // 2, image.shape[1] // 2
        even = image[: 2 * height, : 2 * width]
        image = cv2.resize(even, (width, height), interpolation=cv2.INTER_LINEAR_EXACT)
        scale *= 2
    return image, scale
