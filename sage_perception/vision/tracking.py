# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Which blob of this frame is which blob of the frames before.

Each track is a constant-velocity Kalman filter on the center of its box; detections are assigned
to predictions by the Hungarian method (Bewley et al., "SORT", 2016). A blob that breaks into
pieces keeps its track, and blobs that melt into one another keep theirs.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import linear_sum_assignment

CONFIRM_HITS = 3
"""Detections a track needs before it is believed ..."""
CONFIRM_S = 0.08
"""... and the time they span at least, seconds."""
COAST_S = 0.5
"""How long a believed track goes on without a detection, seconds."""
FADE_S = 2.0
"""Time constant with which the activity of a track that stopped fades, seconds."""
SIZE_S = 0.3
"""Time constant of a track's width and height, seconds."""
TWINS_S = 1.0
"""How long two tracks share a blob before the younger one is given up, seconds."""
POSITION = (3.0, 0.03)
"""Standard deviation of a detection's center: pixels, and share of its longer side."""
JERKINESS = 8000.0
"""Spectral density of the acceleration of what is tracked, px²/s³."""
SPEED = 150.0
"""Standard deviation of the speed of what newly appears, pixels per second."""
GATE = 3.0
"""Distance from its prediction in which a track looks for its detection, deviations."""
MIN_OVERLAP = 0.1
"""Intersection over union with its prediction that a detection outside the gate needs."""

Box = tuple[float, float, float, float]
"""Left, top, right, bottom, pixels."""


@dataclass(frozen=True)
class Detection:
    """A blob: its box, its contrast and its activity, the latter two in [0, 1]."""

    box: Box
    contrast: float = 1.0
    activity: float = 1.0


@dataclass(eq=False)
class Track:
    """A blob followed through time: lengths in pixels, velocities in pixels per second.

    `activity` follows that of the detections up at once and down with `FADE_S`; `missed_s` is the
    time since the last detection. `covariance` is that of position and velocity along one axis
    (both axes have the same): position, position × velocity, velocity.
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
        """Return the box around the estimated center."""
        return (
            self.x - self.width / 2,
            self.y - self.height / 2,
            self.x + self.width / 2,
            self.y + self.height / 2,
        )

    @property
    def confirmed(self) -> bool:
        """Return whether the track was seen often enough, for long enough, to be believed."""
        return self.hits >= CONFIRM_HITS and self.age_s >= CONFIRM_S

    def predict(self, dt: float) -> None:
        """Move the track on by `dt` seconds."""
        self.x += self.vx * dt
        self.y += self.vy * dt
        p, c, v = self.covariance
        self.covariance = (
            p + 2 * dt * c + dt * dt * v + JERKINESS * dt**3 / 3,
            c + dt * v + JERKINESS * dt * dt / 2,
            v + JERKINESS * dt,
        )
        self.activity *= math.exp(-dt / FADE_S)
        self.age_s += dt
        self.missed_s += dt

    def correct(self, x: float, y: float) -> None:
        """Pull the track towards a measured center."""
        noise = POSITION[0] ** 2 + (POSITION[1] * max(self.width, self.height)) ** 2
        p, c, v = self.covariance
        k, l = p / (p + noise), c / (p + noise)
        dx, dy = x - self.x, y - self.y
        self.x, self.y = self.x + k * dx, self.y + k * dy
        self.vx, self.vy = self.vx + l * dx, self.vy + l * dy
        self.covariance = (p * (1 - k), c * (1 - k), v - l * c)
        self.hits += 1
        self.missed_s = 0.0

    def resize(self, width: float, height: float, dt: float) -> None:
        """Follow a measured size, at once while the track is new."""
        rate = max(1 - math.exp(-dt / SIZE_S), 1 / self.hits)
        self.width += rate * (width - self.width)
        self.height += rate * (height - self.height)


class Tracker:
    """Follows blobs; `ids` yields the number of each new track."""

    def __init__(self, ids: Iterator[int]):
        self._ids = ids
        self._tracks: list[Track] = []

    def clear(self) -> None:
        """Give up all tracks."""
        self._tracks = []

    def update(self, detections: Sequence[Detection], dt: float) -> list[Track]:
        """Take the blobs of a frame, `dt` seconds after the one before; return all tracks."""
        for track in self._tracks:
            track.predict(dt)
        owners = self._assign(detections)
        free = [track for track in self._tracks if track not in owners.values()]
        orphans = [d for i, d in enumerate(detections) if i not in owners]
        for i, owner in owners.items():
            blob = detections[i]
            company = [t for t in free if t.confirmed and _contains(blob.box, t.x, t.y)]
            if company:
                self._share(blob, sorted([owner, *company], key=lambda t: t.id), dt)
                continue
            pieces = [d for d in orphans if _is_piece(d.box, blob.box, owner.box)]
            orphans = [d for d in orphans if d not in pieces]
            box = _union([blob.box, *(d.box for d in pieces)])
            owner.correct(*_center(box))
            owner.resize(*_size(box), dt)
            owner.shared_s = 0.0
            _perceive(owner, blob)
        self._tracks = [t for t in self._tracks if t.missed_s <= (COAST_S if t.confirmed else 0)]
        self._tracks = [t for t in self._tracks if t.shared_s <= TWINS_S]
        for blob in orphans:
            track = Track(
                next(self._ids), *_center(blob.box), *_size(blob.box), blob.contrast, blob.activity
            )
            self._tracks.append(track)
        return self._tracks

    def _assign(self, detections: Sequence[Detection]) -> dict[int, Track]:
        """Return the track that each detection, by its index, belongs to."""
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
        allowed = (distance < gate) | (overlap > MIN_OVERLAP)
        pairs = zip(*linear_sum_assignment(np.where(allowed, costs, 1e3)), strict=True)
        return {int(i): self._tracks[j] for i, j in pairs if allowed[i, j]}

    @staticmethod
    def _share(blob: Detection, tracks: list[Track], dt: float) -> None:
        """Keep several tracks alive inside the one blob they have melted into."""
        for track in tracks:
            track.correct(
                _clamp(track.x, blob.box[0], blob.box[2], track.width),
                _clamp(track.y, blob.box[1], blob.box[3], track.height),
            )
            _perceive(track, blob)
        for younger in tracks[1:]:
            younger.shared_s += dt


def _perceive(track: Track, blob: Detection) -> None:
    track.contrast = blob.contrast
    track.activity = max(track.activity, blob.activity)


def _center(box: Box) -> tuple[float, float]:
    return (box[0] + box[2]) / 2, (box[1] + box[3]) / 2


def _size(box: Box) -> tuple[float, float]:
    return box[2] - box[0], box[3] - box[1]


def _area(box: Box) -> float:
    return max(box[2] - box[0], 0) * max(box[3] - box[1], 0)


def _shared(a: Box, b: Box) -> float:
    """Return the area two boxes have in common."""
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


def _is_piece(box: Box, main: Box, track: Box) -> bool:
    """Return whether `box` is a piece of what `main`, the blob of `track`, is a piece of."""
    inside = _shared(box, track) > 0.6 * _area(box)
    return inside and _area(box) + _area(main) > 0.5 * _area(_union([box, main]))
