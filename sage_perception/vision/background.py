# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""The background of a camera: a running Gaussian per pixel, and the comparison with a frame.

The model follows Wren et al. ("Pfinder", 1997). A frame is registered to the background before
the comparison. Images are float32 in gray levels, channels first.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np

from sage_perception.vision.registration import (
    GAINS,
    IDENTITY,
    invert,
    near,
    overlap,
    photometry,
    register,
    row_gain,
    warp,
)

SETTLE_S = 0.4
"""Time a pixel stays constant before its value counts as background, seconds."""
BACKGROUND_S = 4.0
"""Time constant of the background where a frame does not differ from it, seconds."""
RECENT_S = 0.4
"""Time constant of the short-term average that separates moving from resting, seconds."""
MOVING_S = 0.25
"""Time a pixel counts as moving after it deviated from its short-term average, seconds."""
EXPOSURE_S = 2.0
"""Time constant with which the background follows the exposure of the camera, seconds."""

MIN_NOISE, START_NOISE, MAX_NOISE = 1.5, 3.0, 12.0
"""Lower bound, initial value and upper bound of a pixel's standard deviation, gray levels."""
SATURATED = 250.0
"""Gray level above which a pixel is saturated."""
REGISTRATION_ERROR = 0.1
"""Assumed error of the registration, pixels; it tolerates differences along edges."""
MAX_CORRECTION = 0.03
"""Correction of a known pose by the registration, pixels per frame."""
MAX_DETAIL = 32.0
"""Local contrast above which the weight of a pixel in `mismatch` no longer grows, gray levels."""
FOREGROUND_CONFIDENCE = 0.05
"""Weight in the registration of a pixel that showed a moving object in the last frame."""

SQUARE3, SQUARE5 = np.ones((3, 3), np.uint8), np.ones((5, 5), np.uint8)


@dataclass(frozen=True, eq=False)
class Comparison:
    """A frame compared with the background.

    Attributes:
        pose: `[2, 3]`, from a position in the background to that in the frame, pixels.
        gain: `[C, 1, 1]`, of the frame relative to the background.
        offset: `[C, 1, 1]`, gray levels.
        white: `[C, 1, 1]`, the frame's white in the brightness of the background, gray levels.
        aligned: `[C, h, w]`, the frame in the position and the brightness of the background.
        inside: `[h, w]`, 1 where the frame covers the background, else 0.
        difference: `[C, h, w]`, `aligned` minus the background, gray levels.
        square: `[h, w]`, mean square of the difference over the channels.
        noise: `[h, w]`, the expected value of `square` without motion.
        differs: uint8 `[h, w]`, 1 where `square` is significantly larger than `noise`.
        mismatch: fraction of the image's details that differ, in [0, 1].
    """

    pose: np.ndarray
    gain: np.ndarray
    offset: np.ndarray
    white: np.ndarray
    aligned: np.ndarray
    inside: np.ndarray
    difference: np.ndarray
    square: np.ndarray
    noise: np.ndarray
    differs: np.ndarray
    mismatch: float


class Background:
    """The background of one scene, learned from its first frame on.

    `frame` is float32 `[C, h, w]`. `threshold` is the significant difference in standard
    deviations; `rest_s` is the time after which a resting object becomes background, seconds.
    """

    def __init__(self, frame: np.ndarray, threshold: float, rest_s: float) -> None:
        shape = frame.shape[1:]
        self._threshold = threshold
        self._rest_s = rest_s
        self.mean = frame.copy()
        self._variance = np.full(shape, START_NOISE**2, np.float32)
        # A pixel whose background is not known yet is compared with its short-term average.
        self.known = np.zeros(shape, bool)
        self._recent = frame.copy()
        self._steady_s = np.zeros(shape, np.float32)
        self._confidence = np.ones(shape, np.float32)
        self.pose = IDENTITY

    @property
    def shape(self) -> tuple[int, int]:
        """Return height and width, pixels."""
        return self.mean.shape[1], self.mean.shape[2]

    def compare(self, frame: np.ndarray, start: np.ndarray, known: bool = False) -> Comparison:
        """Return the comparison of `frame`, float32 `[C, h, w]`, with the background.

        `start` `[2, 3]` is the pose that the registration starts from; a `known` pose is only
        corrected by `MAX_CORRECTION`.
        """
        reference = gray(self.mean)
        pose, weight = register(gray(frame), reference, self._confidence, start)
        if known:
            pose = near(pose, start, MAX_CORRECTION, self.shape)
        aligned, inside = warp(frame, pose), overlap(self.shape, pose)
        weight *= inside
        gain, offset = photometry(aligned, self.mean, weight)
        aligned = aligned - offset
        aligned /= gain
        weight *= self._confidence
        aligned /= row_gain(gray(aligned), reference, weight)
        # Saturation, in this frame or when the background was learned, hides the true brightness.
        white = (255 - offset) / gain
        difference = np.minimum(self.mean, white)
        np.subtract(aligned, difference, out=difference)
        contrast = local_contrast(reference)
        noise = self._noise(gain, contrast)
        square = _mean_square(difference)
        square *= inside
        differs = (square > self._threshold**2 * noise).astype(np.uint8)
        # Flat areas match at any shift: weight the pixels by their detail.
        detail = np.minimum(contrast, MAX_DETAIL)
        detail += 1
        detail *= inside
        total = detail.sum()  # 0: the pose has left no overlap
        comparable = gain.max() > GAINS[0] and total > 0
        mismatch = float(detail[differs.view(bool)].sum() / total) if comparable else 1.0
        return Comparison(
            pose,
            gain,
            offset,
            white,
            aligned,
            inside,
            difference,
            square,
            noise,
            differs,
            mismatch,
        )

    def search(self, frame: np.ndarray) -> np.ndarray:
        """Return the pose of a frame by phase correlation, for shifts of many pixels."""
        window = cv2.createHanningWindow(frame.shape[:0:-1], cv2.CV_32F)
        shift, _ = cv2.phaseCorrelate(gray(self.mean), gray(frame), window)
        return np.column_stack([np.eye(2), shift])

    def move(self, frame: np.ndarray, pose: np.ndarray) -> None:
        """Move the background to the position of `frame`, float32 `[C, h, w]`, at `pose`.

        What `frame` shows for the first time is not known yet.
        """
        back = invert(pose)
        seen = overlap(self.shape, back).astype(bool)
        maps = np.stack([self._variance, self.known.astype(np.float32), self._steady_s])
        self._variance, known, self._steady_s = warp(maps, back)
        self.known = (known > 0.5) & seen
        self._steady_s[~seen] = 0
        self._variance[~seen] = START_NOISE**2
        self.mean = np.where(seen, warp(self.mean, back), frame)
        self._recent = np.where(seen, warp(self._recent, back), frame)
        self._confidence = np.where(seen, warp(self._confidence[None], back)[0], np.float32(1))
        self.pose = IDENTITY

    def track_changes(self, comparison: Comparison, dt: float) -> np.ndarray:
        """Update the short-term average; return where the image is moving, bool `[h, w]`."""
        change = comparison.aligned - np.minimum(self._recent, comparison.white)
        limit = self._threshold**2 * comparison.noise
        square = _mean_square(change)
        square *= comparison.inside
        # The median filter removes rain drops, which differ for a single frame.
        left = cv2.medianBlur((square > limit).view(np.uint8), 3).view(bool)
        rate = _rate(dt, RECENT_S) * comparison.inside
        rate[left] = 1
        change *= rate
        self._recent += change
        self._steady_s += np.float32(dt)
        self._steady_s[left] = 0
        return self._steady_s < MOVING_S

    def learn(self, comparison: Comparison, foreground: np.ndarray, dt: float) -> None:
        """Update mean, variance and confidence; `foreground` is uint8 `[h, w]`, 0 or 1."""
        moving, unknown = foreground.view(bool), ~self.known
        rates = _rate(dt, BACKGROUND_S) * comparison.inside
        rates[moving] = 0
        if unknown.any():
            rates[unknown] = _rate(dt, RECENT_S) * comparison.inside[unknown]
        self.mean += rates * comparison.difference
        # Limit the influence of outliers, so that passing objects do not desensitize the pixel.
        surprise = np.minimum(comparison.square, 4 * self._variance)
        surprise -= self._variance
        surprise *= rates
        surprise[unknown] = 0
        self._variance += surprise

        settled = self._steady_s > SETTLE_S
        rested = moving & settled
        replaced = unknown & settled
        if rested.any():
            replaced |= self._ghosts(foreground, rested.view(np.uint8))
            replaced |= moving & (self._steady_s > self._rest_s)
        self.replace(replaced, self._recent)
        if np.count_nonzero(self.known) > self.known.size / 2:
            doubtful = cv2.dilate(foreground, SQUARE5).view(bool)
            doubtful |= ~self.known
            self._confidence = np.ones(self.shape, np.float32)
            self._confidence[doubtful] = FOREGROUND_CONFIDENCE

    def replace(self, where: np.ndarray, image: np.ndarray) -> None:
        """Set the background to `image`, float32 `[C, h, w]`, at the pixels `where`, bool."""
        if not where.any():
            return
        np.copyto(self.mean, image, where=where)
        np.copyto(self._recent, image, where=where)
        self._variance[where] = START_NOISE**2
        self.known |= where

    def follow_exposure(self, comparison: Comparison, dt: float) -> None:
        """Move the brightness of the whole background towards that of the frame."""
        drift = _rate(dt, EXPOSURE_S)
        gain = 1 + drift * (comparison.gain - 1)
        offset = drift * comparison.offset
        for image in (self.mean, self._recent):
            image *= gain
            image += offset

    def _noise(self, gain: np.ndarray, contrast: np.ndarray) -> np.ndarray:
        """Return the expected variance between the background and a frame without motion."""
        variance = np.clip(self._variance, MIN_NOISE**2, MAX_NOISE**2)
        variance /= min(float(gain.min()), 1.0) ** 2  # brightening a frame amplifies its noise
        error = REGISTRATION_ERROR / 2 * contrast
        error *= error
        variance += error
        saturated = self.mean > SATURATED
        if saturated.any():
            variance[saturated.any(axis=0)] += (np.abs(1 - gain).max() * SATURATED) ** 2
        return variance

    def _ghosts(self, foreground: np.ndarray, steady: np.ndarray) -> np.ndarray:
        """Return the areas of `steady` that an object has left, bool `[h, w]`.

        The outline of an object that arrived is an edge of the present image; the outline of one
        that left is an edge of the background. Both maps are uint8 `[h, w]`, 0 or 1.
        """
        found = np.zeros(self.shape, bool)
        window = _window_around(steady, 3)
        steady, foreground = steady[window].copy(), foreground[window]
        count, labels = cv2.connectedComponents(steady, ltype=cv2.CV_16U)
        # The parts of an object that have settled border on those that have not: no outline.
        outline = np.flatnonzero(_edge(steady) & _edge(foreground))
        before, now = (gray(image[:, window[0], window[1]]) for image in (self.mean, self._recent))
        faded = local_contrast(before) - local_contrast(now)
        around = cv2.dilate(labels, SQUARE3).ravel()[outline]
        left = np.bincount(around, faded.ravel()[outline], count) > 0
        left[0] = False
        found[window] = left[labels]
        return found


def gray(image: np.ndarray) -> np.ndarray:
    """Return the mean `[h, w]` of the channels of an image `[C, h, w]`."""
    mean = image[0] + image[1] if len(image) > 1 else image[0].copy()
    for channel in image[2:]:
        mean += channel
    mean /= len(image)
    return mean


def local_contrast(image: np.ndarray) -> np.ndarray:
    """Return the range of an image `[h, w]` in the 3×3 neighborhood of each pixel."""
    return cv2.dilate(image, SQUARE3) - cv2.erode(image, SQUARE3)


def _window_around(mask: np.ndarray, margin: int) -> tuple[slice, slice]:
    """Return rows and columns of the part of a mask, uint8 `[h, w]`, that is not 0."""
    x, y, width, height = cv2.boundingRect(mask)
    top, left = max(y - margin, 0), max(x - margin, 0)
    return slice(top, y + height + margin), slice(left, x + width + margin)


def _edge(mask: np.ndarray) -> np.ndarray:
    return np.asarray(cv2.morphologyEx(mask, cv2.MORPH_GRADIENT, SQUARE3), np.uint8)


def _mean_square(difference: np.ndarray) -> np.ndarray:
    square = np.einsum('kij,kij->ij', difference, difference)
    square /= len(difference)
    return square


def _rate(dt: float, time_constant: float) -> float:
    return 1 - math.exp(-dt / time_constant)
