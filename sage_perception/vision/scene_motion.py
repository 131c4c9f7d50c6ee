# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Moving objects for a camera that stands or moves.

A camera that stands is compared with its background (`vision/motion.py`), which also shows slow
objects and those that pause. While the camera moves, and while the background is being learned,
the residual of the optical flow shows the moving objects (`vision/residual_motion.py`). A camera
that stands does not pay for optical flow.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np

from sage_perception.vision.boxes import Box, center, size
from sage_perception.vision.ego_motion import MIN_SIDE, CameraMotion, EgoMotion, displacements
from sage_perception.vision.motion import Blob, Motion, MotionDetector
from sage_perception.vision.registration import invert, similarity, warp
from sage_perception.vision.residual_motion import ResidualMotion

MOVING_SPEED = 2.0
"""Speed of the image above which the camera moves, working pixels per second."""
STANDING_SPEED = 1.0
"""Speed of the image below which a moving camera stands again, working pixels per second."""
DRIFT_S = 1.0
"""Time over which a motion of the camera is told from its shaking, seconds."""
MAX_STEPS = 256
"""Maximum number of frames in this time."""
SUSPICIOUS_MISMATCH = 0.12
"""Fraction of the image that differs from the background, above which the flow is consulted.

The registration of the background could follow large objects or smoke.
"""


@dataclass(frozen=True, eq=False)
class SceneMotion:
    """The motion in one frame, in pixels of the working image.

    Attributes:
        blobs: the moving areas, in coordinates of the frame.
        matrix: `[3, 3]`, the motion of the camera from the last frame to this one.
        camera: the estimate by optical flow; None where it was not needed.
        new: whether the frame shows another scene than the last one.
    """

    blobs: list[Blob]
    matrix: np.ndarray
    camera: CameraMotion | None
    new: bool


class SceneMotionDetector:
    """Detects moving objects with the background, or by optical flow without one.

    `threshold` and `background_time_s` are those of `MotionDetector`. `ego` estimates the motion
    of the camera by optical flow; without it, the camera must stand.
    """

    def __init__(
        self, threshold: float, background_time_s: float, ego: EgoMotion | None = None
    ) -> None:
        self._settings = (threshold, background_time_s)
        self._background: MotionDetector | None = MotionDetector(*self._settings)
        self._still: Motion | None = None
        self._ego = ego
        self._residual = ResidualMotion()
        self._image = _Gray(np.zeros((1, 1), np.uint8))
        self._steps: deque[tuple[float, np.ndarray]] = deque(maxlen=MAX_STEPS)
        self._drift: np.ndarray = np.zeros((9, 2))
        self._drift_s = 0.0
        self._speed = 0.0
        self._moving = False
        self._by_flow = False
        self._state = 'learning'

    @property
    def state(self) -> str:
        """Return 'moving', 'standing', or 'learning' while the background is not known."""
        return self._state

    @property
    def by_flow(self) -> bool:
        """Return whether the blobs of the latest frame come from the optical flow."""
        return self._by_flow

    def update(
        self,
        image: np.ndarray,
        dt: float,
        hint: np.ndarray | None = None,
        near_objects: bool = False,
    ) -> SceneMotion:
        """Return the motion in a frame.

        Args:
            image: the working image, uint8 `[h, w, 3]` or `[h, w]`.
            dt: time since the last frame, seconds; ignored for the first one.
            hint: homography `[3, 3]` from the present frame to the last one, from another source
                than the images, working pixels.
            near_objects: whether the camera passes still objects that are near.
        """
        shape = image.shape[:2]
        previous, self._image = self._image, _Gray(image)
        camera = None
        if self._ego and previous.shape == shape and self._needs_flow(shape):
            camera = self._ego.estimate(self._image.pixels, previous.pixels, hint)
        step = similarity(np.linalg.inv(camera.matrix), shape) if camera and camera.valid else None
        still = self._background.update(image, dt, step) if self._background else None
        self._still = still
        blobs = []
        matrix = self._camera_matrix(still, camera)
        new = still is not None and still.new and not (camera and camera.valid)
        self._follow(matrix, shape, dt, camera is not None and camera.valid)
        settled = still is not None and still.ready and not self._moving
        if camera and not settled:
            blobs = self._residual.update(image, camera, dt, near_objects)
        else:
            self._residual.remember(image)
        self._by_flow = camera is not None and not settled
        self._state = 'standing' if settled else 'moving' if self._moving else 'learning'
        if still and settled:
            blobs = _moved(still.blobs, still.pose)
        return SceneMotion(blobs, matrix, camera, new)

    def evidence(self) -> np.ndarray:
        """Return the contrast of what moves in the latest frame, float32 `[h, w]` in [0, 1]."""
        if self._still and self._state == 'standing':
            return warp(self._still.evidence[None], invert(self._still.pose))[0]
        if self._by_flow:
            return 1 - np.exp(-self._residual.evidence / 2)
        return np.zeros(self._image.shape, np.float32)

    def displace(self, box: Box, camera: CameraMotion) -> Box | None:
        """Return where the flow has carried a box of the last frame, working pixels."""
        return self._residual.displace(box, camera)

    def _needs_flow(self, shape: tuple[int, int]) -> bool:
        """Return whether the comparison with the background does not suffice."""
        if min(shape) < MIN_SIDE:
            return False
        still = self._still
        if still is None or not still.ready or still.mismatch > SUSPICIOUS_MISMATCH:
            return True
        return self._speed > STANDING_SPEED

    def _camera_matrix(self, still: Motion | None, camera: CameraMotion | None) -> np.ndarray:
        """Return the motion of the camera from the last frame to this one, `[3, 3]`."""
        if camera and camera.valid:
            return np.linalg.inv(camera.matrix)
        matrix = np.eye(3)
        if still and still.ready:
            matrix[:2] = still.step
        return matrix

    def _follow(self, matrix: np.ndarray, shape: tuple[int, int], dt: float, seen: bool) -> None:
        """Decide whether the camera moves; a moving one has no background.

        `seen` is whether the flow of the whole image shows the motion: the registration of the
        background can follow a large object instead.
        """
        steps = displacements(matrix, shape)
        if len(self._steps) == MAX_STEPS:
            self._forget_step()
        self._steps.append((dt, steps))
        self._drift, self._drift_s = self._drift + steps, self._drift_s + dt
        while len(self._steps) > 1 and self._drift_s > DRIFT_S:
            self._forget_step()
        self._speed = float(np.hypot(self._drift[:, 0], self._drift[:, 1]).mean()) / DRIFT_S
        if not self._moving and seen and self._speed > MOVING_SPEED:
            self._moving, self._background = True, None
        elif self._moving and self._speed < STANDING_SPEED:
            self._moving, self._background = False, MotionDetector(*self._settings)

    def _forget_step(self) -> None:
        """Take the oldest step out of the sum."""
        dt, steps = self._steps.popleft()
        self._drift, self._drift_s = self._drift - steps, self._drift_s - dt


class _Gray:
    """A working image that becomes gray where the optical flow needs it."""

    def __init__(self, image: np.ndarray) -> None:
        self._image = image

    @property
    def shape(self) -> tuple[int, int]:
        """Return height and width, pixels."""
        return self._image.shape[0], self._image.shape[1]

    @property
    def pixels(self) -> np.ndarray:
        """Return the gray image, uint8 `[h, w]`."""
        if self._image.ndim == 3:
            self._image = cv2.cvtColor(self._image, cv2.COLOR_BGR2GRAY)
        return self._image


def _moved(blobs: Sequence[Blob], pose: np.ndarray) -> list[Blob]:
    """Return blobs at the positions that `pose` `[2, 3]` takes them to."""
    # Scalars: NumPy takes several times as long for a few points.
    (a, b, c), (d, e, f) = pose.tolist()
    scale = math.hypot(a, d)
    moved = []
    for blob in blobs:
        (u, v), (width, height) = center(blob.box), size(blob.box)
        x, y, half = a * u + b * v + c, d * u + e * v + f, (scale * width / 2, scale * height / 2)
        box = (x - half[0], y - half[1], x + half[0], y + half[1])
        moved.append(replace(blob, box=box))
    return moved
