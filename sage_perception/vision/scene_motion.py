# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Moving objects for a camera that stands or moves.

A camera that stands is compared with its background (`vision/motion.py`), which also shows slow
objects and those that pause. While the camera moves, and while the background is being learned,
the residual of the optical flow shows the moving objects (`vision/residual_motion.py`). A camera
that stands does not pay for optical flow.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, replace

import cv2
import numpy as np

from sage_perception.vision.boxes import Box, center, size
from sage_perception.vision.ego_motion import MIN_SIDE, CameraMotion, EgoMotion, transform_point
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
PLACES = [(x, y) for x in (0.1, 0.5, 0.9) for y in (0.1, 0.5, 0.9)]
"""Points at which the motion of the camera is averaged, fractions of the image."""


@dataclass(frozen=True, eq=False)
class SceneMotion:
    """The motion in one frame, in pixels of the working image.

    Attributes:
        evidence: float32 `[h, w]` in [0, 1], the contrast of what moves.
        blobs: the moving areas, in coordinates of the frame.
        matrix: `[3, 3]`, the motion of the camera from the last frame to this one.
        camera: the estimate by optical flow; None where it was not needed.
        new: whether the frame shows another scene than the last one.
    """

    evidence: np.ndarray
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
        self._gray: np.ndarray | None = None
        self._steps: deque[tuple[float, np.ndarray]] = deque(maxlen=MAX_STEPS)
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
        self, image: np.ndarray, gray: np.ndarray, dt: float, hint: np.ndarray | None = None
    ) -> SceneMotion:
        """Return the motion in a frame.

        Args:
            image: the working image, uint8 `[h, w, 3]` or `[h, w]`.
            gray: the image for the optical flow, uint8 `[H, W]`, of at least the same size.
            dt: time since the last frame, seconds; ignored for the first one.
            hint: homography `[3, 3]` from the present frame to the last one, from another source
                than the images, working pixels.
        """
        shape = image.shape[:2]
        previous, self._gray = self._gray, gray
        camera = None
        if self._ego and previous is not None and self._needs_flow(gray):
            camera = self._ego.estimate(gray, previous, shape, hint)
        step = similarity(np.linalg.inv(camera.matrix), shape) if camera and camera.valid else None
        still = self._background.update(image, dt, step) if self._background else None
        self._still = still
        blobs = []
        matrix = self._camera_matrix(still, camera)
        new = still is not None and still.new and not (camera and camera.valid)
        self._follow(matrix, shape, dt, camera is not None and camera.valid)
        settled = still is not None and still.ready and not self._moving
        if camera and not settled:
            blobs = self._residual.update(image, camera, dt)
        else:
            self._residual.remember(image)
        self._by_flow = camera is not None and not settled
        self._state = 'standing' if settled else 'moving' if self._moving else 'learning'
        if still and settled:
            blobs = [_moved(blob, still.pose) for blob in still.blobs]
            evidence = warp(still.evidence[None], invert(still.pose))[0]
        elif camera:
            evidence = 1 - np.exp(-self._residual.evidence / 2)
        else:
            evidence = np.zeros(shape, np.float32)
        return SceneMotion(evidence, blobs, matrix, camera, new)

    def displace(self, box: Box, camera: CameraMotion) -> Box | None:
        """Return where the flow has carried a box of the last frame, working pixels."""
        return self._residual.displace(box, camera)

    def _needs_flow(self, gray: np.ndarray) -> bool:
        """Return whether the comparison with the background does not suffice."""
        if min(gray.shape) < MIN_SIDE:
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
        points = np.multiply(PLACES, shape[::-1])
        steps = np.array([transform_point(matrix, *point) for point in points]) - points
        self._steps.append((dt, steps))
        while len(self._steps) > 1 and sum(t for t, _ in self._steps) > DRIFT_S:
            self._steps.popleft()
        drift = np.sum([step for _, step in self._steps], axis=0) / DRIFT_S
        self._speed = float(np.linalg.norm(drift, axis=1).mean())
        if not self._moving and seen and self._speed > MOVING_SPEED:
            self._moving, self._background = True, None
        elif self._moving and self._speed < STANDING_SPEED:
            self._moving, self._background = False, MotionDetector(*self._settings)


def flow_image(frame: np.ndarray, image: np.ndarray) -> np.ndarray:
    """Return the image for the optical flow: gray, twice the size of `image` if `frame` allows.

    `image` is the working image, a reduced `frame`; both are uint8 `[h, w, 3]` or `[h, w]`.
    """
    size = 2 * image.shape[1], 2 * image.shape[0]
    if frame.shape[1] >= size[0] and frame.shape[0] >= size[1]:
        image = cv2.resize(frame, size, interpolation=cv2.INTER_AREA)
    return image if image.ndim == 2 else cv2.cvtColor(image, cv2.COLOR_BGR2GRAY)


def _moved(blob: Blob, pose: np.ndarray) -> Blob:
    """Return a blob at the position that `pose` `[2, 3]` takes it to."""
    scale = float(np.linalg.norm(pose[:, 0]))
    x, y = pose @ (*center(blob.box), 1.0)
    width, height = size(blob.box)
    half = scale * width / 2, scale * height / 2
    box = (x - half[0], y - half[1], x + half[0], y + half[1])
    return replace(blob, box=box)
