# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Motion detection for a camera that shakes, flickers and changes its exposure.

A frame is compared with the background of the scene (`vision/background.py`). Differences that
last for one frame are treated as rain, and large areas that keep the texture of the background as
lighting changes; the remaining connected areas are moving objects. Lengths are in pixels of the
given image, times in seconds.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import cv2
import numpy as np

from sage_perception.vision.background import (
    SQUARE3,
    SQUARE5,
    START_NOISE,
    Background,
    Comparison,
    gray,
)
from sage_perception.vision.boxes import Box
from sage_perception.vision.near_objects import Residual
from sage_perception.vision.registration import IDENTITY, compose, displacement, invert

WARMUP_S = 0.5
"""Time a scene is observed before motion is reported, seconds."""
LOST_MISMATCH = 0.5
"""Fraction of the image's details that differ, above which the scene has changed."""
LOST_S = 0.2
"""Time the scene may differ before the background is learned from scratch, seconds."""
MAX_SHIFT = 0.05
"""Displacement, as a fraction of the width, beyond which the background moves with the camera.

A scene that is found again at a larger displacement after a jump is learned from scratch.
"""
LARGE_FRACTION = 0.02
"""Fraction of the image above which a blob may be a lighting change."""
SAME_TEXTURE = 0.9
"""Correlation with the background above which a large blob is a lighting change."""
BUSY_FRACTION = 0.1
"""Fraction of a blob that must move for an activity of 1."""
STRONG_CONTRAST = 10.0
"""Contrast that scores 1 - 1/e, standard deviations."""


@dataclass(frozen=True)
class Blob:
    """A connected area that differs from the background.

    Attributes:
        box: left, top, right, bottom.
        area: number of pixels.
        contrast: strength of the difference, in [0, 1].
        activity: fraction of the area that changed in the last quarter of a second, scaled to
            [0, 1].
        starts: whether the evidence suffices for a new object, not only for a known one.
        residual: its mean motion by the optical flow; None without one.
    """

    box: Box
    area: int
    contrast: float
    activity: float
    starts: bool = True
    residual: Residual | None = None


@dataclass(frozen=True, eq=False)
class Motion:
    """The motion in one frame, in coordinates of the background.

    Attributes:
        evidence: float32 `[h, w]` in [0, 1], the contrast inside of the blobs, else 0.
        blobs: the moving areas, largest first.
        pose: float64 `[2, 3]`, from a position in the background to that in the frame.
        step: float64 `[2, 3]`, from a position in the last frame to that in this one.
        ready: whether the background is known; without it there are no blobs.
        new: whether the frame starts a new background.
        mismatch: fraction of the image's details that differ from the background, in [0, 1].
    """

    evidence: np.ndarray
    blobs: list[Blob]
    pose: np.ndarray
    step: np.ndarray
    ready: bool
    new: bool = False
    mismatch: float = 0.0


@dataclass(eq=False)
class _Scene:
    """The state of one scene: its background, its age, and the time since it was recognized."""

    background: Background
    differed: np.ndarray
    step: np.ndarray = field(default_factory=lambda: IDENTITY)
    age_s: float = 0.0
    lost_s: float = 0.0

    def without_motion(self, new: bool = False, mismatch: float = 0.0) -> Motion:
        """Return the result for a frame without motion."""
        background = self.background
        evidence = np.zeros(background.shape, np.float32)
        ready = not new and self.age_s >= WARMUP_S
        return Motion(evidence, [], background.pose, self.step, ready, new, mismatch)


class MotionDetector:
    """Learns the background of a camera and detects the areas that differ from it.

    `threshold` is the significant difference in standard deviations; `background_time_s` is the
    time after which a resting object becomes background, seconds.
    """

    def __init__(self, threshold: float, background_time_s: float) -> None:
        self._threshold = threshold
        self._background_time_s = background_time_s
        self._scene: _Scene | None = None

    def update(self, image: np.ndarray, dt: float, step: np.ndarray | None = None) -> Motion:
        """Return the motion in `image` and update the background.

        `image` is uint8 `[h, w, 3]` or `[h, w]`; `dt` is the time since the last frame, ignored
        for the first one. `step` `[2, 3]` is the motion of the camera since the last frame, if it
        is known; else it is estimated.
        """
        frame = np.array(cv2.split(image), np.float32)
        scene = self._scene
        if scene is None:
            return self._start(frame)
        background = scene.background
        scene.age_s += dt
        limit = MAX_SHIFT * frame.shape[2]
        scene.step = IDENTITY
        pose = background.pose if step is None else compose(step, background.pose)
        result, jumped = background.compare(frame, pose, step is not None), False
        if result.mismatch > LOST_MISMATCH:
            far = background.compare(frame, background.search(frame))
            if far.mismatch < result.mismatch:
                result, jumped = far, displacement(far.pose, background.shape) > limit
        scene.lost_s = scene.lost_s + dt if result.mismatch > LOST_MISMATCH else 0.0
        if scene.lost_s > LOST_S or (jumped and not scene.lost_s):
            return self._start(frame)
        if scene.lost_s:
            return scene.without_motion(mismatch=result.mismatch)

        scene.step = compose(result.pose, invert(background.pose))
        background.pose = result.pose
        foreground = _persistent(result.differs, scene.differed)
        scene.differed = result.differs
        moving = background.track_changes(result, dt)
        strength = _strength(result, foreground)
        blobs, relit = _blobs(background, foreground, result, strength, moving)
        background.learn(result, foreground, dt)
        background.replace(relit, result.aligned)
        background.follow_exposure(result, dt)
        if displacement(result.pose, background.shape) > limit:
            background.move(frame, result.pose)
            scene.differed = _moved(scene.differed, result.pose)
        if scene.age_s < WARMUP_S:
            return scene.without_motion(mismatch=result.mismatch)
        strength *= foreground
        return Motion(
            strength, blobs, result.pose, scene.step, ready=True, mismatch=result.mismatch
        )

    def _start(self, frame: np.ndarray) -> Motion:
        """Start a new scene with `frame`, float32 `[C, h, w]`."""
        background = Background(frame, self._threshold, self._background_time_s)
        self._scene = _Scene(background, np.zeros(background.shape, np.uint8))
        return self._scene.without_motion(new=True)


def _blobs(
    background: Background,
    foreground: np.ndarray,
    result: Comparison,
    strength: np.ndarray,
    moving: np.ndarray,
) -> tuple[list[Blob], np.ndarray]:
    """Return the blobs, and bool `[h, w]`, the areas where only the lighting has changed.

    Those areas are removed from `foreground`, uint8 `[h, w]`. `strength` is the contrast, float32
    `[h, w]` in [0, 1]; `moving` is bool `[h, w]`.
    """
    relit = np.zeros(foreground.shape, bool)
    if not foreground.any():
        return [], relit
    closed = cv2.morphologyEx(foreground, cv2.MORPH_CLOSE, SQUARE3)
    labels, stats = connected_areas(closed)
    blobs = []
    for label in 1 + np.argsort(-stats[1:, cv2.CC_STAT_AREA], kind='stable'):
        x, y, width, height, area = stats[label].tolist()
        rows, columns = slice(y, y + height), slice(x, x + width)
        own = labels[rows, columns] == label
        if area > LARGE_FRACTION * labels.size:
            known = own & background.known[rows, columns]
            before = gray(background.mean[:, rows, columns])[known]
            now = gray(result.aligned[:, rows, columns])[known]
            if _correlation(before, now) > SAME_TEXTURE:
                relit[rows, columns] |= own
                continue
        contrast = float(strength[rows, columns][own].sum() / area)
        busy = np.count_nonzero(moving[rows, columns] & own) / area
        activity = min(busy / BUSY_FRACTION, 1.0)
        blobs.append(Blob((x, y, x + width, y + height), area, contrast, activity))
    foreground[relit] = 0
    return blobs, relit


def connected_areas(mask: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return labels, int32 `[h, w]`, and OpenCV's statistics of the 8-connected areas of a mask.

    `mask` is uint8 `[h, w]`; label 0 is what is 0 in it.
    """
    # Several times as fast as the default for images of this size.
    _, labels, stats, _ = cv2.connectedComponentsWithStatsWithAlgorithm(
        mask, 8, cv2.CV_32S, cv2.CCL_GRANA
    )
    return labels, stats


def _strength(result: Comparison, foreground: np.ndarray) -> np.ndarray:
    """Return the contrast, float32 `[h, w]` in [0, 1]; 0 far from `foreground`, uint8 `[h, w]`."""
    strength = np.zeros(foreground.shape, np.float32)
    x, y, width, height = cv2.boundingRect(foreground)
    if width:
        # Closing the foreground adds pixels inside of its bounding box alone.
        window = np.s_[y : y + height, x : x + width]
        ratio = np.sqrt(result.square[window] / result.noise[window])
        strength[window] = 1 - np.exp(-ratio / STRONG_CONTRAST)
    return strength


def _correlation(a: np.ndarray, b: np.ndarray) -> float:
    """Return Pearson's correlation of two lists of gray levels; 0 where one hardly varies."""
    if a.size < 2:
        return 0.0
    a, b = a - a.mean(), b - b.mean()
    spread_a, spread_b = np.sqrt(np.square(a).mean()), np.sqrt(np.square(b).mean())
    if min(spread_a, spread_b) < START_NOISE:
        return 0.0
    return float((a * b).mean() / (spread_a * spread_b))


def _moved(differed: np.ndarray, pose: np.ndarray) -> np.ndarray:
    """Return a map, uint8 `[h, w]`, 0 or 1, of the background at the position of the frame."""
    return cv2.warpAffine(differed, pose, differed.shape[::-1], flags=cv2.INTER_NEAREST)


def _persistent(differs: np.ndarray, differed: np.ndarray) -> np.ndarray:
    """Return the pixels that differ in this frame and are near pixels that differed in the last.

    All maps are uint8 `[h, w]`, 0 or 1. Rain, which differs for one frame, is excluded.
    """
    near = np.asarray(cv2.dilate(cv2.medianBlur(differed, 3), SQUARE5), np.uint8)
    return np.asarray(cv2.medianBlur(differs, 3), np.uint8) & near
