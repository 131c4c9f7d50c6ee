# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Detection of camera faults from the frames alone.

A covered or frozen camera yields calm frames whose crops decode well, so no measurement of a
single crop detects it. `CameraHealth` therefore examines whole frames: 32 rows, 16 columns,
and a map of 32 × 24 means, in about 0.2 ms. The measures are insensitive to the scene, exposure,
motion, sensor noise and compression; docs/trust.md has the figures on real video.
"""

from __future__ import annotations

import enum
import zlib
from collections import deque
from dataclasses import dataclass
from functools import cached_property

import cv2
import numpy as np

CONFIRM = 3
"""Consecutive faulty frames that report a fault."""
CLEAR = 5
"""Consecutive good frames that clear a fault."""

STALE_S = 2.0
"""Difference between a frame's stamp and the clock above which the frame is stale, seconds."""

ROWS, COLUMNS = 32, 16
"""Numbers of rows and columns that are examined; columns are slower to read."""
FINE, COARSE = (1, 2), (4, 8)
"""Distances at which pixels are compared."""
NOISE_RATIO = 0.8
"""Ratio of the variation between neighbors to that over 8 pixels, above which a frame is noise."""
MIN_VARIATION = 16.0
"""Minimum of the variation over 8 pixels minus that between neighbors, gray levels squared."""
MIN_SHARPNESS = 0.09
"""Variation at fine distances relative to coarse ones; a smooth surface has 1/16."""
BRIGHT, MAX_BRIGHT = 250, 0.6
"""Minimum gray level of a saturated pixel, and maximum fraction of such pixels."""
MIN_SCENE_CORRELATION = 0.15
"""Correlation of two maps below which they show different scenes."""

BUFFERS = 32
"""Past frames that a frame is compared with; a stuck driver repeats its buffers."""
UNCHANGED = 0.003
"""Maximum fraction of pixels that differ in a repeated frame (compression, an overlaid clock)."""

SAME_SCENE, SWAPPED = 0.9, -0.6
"""Red and blue are swapped if lightness correlates above the first value, and red minus blue
below the second."""
MIN_CHROMA = 1.5
"""Minimum standard deviation of red minus blue for a comparison, gray levels."""


class Fault(enum.IntEnum):
    """A fault of a camera; the values of `sage_msgs/CropArray`'s `FAULT_*` constants."""

    UNKNOWN = 0  # not examined
    NONE = 1
    STALE = 2  # stamps that stand still, go back, or are far from the clock
    SATURATED = 3
    COVERED = 4  # dark, featureless, or far out of focus
    NOISE = 5  # noise instead of an image
    FROZEN = 6
    CHANNELS = 7  # red and blue are swapped


TRUST = dict.fromkeys(Fault, 0.0) | {
    Fault.UNKNOWN: 1.0,
    Fault.NONE: 1.0,
    Fault.CHANNELS: 0.25,  # shapes are correct
}
"""Factor in [0, 1] for the trust in the images of a camera with a fault."""


@dataclass(frozen=True, eq=False)
class _Features:
    """The part of a frame that is kept: green of some rows, and maps without their means."""

    rows: np.ndarray  # uint8 [n, W]
    lightness: np.ndarray  # float32 [24, 32]
    chroma: np.ndarray  # float32 [24, 32], red minus blue

    @cached_property
    def colorfulness(self) -> float:
        """Return the standard deviation of `chroma`."""
        return float(self.chroma.std())


class CameraHealth:
    """Detects the faults of one camera, frame by frame.

    A fault is reported after `CONFIRM` consecutive faulty frames and cleared after `CLEAR` good
    ones. Swapped colors are detected relative to earlier frames: a camera whose colors are swapped
    from the beginning cannot be distinguished from a scene with such colors.
    """

    def __init__(self) -> None:
        self.fault = Fault.UNKNOWN
        self._faulty = self._good = 0
        self._stamp_s = -np.inf
        self._last: _Features | None = None
        self._reference: _Features | None = None  # the last frame that showed a scene
        self._seen: deque[int] = deque(maxlen=BUFFERS)
        self._swapped = False

    @property
    def trust(self) -> float:
        """Return the factor in [0, 1] for the trust in the camera's images."""
        return TRUST[self.fault]

    def update(self, image: np.ndarray, stamp_s: float, now_s: float) -> Fault:
        """Examine a frame; return the fault of the camera.

        `image` is uint8 `[H, W, 3]`, BGR, of at least 16 × 16 pixels. `stamp_s` is its capture
        time and `now_s` the present time, seconds on the same clock.
        """
        found = self._examine(image, stamp_s, now_s)
        if found is Fault.NONE:
            self._faulty, self._good = 0, self._good + 1
            if self._good >= CLEAR or self.fault is Fault.UNKNOWN:
                self.fault = Fault.NONE
        else:
            self._faulty, self._good = self._faulty + 1, 0
            if self._faulty >= CONFIRM:
                self.fault = found
        return self.fault

    def _examine(self, image: np.ndarray, stamp_s: float, now_s: float) -> Fault:
        """Return the fault that one frame shows."""
        rows, columns = _lines(image, ROWS), _lines(image.swapaxes(0, 1), COLUMNS)
        features = _Features(rows, *_maps(image))
        last, self._last = self._last, features
        stale = stamp_s <= self._stamp_s or abs(now_s - stamp_s) > STALE_S
        self._stamp_s = stamp_s
        fault = _visibility_fault(rows, columns)
        repeated = self._is_repeated(rows, last)
        past = [each for each in (last, self._reference) if each is not None]
        if fault is Fault.NONE and past and all(_is_unrelated(features, each) for each in past):
            fault = Fault.NOISE  # a cut between scenes looks the same, but for one frame only
        if fault is Fault.NONE:
            if self._reference is not None and _is_swapped(features, self._reference):
                self._swapped = not self._swapped
            self._reference = features
        if stale:
            return Fault.STALE
        if fault is Fault.NONE and repeated:
            return Fault.FROZEN
        if fault is Fault.NONE and self._swapped:
            return Fault.CHANNELS
        return fault

    def _is_repeated(self, rows: np.ndarray, last: _Features | None) -> bool:
        """Return whether an earlier frame was the same; sensor noise differs in every frame."""
        digest = zlib.crc32(rows.data)
        known = digest in self._seen
        self._seen.append(digest)
        if known or last is None or last.rows.shape != rows.shape:
            return known
        return cv2.countNonZero(cv2.absdiff(rows, last.rows)) <= UNCHANGED * rows.size


def _lines(image: np.ndarray, count: int) -> np.ndarray:
    """Return green of about `count` evenly spaced rows, uint8 `[n, W]`."""
    step = max(1, round(len(image) / count))
    return np.ascontiguousarray(image[step // 2 :: step, :, 1])


def _maps(image: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return lightness and red minus blue, float32 `[24, 32]`, each without its mean."""
    step = max(1, len(image) // 48)
    small = cv2.resize(image[::step], (32, 24), interpolation=cv2.INTER_AREA).astype(np.float32)
    lightness, chroma = small.sum(2) / 3, small[..., 2] - small[..., 0]
    return lightness - lightness.mean(), chroma - chroma.mean()


def _visibility_fault(rows: np.ndarray, columns: np.ndarray) -> Fault:
    """Return the fault that hides the scene, from lines of a frame, uint8 `[n, W]` and `[m, H]`.

    The mean squared difference of pixels at a distance l is S(l) + 2σ² with the structure function
    S of the scene (Kolmogorov, 1941) and the variance σ² of the noise, which does not depend on l.
    Differences between distances are thus free of noise. S grows about linearly with l in natural
    images, and quadratically in smooth ones. Motion blurs one direction only, so the sharper
    direction decides.
    """
    fine, coarse = (
        np.array([[_variation(lines, l) for l in distances] for lines in (rows, columns)])
        for distances in (FINE, COARSE)
    )
    near, far = fine[:, 0], coarse[:, 1]
    if np.count_nonzero(rows >= BRIGHT) > MAX_BRIGHT * rows.size:
        return Fault.SATURATED
    if (near > NOISE_RATIO * far).all() and near.min() > 4 * MIN_VARIATION:
        return Fault.NOISE
    if (far - near).max() < MIN_VARIATION:
        return Fault.COVERED
    if (fine[:, 1] - near <= MIN_SHARPNESS * (far - coarse[:, 0])).all():
        return Fault.COVERED
    return Fault.NONE


def _variation(lines: np.ndarray, distance: int) -> float:
    """Return the mean squared difference of pixels `distance` apart on lines, uint8 `[n, W]`."""
    ahead = lines[:, distance:]
    return cv2.norm(ahead, lines[:, :-distance], cv2.NORM_L2SQR) / ahead.size


def _is_unrelated(features: _Features, past: _Features) -> bool:
    """Return whether two frames show different scenes."""
    return _correlation(features.lightness, past.lightness) < MIN_SCENE_CORRELATION


def _is_swapped(features: _Features, reference: _Features) -> bool:
    """Return whether red and blue are swapped between two frames of the same scene."""
    if min(features.colorfulness, reference.colorfulness) < MIN_CHROMA:
        return False
    return (
        _correlation(features.lightness, reference.lightness) > SAME_SCENE
        and _correlation(features.chroma, reference.chroma) < SWAPPED
    )


def _correlation(a: np.ndarray, b: np.ndarray) -> float:
    """Return Pearson's correlation of two maps without their means; 1 if one is constant."""
    power = float(np.vdot(a, a)) * float(np.vdot(b, b))
    return float(np.vdot(a, b)) / power**0.5 if power > 0 else 1.0
