# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Track blobs from frame to frame.

Each track is a constant-velocity Kalman filter on the center of its box; detections are assigned
to predictions by the Hungarian method (Bewley et al., "SORT", 2016). A blob that splits into parts
keeps its track, and blobs that merge keep theirs.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import linear_sum_assignment

CONFIRM_HITS = 3
"""Minimum number of detections of a confirmed track."""
CONFIRM_S = 0.08
"""Minimum age of a confirmed track, seconds."""
COAST_S = 0.5
"""Maximum time a confirmed track continues without a detection, seconds."""
FADE_S = 2.0
"""Time constant with which the activity of a track that stopped fades, seconds."""
SIZE_S = 0.3
"""Time constant of a track's width and height, seconds."""
MERGED_S = 1.0
"""Time two tracks may share a blob before the younger one is dropped, seconds."""
POSITION = (3.0, 0.03)
"""Standard deviation of a detection's center: pixels, and fraction of its longer side."""
ACCELERATION = 8000.0
"""Spectral density of the acceleration of tracked objects, px²/s³."""
SPEED = 150.0
"""Standard deviation of the speed of a new object, pixels per second."""
GATE = 3.0
"""Maximum distance between a prediction and its detection, standard deviations."""
MIN_IOU = 0.1
"""Intersection over union with the prediction that a detection outside the gate requires."""
MIN_PART_INSIDE = 0.6
"""Fraction of a detection inside a track's box above which it is a part of the track's object."""
MIN_PART_FILL = 0.5
"""Minimum fraction of their common box that two parts of one object fill."""

Box = tuple[float, float, float, float]
"""Left, top, right, bottom, pixels."""


@dataclass(frozen=True)
class Detection:
    """A blob: its box, pixels, and its contrast and activity in [0, 1]."""

    box: Box
    contrast: float = 1.0
    activity: float = 1.0


@dataclass(eq=False)
class Track:
    """A tracked object; lengths in pixels, velocities in pixels per second.

    Attributes:
        activity: maximum of the detections' activity, fading with `FADE_S`.
        covariance: of position and velocity along one axis (the same for both axes): position,
            position × velocity, velocity.
        hits: number of detections.
        missed_s: time since the last detection, seconds.
        shared_s: time the track has shared its blob with an older track, seconds.
    """

    id: int
    x: float
    y: float
    width: float
    height: float
    contrast: float
    activity: float
    vx: float = 0.0
    vy: float = 0.0
    covariance: tuple[float, float, float] = (POSITION[0] ** 2, 0.0, SPEED**2)
    hits: int = 1
    age_s: float = 0.0
    missed_s: float = 0.0
    shared_s: float = 0.0

    @property
    def box(self) -> Box:
        """Return the box around the estimated center, pixels."""
        return (
            self.x - self.width / 2,
            self.y - self.height / 2,
            self.x + self.width / 2,
            self.y + self.height / 2,
        )

    @property
    def confirmed(self) -> bool:
        """Return whether the track has enough detections over a long enough time."""
        return self.hits >= CONFIRM_HITS and self.age_s >= CONFIRM_S

    def predict(self, dt: float) -> None:
        """Advance the state by `dt` seconds."""
        self.x += self.vx * dt
        self.y += self.vy * dt
        p, c, v = self.covariance
        self.covariance = (
            p + 2 * dt * c + dt * dt * v + ACCELERATION * dt**3 / 3,
            c + dt * v + ACCELERATION * dt * dt / 2,
            v + ACCELERATION * dt,
        )
        self.activity *= math.exp(-dt / FADE_S)
        self.age_s += dt
        self.missed_s += dt

    def correct(self, x: float, y: float) -> None:
        """Update the state with a measured center (x, y), pixels."""
        noise = POSITION[0] ** 2 + (POSITION[1] * max(self.width, self.height)) ** 2
        p, c, v = self.covariance
        position_gain, velocity_gain = p / (p + noise), c / (p + noise)
        dx, dy = x - self.x, y - self.y
        self.x, self.y = self.x + position_gain * dx, self.y + position_gain * dy
        self.vx, self.vy = self.vx + velocity_gain * dx, self.vy + velocity_gain * dy
        self.covariance = (
            p * (1 - position_gain),
            c * (1 - position_gain),
            v - velocity_gain * c,
        )
        self.hits += 1
        self.missed_s = 0.0

    def resize(self, width: float, height: float, dt: float) -> None:
        """Filter a measured size, pixels; a new track adopts it directly."""
        rate = max(1 - math.exp(-dt / SIZE_S), 1 / self.hits)
        self.width += rate * (width - self.width)
        self.height += rate * (height - self.height)


class Tracker:
    """Tracks blobs; `ids` yields the id of each new track."""

    def __init__(self, ids: Iterator[int]) -> None:
        self._ids = ids
        self._tracks: list[Track] = []

    def clear(self) -> None:
        """Drop all tracks."""
        self._tracks = []

    def update(self, detections: Sequence[Detection], dt: float) -> list[Track]:
        """Process the blobs of a frame `dt` seconds after the last one; return all tracks."""
        for track in self._tracks:
            track.predict(dt)
        owners = self._assign(detections)
        unassigned = [track for track in self._tracks if track not in owners.values()]
        new = [d for i, d in enumerate(detections) if i not in owners]
        for i, owner in owners.items():
            blob = detections[i]
            merged = [t for t in unassigned if t.confirmed and _contains(blob.box, t.x, t.y)]
            if merged:
                self._share(blob, sorted([owner, *merged], key=lambda t: t.id), dt)
                continue
            parts = [d for d in new if _is_part(d.box, blob.box, owner.box)]
            new = [d for d in new if d not in parts]
            box = _union([blob.box, *(d.box for d in parts)])
            owner.correct(*_center(box))
            owner.resize(*_size(box), dt)
            owner.shared_s = 0.0
            _update_appearance(owner, blob)
        self._tracks = [t for t in self._tracks if t.missed_s <= (COAST_S if t.confirmed else 0)]
        self._tracks = [t for t in self._tracks if t.shared_s <= MERGED_S]
        for blob in new:
            track = Track(
                next(self._ids), *_center(blob.box), *_size(blob.box), blob.contrast, blob.activity
            )
            self._tracks.append(track)
        return self._tracks

    def _assign(self, detections: Sequence[Detection]) -> dict[int, Track]:
        """Return the track of each assigned detection, by the index of the detection."""
        if not detections or not self._tracks:
            return {}
        found = np.array([blob.box for blob in detections])[:, None]
        expected = np.array([track.box for track in self._tracks])[None]
        overlap = _iou(found, expected)
        offset = (found[..., :2] + found[..., 2:] - expected[..., :2] - expected[..., 2:]) / 2
        distance = np.hypot(offset[..., 0], offset[..., 1])
        gate = GATE * np.sqrt([t.covariance[0] + POSITION[0] ** 2 for t in self._tracks])
        reach = gate + np.max(expected[..., 2:] - expected[..., :2], axis=-1)
        costs = 1 - overlap + distance / reach
        allowed = (distance < gate) | (overlap > MIN_IOU)
        pairs = zip(*linear_sum_assignment(np.where(allowed, costs, 1e3)), strict=True)
        return {int(i): self._tracks[j] for i, j in pairs if allowed[i, j]}

    @staticmethod
    def _share(blob: Detection, tracks: list[Track], dt: float) -> None:
        """Update several tracks, oldest first, with the one blob they have merged into."""
        for track in tracks:
            track.correct(
                _clamp(track.x, blob.box[0], blob.box[2], track.width),
                _clamp(track.y, blob.box[1], blob.box[3], track.height),
            )
            _update_appearance(track, blob)
        for younger in tracks[1:]:
            younger.shared_s += dt


def _update_appearance(track: Track, blob: Detection) -> None:
    track.contrast = blob.contrast
    track.activity = max(track.activity, blob.activity)


def _center(box: Box) -> tuple[float, float]:
    return (box[0] + box[2]) / 2, (box[1] + box[3]) / 2


def _size(box: Box) -> tuple[float, float]:
    return box[2] - box[0], box[3] - box[1]


def _area(box: Box) -> float:
    return max(box[2] - box[0], 0) * max(box[3] - box[1], 0)


def _intersection(a: Box, b: Box) -> float:
    """Return the area of the intersection of two boxes."""
    return _area((max(a[0], b[0]), max(a[1], b[1]), min(a[2], b[2]), min(a[3], b[3])))


def _iou(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Return intersection over union of boxes `[..., 4]`, broadcast against each other."""
    low, high = np.maximum(a[..., :2], b[..., :2]), np.minimum(a[..., 2:], b[..., 2:])
    shared = np.prod(np.maximum(high - low, 0), axis=-1)
    areas = [np.prod(box[..., 2:] - box[..., :2], axis=-1) for box in (a, b)]
    return shared / (areas[0] + areas[1] - shared)


def _union(boxes: Sequence[Box]) -> Box:
    left, top, right, bottom = zip(*boxes, strict=True)
    return min(left), min(top), max(right), max(bottom)


def _contains(box: Box, x: float, y: float) -> bool:
    return box[0] <= x <= box[2] and box[1] <= y <= box[3]


def _clamp(center: float, low: float, high: float, side: float) -> float:
    """Return the center nearest to `center` at which `side` fits between `low` and `high`."""
    if high - low <= side:
        return (low + high) / 2
    return min(max(center, low + side / 2), high - side / 2)


def _is_part(box: Box, main: Box, track: Box) -> bool:
    """Return whether `box` and `main`, the blob of `track`, are parts of one object."""
    inside = _intersection(box, track) > MIN_PART_INSIDE * _area(box)
    return inside and _area(box) + _area(main) > MIN_PART_FILL * _area(_union([box, main]))
