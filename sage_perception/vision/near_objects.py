# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Whether a track may be a still object that is nearer than the background.

A camera that moves past still objects moves their images like the background's, only faster: the
residual of a near object points along the background's motion, and is the same multiple of it in
every frame. The optical flow errs along the motion, but hardly across it, so that an object that
moves by itself shows in its first frames unless it moves along this line. The ratio of the
likelihoods of both is accumulated over the frames of a track. It needs no epipole, on which three
moving objects agree by chance.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np

MIN_CAMERA = 0.08
"""Motion of the camera below which there is no parallax, working pixels."""
MIN_RATIO, MAX_RATIO = 0.2, 4.0
"""Range of the residual of a near object relative to the motion of the background."""
ACROSS = (0.06, 0.08)
"""Standard deviation across the motion of the camera: working pixels, fraction of the residual.

The same holds for a residual that is out of the range.
"""
ALONG = (0.1, 0.3)
"""The same for the change of the residual along that motion."""
OWN_MOTION = (0.7, 0.1)
"""Range of the residual of an object that moves by itself: working pixels, and fraction of it."""
WEIGHT = 0.5
"""Weight of a frame: the errors of successive frames are similar."""
MAX_STEP = 1.5
"""Maximum change of the log-likelihood ratio in a frame: single ones are errors of the flow."""
LIMITS = (-4.0, 20.0)
"""Range of the log-likelihood ratio: a moving object stays one while it crosses the line."""

OFF_LINE = 2.0
"""Deviation across the motion of the camera from which a pixel moves by itself, multiples."""
WINDOW = (5, 5)
"""Window of the local averages, pixels."""


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
    """Accumulates the residuals of one track.

    Attributes:
        moves: log-likelihood ratio of an object that moves by itself and a still one that is near.
    """

    def __init__(self) -> None:
        self._product = self._camera = 0.0
        self.moves = 0.0

    def add(self, residual: Residual) -> None:
        """Add the residual of a detection."""
        parts = _components(residual)
        camera, along, _, own = parts
        self._product += along * camera
        self._camera += camera**2
        expected = self._product / max(self._camera, 1e-9) * camera
        change = (along - expected) / (ALONG[0] + ALONG[1] * own)
        step = min(_evidence(parts, change), MAX_STEP)
        self.moves = min(max(self.moves + step, LIMITS[0]), LIMITS[1])

    @property
    def fit_still_object(self) -> bool:
        """Return whether the residuals fit a near, still object better than a moving one."""
        return self.moves < 0


def fits_still_object(residual: Residual | None) -> bool:
    """Return whether a single residual fits a near, still object better than a moving one."""
    return residual is not None and _evidence(_components(residual)) < 0


def off_line(residual: np.ndarray, camera: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Return the pixels around which the residual fits no near, still object, bool `[h, w]`.

    `residual` and `camera`, float32 `[2, h, w]`, are what the motion of the camera leaves over and
    that motion, working pixels; `weight` `[h, w]` is that of each pixel in the local average.
    """
    length = cv2.magnitude(*camera)
    across = residual[0] * camera[1] - residual[1] * camera[0]
    across /= np.maximum(length, MIN_CAMERA)
    own = cv2.magnitude(*residual)
    across, own = (cv2.blur(part * weight, WINDOW) for part in (across, own))
    own *= ACROSS[1]
    own += ACROSS[0] * cv2.blur(weight, WINDOW)
    return np.abs(across) > OFF_LINE * own


def _components(residual: Residual) -> tuple[float, float, float, float]:
    """Return the motion of the camera, the residual along and across it, and its length."""
    x, y, camera_x, camera_y = residual.x, residual.y, residual.camera_x, residual.camera_y
    camera = math.hypot(camera_x, camera_y)
    along = (x * camera_x + y * camera_y) / max(camera, 1e-9)
    across = (x * camera_y - y * camera_x) / max(camera, 1e-9)
    return camera, along, across, math.hypot(x, y)


def _evidence(parts: tuple[float, float, float, float], change: float = 0.0) -> float:
    """Return the weighted log-likelihood ratio of one frame.

    `parts` are the components of its residual, and `change` is that of the ratio, standard
    deviations.
    """
    camera, along, across, own = parts
    if camera < MIN_CAMERA:
        return MAX_STEP
    beyond = max(MIN_RATIO * camera - along, along - MAX_RATIO * camera, 0.0)
    deviation = ACROSS[0] + ACROSS[1] * own
    square = (across**2 + beyond**2) / deviation**2 + change**2
    return WEIGHT * (square / 2 + math.log(deviation / (OWN_MOTION[0] + OWN_MOTION[1] * own)))
