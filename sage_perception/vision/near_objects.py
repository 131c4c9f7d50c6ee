# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Whether a track may be a still object that is nearer than the background.

A camera that moves past still objects moves their images like the background's, only faster: the
residual of a near object is the same multiple of the background's motion in every frame. An object
that moves by itself leaves this line sooner or later, in direction or in speed. The test needs no
exact flow in each frame, and no epipole, on which three moving objects agree by chance.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

MIN_CAMERA = 0.08
"""Root mean square of the camera's motion below which there is no parallax, working pixels."""
RATIOS = (0.4, 4.0)
"""Range of the residual of a near object relative to the motion of the background.

Less is a difference in depth that seldom shows; objects that move with a fast pan have less, too.
"""
TOLERANCE = 0.25
"""Deviation of the residuals from the line relative to their length, root mean square."""
NOISE = 0.1
"""Further deviation that is an error of the optical flow, working pixels."""
CERTAIN_HITS = 16
"""Number of detections after which an object that moves by itself is known for good."""


@dataclass(frozen=True)
class Residual:
    """The mean motion of a blob between two frames, working pixels.

    Attributes:
        x, y: what the motion of the camera leaves over.
        camera_x, camera_y: the motion of the background at the same place.
    """

    x: float
    y: float
    camera_x: float
    camera_y: float


class ResidualHistory:
    """Collects the residuals of one track."""

    def __init__(self) -> None:
        self._count = 0
        self._moves = False
        self._product = self._camera = self._own = 0.0

    def add(self, residual: Residual) -> None:
        """Add the residual of a detection."""
        self._count += 1
        self._product += residual.x * residual.camera_x + residual.y * residual.camera_y
        self._camera += residual.camera_x**2 + residual.camera_y**2
        self._own += residual.x**2 + residual.y**2
        self._moves |= self._count >= CERTAIN_HITS and not self._is_on_line()

    @property
    def fit_still_object(self) -> bool:
        """Return whether all residuals fit a still object that is near."""
        return self._count > 0 and not self._moves and self._is_on_line()

    def _is_on_line(self) -> bool:
        """Return whether the residuals are one multiple of the motion of the camera."""
        if self._camera < self._count * MIN_CAMERA**2:
            return False
        ratio = self._product / self._camera
        explained = ratio * self._product
        deviation = math.sqrt(max(self._own - explained, 0.0) / self._count)
        length = math.sqrt(max(explained, 0.0) / self._count)
        return RATIOS[0] < ratio < RATIOS[1] and deviation < TOLERANCE * length + NOISE
