# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""What moves in front of a camera that shakes, flickers and changes its exposure.

A running Gaussian per pixel models the background (Wren et al., "Pfinder", 1997). Before a frame
is compared with it, the frame is registered to it by a robust Gauss-Newton fit of a translation,
a gain and an offset (Lucas and Kanade, 1981; with photometric terms, Bartoli, 2008).
"""

from __future__ import annotations

from dataclasses import dataclass

import math

import cv2
import numpy as np

from sage_perception.vision.tracking import Detection

WARMUP_S = 0.5
"""How long a scene is watched before anything in it is called motion, seconds."""
SETTLE_S = 0.3
"""How long a pixel is steady before it is known to show the background, seconds."""
BACKGROUND_S = 4.0
"""Time constant of the background where nothing differs from it, seconds."""
RECENT_S = 0.25
"""Time constant of the short-term average that tells moving from standing, seconds."""
EXPOSURE_S = 2.0
"""Time constant with which the background takes over a new exposure, seconds."""
NOISE = (1.5, 3.0, 12.0)
"""Smallest, first and largest standard deviation a pixel is credited with, grey levels."""
REGISTRATION_STEPS = 3
"""Gauss-Newton steps of the registration."""
FAIR_SLOPE = 4.0
"""Slope of an edge, grey levels a pixel, above which it gets no more say in the registration."""
REGISTRATION_ERROR = 0.2
"""What the registration may be off by, pixels; it excuses differences along edges."""
DOUBTED = 0.05
"""Say in the registration of a pixel that showed a mover a frame ago."""
SATURATED = 250.0
"""Grey level from which on a pixel no longer tells how bright its subject is."""
LOST_SHARE = 0.5
"""Share of differing pixels above which the scene itself has changed."""
LOST_S = 0.2
"""How long the scene may differ before the background is learnt anew, seconds."""
BUSY = 0.1
"""Share of a blob that has to move for full activity."""
STRONG = 10.0
"""Contrast in standard deviations that counts as much, for the score of a blob."""
MAX_SHIFT = 0.125
"""Shift, as a share of the frame, beyond which the background is learnt anew."""

SQUARE3, SQUARE5 = np.ones((3, 3), np.uint8), np.ones((5, 5), np.uint8)


@dataclass(frozen=True, eq=False)
class Motion:
    """In what a frame differs from the background; maps are `[h, w]`, aligned with it.

    `contrast` is float32, the distance from the background in standard deviations. `foreground`
    is uint8, 1 where an area differs for more than an instant. `moving` is uint8, 1 where the
    foreground changed within the last quarter of a second. `shift` (x, y) leads from a position
    in the background to that in the frame, pixels. `ready` is False, and nothing is foreground,
    while the background is being learnt; `new` is True on the first frame of a background.
    """

    contrast: np.ndarray
    foreground: np.ndarray
    moving: np.ndarray
    shift: tuple[float, float]
    ready: bool
    new: bool = False


class MotionDetector:
    """Learns the background of a camera and finds what differs from it.

    `threshold` is in standard deviations; `absorb_s` is how long something rests in front of the
    background until it becomes part of it, seconds.

    A pixel that is not yet known to show the background is compared with its short-term average.
    """

    def __init__(self, threshold: float, absorb_s: float):
        self._threshold = threshold
        self._absorb_s = absorb_s
        self._mean: np.ndarray | None = None

    def reset(self) -> None:
        """Forget the background."""
        self._mean = None

    @property
    def background(self) -> np.ndarray | None:
        """Return the background, float32 `[C, h, w]`, grey levels; None before any frame."""
        return self._mean

    def update(self, image: np.ndarray, dt: float) -> Motion:
        """Compare `image`, uint8 `[h, w, C]`, with the background, then learn from it.

        `dt` is the time since the frame before, seconds; the first frame ignores it.
        """
        frame = np.float32(cv2.split(image))
        if self._mean is None:
            return self._start(frame)
        self._age_s += dt

        start = self._search(frame) if self._lost_s else self._shift
        shift, weight = register(frame.mean(axis=0), self._mean.mean(axis=0), self._believed, start)
        if np.any(np.abs(shift) > np.multiply(MAX_SHIFT, frame.shape[:0:-1])):
            return self._start(frame)
        self._shift = shift
        frame, inside = _shifted(frame, shift)
        gain, offset = photometry(frame, self._mean, weight * inside)
        frame = (frame - offset) / gain

        noise = self._noise(gain)
        limit = self._threshold**2 * noise
        difference = frame - self._mean
        square = _mean_square(difference) * inside
        differs = (square > limit).astype(np.uint8)
        change = frame - self._recent
        changes = (_mean_square(change) * inside > limit).astype(np.uint8)

        self._lost_s = self._lost_s + dt if differs.mean() > LOST_SHARE else 0.0
        if self._lost_s > LOST_S:
            return self._start(frame * gain + offset)
        ready = self._age_s >= WARMUP_S
        foreground = np.zeros_like(differs)
        if not self._lost_s:
            persistent = _persistent(differs, self._differed)
            self._differed = differs
            mover = cv2.dilate(persistent, SQUARE5).astype(bool)
            self._believed = np.where(mover | ~self._known, DOUBTED, 1).astype(np.float32)
            self._learn(difference, change, square, persistent, changes, inside, dt)
            self._follow_exposure(gain, offset, dt)
            if ready:
                foreground = persistent
        contrast = np.sqrt(square / noise)
        return Motion(contrast, foreground, foreground & changes, tuple(shift.tolist()), ready)

    def _start(self, frame: np.ndarray) -> Motion:
        self._mean = frame.copy()
        self._recent = frame.copy()
        shape = frame.shape[1:]
        self._variance = np.full(shape, NOISE[1] ** 2, np.float32)
        self._steady_s = np.zeros(shape, np.float32)
        self._known = np.zeros(shape, bool)
        self._differed = np.zeros(shape, np.uint8)
        self._believed = np.ones(shape, np.float32)
        self._shift = np.zeros(2)
        self._age_s = self._lost_s = 0.0
        nothing = np.zeros(shape, np.uint8)
        contrast = np.zeros(shape, np.float32)
        return Motion(contrast, nothing, nothing, (0.0, 0.0), ready=False, new=True)

    def _search(self, frame: np.ndarray) -> np.ndarray:
        """Return the shift of a frame that registration from near by did not explain."""
        grey = frame.mean(axis=0)
        window = cv2.createHanningWindow(grey.shape[::-1], cv2.CV_32F)
        return np.array(cv2.phaseCorrelate(self._mean.mean(axis=0), grey, window)[0])

    def _noise(self, gain: np.ndarray) -> np.ndarray:
        """Return the variance to expect between the background and a frame without motion."""
        grey = self._mean.mean(axis=0)
        slope = (cv2.dilate(grey, SQUARE3) - cv2.erode(grey, SQUARE3)) / 2
        # Brightening a dark frame brightens its noise.
        variance = np.clip(self._variance, NOISE[0] ** 2, NOISE[2] ** 2) / min(gain.min(), 1) ** 2
        clipped = self._mean.max(axis=0) > SATURATED
        unknown = (clipped * np.abs(1 - gain).max() * SATURATED).astype(np.float32)
        return variance + (REGISTRATION_ERROR * slope) ** 2 + unknown**2

    def _learn(self, difference, change, square, foreground, changes, inside, dt):
        recent_rate = _rate(dt, RECENT_S) * inside
        self._recent += recent_rate * change
        self._steady_s = (self._steady_s + dt) * (1 - changes)
        rested = self._steady_s > np.where(self._known, self._absorb_s, SETTLE_S)
        settled = rested & (foreground.astype(bool) | ~self._known)
        uncovered = foreground * (self._steady_s > SETTLE_S).astype(np.uint8)
        if uncovered.any():
            settled |= self._ghosts(uncovered)
        same = self._known & (foreground == 0)
        rate = _rate(dt, BACKGROUND_S) * inside * same
        self._mean += np.where(self._known, rate, recent_rate) * difference
        # An outlier is not taken at its full size, else what passes would blind the pixel.
        self._variance += rate * (np.minimum(square, 4 * self._variance) - self._variance)
        np.copyto(self._mean, self._recent, where=settled)
        self._variance[settled] = NOISE[1] ** 2
        self._known |= settled

    def _ghosts(self, steady: np.ndarray) -> np.ndarray:
        """Return which areas of `steady` differ because something left, bool `[h, w]`.

        The outline of what came is an edge of the present picture, the outline of what left is an
        edge of the background (Cucchiara et al., 2003, call the latter ghosts).
        """
        count, labels = cv2.connectedComponents(steady)
        outline = cv2.dilate(steady, SQUARE3) - cv2.erode(steady, SQUARE3)
        labels = cv2.dilate(labels.astype(np.uint16), SQUARE3)
        change = _edges(self._mean) - _edges(self._recent)
        left = np.bincount(labels.ravel(), (change * outline).ravel(), count) > 0
        return left[labels] & steady.astype(bool)

    def _follow_exposure(self, gain, offset, dt):
        """Let the background drift to a new exposure as a whole, so that it stays one picture."""
        drift = _rate(dt, EXPOSURE_S)
        for picture in (self._mean, self._recent):
            picture *= 1 + drift * (gain - 1)
            picture += drift * offset


def register(
    frame: np.ndarray, mean: np.ndarray, believed: np.ndarray, start: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return the shift `[2]` (x, y) from `mean` to `frame`, and the weight of each pixel.

    `frame` and `mean` are float32 `[h, w]`; `believed`, float32 `[h, w]`, says how far to trust
    each pixel; `start` is a shift to search from. The model is frame(x + shift) = gain · mean(x)
    + offset, fitted by iteratively reweighted least squares with Cauchy weights. The weights,
    float32 `[h, w]` in [0, 1], are small where something else is seen.
    """
    dx = cv2.Sobel(mean, -1, 1, 0, scale=1 / 8).ravel()
    dy = cv2.Sobel(mean, -1, 0, 1, scale=1 / 8).ravel()
    centred = mean.ravel() - mean.mean()
    columns = np.stack([dx, dy, centred, np.ones_like(centred)])
    # A few strong edges, perhaps of one mover, must not outvote the rest of the picture.
    fair = believed.ravel() * FAIR_SLOPE**2 / (FAIR_SLOPE**2 + dx**2 + dy**2)
    # Where nothing tells otherwise, nothing has moved and the gain is 1.
    prior = np.array([0.3, 0.3, 1.0, 1e-3]) * mean.size
    shift = np.array(start, float)
    weight = np.ones_like(centred)
    for _ in range(REGISTRATION_STEPS):
        moved = _shifted(frame[None], shift)[0].ravel()
        weighted = columns * (fair * weight)
        target = weighted @ moved + prior * (*shift, 1, 0)
        solution = np.linalg.solve(weighted @ columns.T + np.diag(prior), target)
        error = np.abs(moved - solution.astype(np.float32) @ columns)
        scale = max(2 * float(np.median(error[::7])), 1.0)
        weight = 1 / (1 + (error / scale) ** 2)
        shift -= solution[:2] / max(solution[2], 0.1)
    return shift, weight.reshape(mean.shape)


def photometry(
    frame: np.ndarray, mean: np.ndarray, weight: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return gain and offset, `[C, 1, 1]` each, such that frame = gain · mean + offset.

    `frame` and `mean` are float32 `[C, h, w]`; `weight` `[h, w]` says which pixels to believe.
    """
    x, y, w = mean.reshape(len(mean), -1), frame.reshape(len(frame), -1), weight.ravel()
    total = w.sum() + 1e-6
    mean_x, mean_y = x @ w / total, y @ w / total
    x, y = x - mean_x[:, None], y - mean_y[:, None]
    flat = 4.0  # grey levels squared: a picture with less variance than this tells no gain
    gain = ((x * y) @ w / total + flat) / ((x * x) @ w / total + flat)
    gain = np.clip(gain, 0.1, 10)
    return gain[:, None, None], (mean_y - gain * mean_x)[:, None, None]


def find_blobs(motion: Motion, smallest: int) -> list[Detection]:
    """Return the connected areas of foreground of at least `smallest` pixels, largest first."""
    mask = cv2.morphologyEx(motion.foreground, cv2.MORPH_CLOSE, SQUARE3)
    _, labels, stats, _ = cv2.connectedComponentsWithStats(mask)
    blobs = []
    for label in 1 + np.argsort(-stats[1:, cv2.CC_STAT_AREA], kind='stable'):
        x, y, width, height, area = stats[label].tolist()
        if area < smallest:
            break
        window = np.s_[y : y + height, x : x + width]
        own = labels[window] == label
        contrast = 1 - math.exp(-float(motion.contrast[window][own].mean()) / STRONG)
        activity = min(float(motion.moving[window][own].mean()) / BUSY, 1.0)
        blobs.append(Detection((x, y, x + width, y + height), contrast, activity))
    return blobs


def _shifted(frame: np.ndarray, shift: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return `frame` `[C, h, w]` sampled at x + shift, and where that lies inside, `[h, w]`."""
    height, width = frame.shape[1:]
    matrix = np.float32([[1, 0, shift[0]], [0, 1, shift[1]]])
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    moved = np.stack(
        [
            cv2.warpAffine(c, matrix, (width, height), flags=flags, borderMode=cv2.BORDER_REPLICATE)
            for c in frame
        ]
    )
    x, y = np.arange(width) + shift[0], np.arange(height) + shift[1]
    inside = np.outer((y > -0.5) & (y < height - 0.5), (x > -0.5) & (x < width - 0.5))
    return moved, inside.astype(np.float32)


def _mean_square(difference: np.ndarray) -> np.ndarray:
    return np.einsum('kij,kij->ij', difference, difference) / len(difference)


def _edges(picture: np.ndarray) -> np.ndarray:
    grey = picture.mean(axis=0)
    return cv2.dilate(grey, SQUARE3) - cv2.erode(grey, SQUARE3)


def _persistent(differs: np.ndarray, differed: np.ndarray) -> np.ndarray:
    """Return where an area differs now and did, near by, a frame ago; rain does neither."""
    near = cv2.dilate(cv2.medianBlur(differed, 3), SQUARE5)
    return cv2.medianBlur(differs, 3) & near


def _rate(dt: float, time_constant: float) -> float:
    return 1 - math.exp(-dt / time_constant)
