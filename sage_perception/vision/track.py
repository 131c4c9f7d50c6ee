# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""One tracked object: a constant-velocity Kalman filter on the center of its box.

Positions are pixels of the present frame. Velocities are relative to the scene: the motion of the
camera is applied separately.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np

from sage_perception.vision.boxes import Box
from sage_perception.vision.boxes import center as center_of
from sage_perception.vision.boxes import size as size_of
from sage_perception.vision.ego_motion import transform_point
from sage_perception.vision.near_objects import ResidualHistory

CONFIRM_HITS = 3
"""Minimum number of detections of a confirmed track."""
CONFIRM_S = 0.06
"""Minimum age of a confirmed track, seconds."""
SURE_CONTRAST, SURE_HITS = 0.75, 2
"""Contrast from which fewer detections confirm a track that the optical flow carries."""
COAST_S = (0.2, 0.5)
"""Range of the time that a confirmed track continues without a detection, seconds."""
FLOW_COAST_S = (0.1, 1.5)
"""The same where the optical flow carries the track."""
COAST = 0.5
"""That time relative to the age of the track: short tracks are often errors."""
FLOW_HITS = 8
"""Detections of a track that the flow carries from which it is shown without a detection."""
SMALL_PX, SMALL_HITS = 40.0, 6
"""Side below which such a track needs more detections, pixels, and their number."""
FLOW_POSITION_S = 0.06
"""Time constant with which such a track approaches the center of its detections, seconds.

The flow inside of its box is partly that of the background: its error is as large as theirs.
"""
FADE_S = 2.0
"""Time constant with which the activity of a track that stopped fades, seconds."""
POSITION = (3.0, 0.03)
"""Standard deviation of a detection's center: pixels, and fraction of its longer side."""
ACCELERATION = 8000.0
"""Spectral density of the acceleration of tracked objects, px²/s³."""
SPEED = 150.0
"""Standard deviation of the speed of a new object, pixels per second."""
APPEARANCE_S = 0.2
"""Time constant of the average of a track's appearance, seconds."""


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
        shares: whether it shares its blob with others.
        thumbnail: average appearance, float32 with norm 1; None if unknown.
        carried: whether the optical flow moved the track to this frame.
        residuals: those of its detections by the optical flow.
        near: whether it seems to be a still object that is nearer than the background.
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
    shares: bool = False
    thumbnail: np.ndarray | None = None
    carried: bool = False
    residuals: ResidualHistory = field(default_factory=ResidualHistory)
    near: bool = False

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
        if self.carried and self.contrast >= SURE_CONTRAST:
            return self.hits >= SURE_HITS
        return self.hits >= CONFIRM_HITS and self.age_s >= CONFIRM_S

    @property
    def shown(self) -> bool:
        """Return whether the track is certain enough for a crop.

        Short gaps of young tracks and small areas are mostly errors of the optical flow.
        """
        if not self.carried:
            return self.confirmed
        small = max(self.width, self.height) < SMALL_PX
        certain = self.missed_s == 0 or self.hits >= FLOW_HITS
        sure = not small or self.hits >= SMALL_HITS
        return self.confirmed and certain and sure and not self.near

    @property
    def coast_s(self) -> float:
        """Return the time that the track may continue without a detection, seconds."""
        if not self.confirmed:
            return 0.0
        low, high = FLOW_COAST_S if self.carried else COAST_S
        return min(max(COAST * self.age_s, low), high)

    def move_with_camera(self, matrix: np.ndarray) -> None:
        """Apply the motion of the camera: `matrix` `[3, 3]` takes the last frame to this one."""
        left, right = (
            transform_point(matrix, self.x + side * self.width / 2, self.y) for side in (-1, 1)
        )
        top, bottom = (
            transform_point(matrix, self.x, self.y + side * self.height / 2) for side in (-1, 1)
        )
        self.x, self.y = transform_point(matrix, self.x, self.y)
        # A rotation about the optical axis changes the box little: keep the aspect.
        scale = math.sqrt(
            math.dist(left, right) * math.dist(top, bottom) / (self.width * self.height)
        )
        self.width, self.height = self.width * scale, self.height * scale

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
        self.carried = False

    def carry(self, box: Box) -> None:
        """Move to `box`, where the optical flow has carried the object since the last frame."""
        self._filter(*center_of(box))
        (self.x, self.y), (self.width, self.height) = center_of(box), size_of(box)
        self.carried = True

    def correct(self, x: float, y: float, dt: float) -> None:
        """Update the state with the center (x, y) of a detection, pixels.

        `dt` is the time since the last frame, seconds.
        """
        if self.carried:
            rate = 1 - math.exp(-dt / FLOW_POSITION_S)
            self.x, self.y = self.x + rate * (x - self.x), self.y + rate * (y - self.y)
        else:
            self._filter(x, y)
        self.hits += 1
        self.missed_s = 0.0

    def resize(self, width: float, height: float, dt: float, times_s: tuple[float, float]) -> None:
        """Filter a measured size, pixels; a new track adopts it directly.

        `times_s` are the time constants for growing and for shrinking, seconds.
        """
        for name, value in (('width', width), ('height', height)):
            own = getattr(self, name)
            time_s = times_s[0] if value > own else times_s[1]
            rate = max(1 - math.exp(-dt / time_s), 1 / self.hits)
            setattr(self, name, own + rate * (value - own))

    def similarity(self, thumbnail: np.ndarray | None) -> float:
        """Return the correlation with `thumbnail` in [-1, 1]; 1 if either is unknown."""
        if thumbnail is None or self.thumbnail is None:
            return 1.0
        return float(np.vdot(thumbnail, self.thumbnail))

    def learn(self, thumbnail: np.ndarray | None, dt: float) -> None:
        """Average the appearance with that of a detection."""
        if thumbnail is None:
            return
        if self.thumbnail is None:
            self.thumbnail = thumbnail
            return
        rate = 1 - math.exp(-dt / APPEARANCE_S)
        mean = (1 - rate) * self.thumbnail + rate * thumbnail
        self.thumbnail = mean / max(float(np.linalg.norm(mean)), 1e-6)

    def _filter(self, x: float, y: float) -> None:
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
