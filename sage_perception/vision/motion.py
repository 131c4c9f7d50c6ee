# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""What moves in front of a camera that shakes, flickers and changes its exposure.

A running Gaussian per pixel models the background (Wren et al., "Pfinder", 1997). Before a frame
is compared with it, the frame is registered to it by a robust Gauss-Newton fit of a translation,
a gain and an offset (Lucas and Kanade, 1981; with photometric terms, Bartoli, 2008). What then
differs is told apart: rain lasts an instant, a ghost is the place something left, a relit area
still shows the background's texture; the rest are blobs.

All lengths are in pixels of the image that is given, all times in seconds.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np

WARMUP_S = 0.5
"""How long a scene is watched before anything in it is called motion."""
SETTLE_S = 0.4
"""How long a pixel is steady before it is known to show the background."""
BACKGROUND_S = 4.0
"""Time constant of the background where nothing differs from it."""
RECENT_S = 0.4
"""Time constant of the short-term average that tells moving from standing."""
MOVING_S = 0.25
"""How long a pixel counts as moving after it left its short-term average."""
EXPOSURE_S = 2.0
"""Time constant with which the background takes over a new exposure."""

NOISE_FLOOR, NOISE_START, NOISE_CEILING = 1.5, 3.0, 12.0
"""Standard deviations that a pixel is credited with: at least, at first, at most; gray levels."""
SATURATED = 250.0
"""Gray level from which on a pixel no longer tells how bright its subject is."""

GAINS = (0.2, 5.0)
"""Smallest and largest gain of a frame; with less it is too dark, or too bright, to tell."""

REGISTRATION_STEPS = 3
"""Gauss-Newton steps of the registration at most."""
REGISTRATION_ROWS = 2
"""Of so many rows of the image one takes part in the registration."""
REGISTRATION_ERROR = 0.1
"""What the registration may be off by; it excuses differences along edges."""
NEGLIGIBLE_SHIFT = 0.05
"""Shift that is not worth an interpolation."""
FAIR_SLOPE = 4.0
"""Slope of an edge, gray levels a pixel, above which it gets no more say in the registration."""
DOUBTED = 0.05
"""Say in the registration of a pixel that showed a mover a frame ago."""

LOST_SHARE = 0.5
"""Share of the image's details that differ above which the scene itself has changed."""
TELLING_EDGE = 32.0
"""Variation around a pixel, gray levels, from which on more makes it no more of a detail."""
LOST_S = 0.2
"""How long the scene may differ before the background is learnt anew."""
MAX_SHIFT = 0.05
"""Shift, as a share of the image, beyond which the background is learnt anew."""
LARGE_SHARE = 0.02
"""Share of the image from which on a blob may be a change of the light."""
SAME_TEXTURE = 0.9
"""Correlation with the background above which a large blob is only lit differently."""

BUSY = 0.1
"""Share of a blob that has to move for full activity."""
STRONG = 10.0
"""Contrast, in standard deviations, that is worth a score of 1 - 1/e."""

SQUARE3, SQUARE5 = np.ones((3, 3), np.uint8), np.ones((5, 5), np.uint8)


@dataclass(frozen=True)
class Blob:
    """A connected area that differs from the background.

    `box` is left, top, right, bottom; `area` the number of its pixels. `contrast` in [0, 1] says
    how much it differs, `activity` in [0, 1] how much of it changed in the last quarter second.
    """

    box: tuple[int, int, int, int]
    area: int
    contrast: float
    activity: float


@dataclass(frozen=True, eq=False)
class Motion:
    """What a frame adds to the background; positions are those in the background.

    `evidence`, float32 `[h, w]` in [0, 1], is the contrast where there are `blobs`, which come
    largest first. `shift` (x, y) leads from a position in the background to that in the frame.
    There are no blobs until the background is `ready`; the first frame of each is `new`.
    """

    evidence: np.ndarray
    blobs: list[Blob]
    shift: tuple[float, float]
    ready: bool
    new: bool = False


@dataclass(frozen=True, eq=False)
class _Comparison:
    """A frame held against the background."""

    shift: np.ndarray  # [2] x, y
    gain: np.ndarray  # [C, 1, 1], with offset: of the frame against the background
    offset: np.ndarray  # [C, 1, 1] gray levels
    white: np.ndarray  # [C, 1, 1] what the frame's white would be in the background, gray levels
    aligned: np.ndarray  # [C, h, w] the frame in place and brightness of the background
    inside: np.ndarray  # [h, w] 1 where the frame shows the background's place, else 0
    difference: np.ndarray  # [C, h, w] gray levels
    square: np.ndarray  # [h, w] mean square of the difference over the channels
    noise: np.ndarray  # [h, w] what it would be without motion
    differs: np.ndarray  # [h, w] uint8, 1 where it is far more
    mismatch: float  # share of the details of the image that differ


class MotionDetector:
    """Learns the background of a camera and finds what differs from it.

    `threshold` is in standard deviations; `background_time_s` is how long something rests in front
    of the background until it becomes part of it.
    """

    def __init__(self, threshold: float, background_time_s: float):
        self._threshold = threshold
        self._background_time_s = background_time_s
        self._mean: np.ndarray | None = None

    @property
    def background(self) -> np.ndarray | None:
        """Return the background, float32 `[C, h, w]`, gray levels; None before any frame."""
        return self._mean

    def update(self, image: np.ndarray, dt: float) -> Motion:
        """Compare `image`, uint8 `[h, w, 3]` or `[h, w]`, with the background; learn from it.

        `dt` is the time since the frame before; the first frame ignores it.
        """
        frame = np.float32(cv2.split(image))
        if self._mean is None:
            return self._start(frame)
        self._age_s += dt
        seen = self._compare(frame, self._shift)
        if seen.mismatch > LOST_SHARE:
            far = self._compare(frame, self._search(frame))
            seen = min(seen, far, key=lambda s: s.mismatch)
        self._lost_s = self._lost_s + dt if seen.mismatch > LOST_SHARE else 0.0
        moved = np.any(np.abs(seen.shift) > np.multiply(MAX_SHIFT, frame.shape[:0:-1]))
        if self._lost_s > LOST_S or (moved and not self._lost_s):
            return self._start(frame)
        ready = self._age_s >= WARMUP_S
        if self._lost_s:
            return self._nothing(ready)

        self._shift = seen.shift
        foreground = _persistent(seen.differs, self._differed)
        self._differed = seen.differs
        strength = 1 - np.exp(-np.sqrt(seen.square / seen.noise) / STRONG)
        moving = self._watch(seen, dt)
        blobs, relit = self._blobs(foreground, seen.aligned, strength, moving)
        self._learn(seen, foreground, dt)
        self._adopt(relit, seen.aligned)
        self._follow_exposure(seen, dt)
        if not ready:
            return self._nothing(ready)
        return Motion(strength * foreground, blobs, tuple(seen.shift.tolist()), ready)

    def _start(self, frame: np.ndarray) -> Motion:
        shape = frame.shape[1:]
        self._mean = frame.copy()
        self._variance = np.full(shape, NOISE_START**2, np.float32)
        # A pixel not yet known to show the background is compared with its short-term average.
        self._known = np.zeros(shape, bool)
        self._recent = frame.copy()
        self._steady_s = np.zeros(shape, np.float32)
        self._differed = np.zeros(shape, np.uint8)
        self._believed = np.ones(shape, np.float32)
        self._shift = np.zeros(2)
        self._age_s = self._lost_s = 0.0
        return self._nothing(ready=False, new=True)

    def _nothing(self, ready: bool, new: bool = False) -> Motion:
        evidence = np.zeros(self._variance.shape, np.float32)
        return Motion(evidence, [], tuple(self._shift.tolist()), ready, new)

    def _compare(self, frame: np.ndarray, start: np.ndarray) -> _Comparison:
        gray = _gray(self._mean)
        shift, weight = register(_gray(frame), gray, self._believed, start)
        aligned, inside = _shifted(frame, shift), _inside(frame.shape[1:], shift)
        weight *= inside
        gain, offset = photometry(aligned, self._mean, weight)
        aligned = (aligned - offset) / gain
        aligned /= row_gain(_gray(aligned), gray, weight * self._believed)
        # What is brighter than white is white: in the frame now, or when the background was seen.
        white = (255 - offset) / gain
        difference = aligned - np.minimum(self._mean, white)
        edges = _edges(gray)
        noise = self._noise(gain, edges)
        square = _mean_square(difference) * inside
        differs = (square > self._threshold**2 * noise).astype(np.uint8)
        # Flat areas look the same wherever they are.
        telling = inside * (1 + np.minimum(edges, TELLING_EDGE))
        told = telling.sum()  # 0: the shift has left nothing to compare
        comparable = gain.max() > GAINS[0] and told > 0
        mismatch = float(np.vdot(differs, telling) / told) if comparable else 1.0
        return _Comparison(
            shift,
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

    def _search(self, frame: np.ndarray) -> np.ndarray:
        """Return the shift of a frame that is too far off for the small steps of registration."""
        window = cv2.createHanningWindow(frame.shape[:0:-1], cv2.CV_32F)
        return np.array(cv2.phaseCorrelate(_gray(self._mean), _gray(frame), window)[0])

    def _noise(self, gain: np.ndarray, edges: np.ndarray) -> np.ndarray:
        """Return the variance to expect between the background and a frame without motion."""
        variance = np.clip(self._variance, NOISE_FLOOR**2, NOISE_CEILING**2)
        variance /= min(float(gain.min()), 1.0) ** 2  # who brightens a frame brightens its noise
        variance += (REGISTRATION_ERROR / 2 * edges) ** 2
        unknown = np.float32((np.abs(1 - gain).max() * SATURATED) ** 2)
        return variance + unknown * (self._mean > SATURATED).any(axis=0)

    def _blobs(
        self,
        foreground: np.ndarray,
        aligned: np.ndarray,
        strength: np.ndarray,
        moving: np.ndarray,
    ) -> tuple[list[Blob], np.ndarray]:
        """Return the blobs, and bool `[h, w]` where instead only the light has changed."""
        closed = cv2.morphologyEx(foreground, cv2.MORPH_CLOSE, SQUARE3)
        _, labels, stats, _ = cv2.connectedComponentsWithStats(closed)
        relit = np.zeros(labels.shape, bool)
        blobs = []
        for label in 1 + np.argsort(-stats[1:, cv2.CC_STAT_AREA], kind='stable'):
            x, y, width, height, area = stats[label].tolist()
            window = np.s_[y : y + height, x : x + width]
            own = labels[window] == label
            if area > LARGE_SHARE * labels.size:
                seen = own & self._known[window]
                before = _gray(self._mean[(slice(None), *window)])[seen]
                now = _gray(aligned[(slice(None), *window)])[seen]
                if _correlation(before, now) > SAME_TEXTURE:
                    relit[window] |= own
                    continue
            contrast = float(strength[window][own].mean())
            activity = min(float(moving[window][own].mean()) / BUSY, 1.0)
            blobs.append(Blob((x, y, x + width, y + height), area, contrast, activity))
        foreground[relit] = 0
        return blobs, relit

    def _watch(self, seen: _Comparison, dt: float) -> np.ndarray:
        """Follow the short-term average; return where it was left of late, bool `[h, w]`."""
        change = seen.aligned - np.minimum(self._recent, seen.white)
        left = _mean_square(change) * seen.inside > self._threshold**2 * seen.noise
        # Not where a drop of rain was, which leaves it for a frame.
        left = cv2.medianBlur(left.astype(np.uint8), 3).astype(bool)
        self._recent += np.where(left, 1, _rate(dt, RECENT_S) * seen.inside) * change
        self._steady_s = (self._steady_s + dt) * ~left
        return self._steady_s < MOVING_S

    def _learn(self, seen: _Comparison, foreground: np.ndarray, dt: float) -> None:
        rate = _rate(dt, BACKGROUND_S) * (self._known & (foreground == 0))
        recent_rate = np.float32(_rate(dt, RECENT_S))
        rates = np.where(self._known, rate, recent_rate) * seen.inside
        self._mean += rates * seen.difference
        # An outlier is not taken at its full size, else what passes would blind the pixel.
        surprise = np.minimum(seen.square, 4 * self._variance) - self._variance
        self._variance += rates * self._known * surprise

        new = ~self._known & (self._steady_s > SETTLE_S)
        rested = foreground & (self._steady_s > self._background_time_s)
        left = self._ghosts(foreground & (self._steady_s > SETTLE_S))
        self._adopt(new | rested.astype(bool) | left, self._recent)
        if np.count_nonzero(self._known) > self._known.size / 2:
            doubted = cv2.dilate(foreground, SQUARE5).astype(bool) | ~self._known
            self._believed = np.where(doubted, DOUBTED, 1).astype(np.float32)

    def _ghosts(self, steady: np.ndarray) -> np.ndarray:
        """Return which areas of `steady` differ because something left, bool `[h, w]`.

        The outline of what came is an edge of the present image, the outline of what left is an
        edge of the background.
        """
        if not steady.any():
            return steady.astype(bool)
        count, labels = cv2.connectedComponents(steady, ltype=cv2.CV_16U)
        outline = np.flatnonzero(cv2.dilate(steady, SQUARE3) - cv2.erode(steady, SQUARE3))
        faded = _edges(_gray(self._mean)) - _edges(_gray(self._recent))
        around = cv2.dilate(labels, SQUARE3).ravel()[outline]
        left = np.bincount(around, faded.ravel()[outline], count) > 0
        left[0] = False
        return left[labels]

    def _adopt(self, where: np.ndarray, picture: np.ndarray) -> None:
        """Take what `image` shows `where` (bool `[h, w]`) for the background."""
        np.copyto(self._mean, picture, where=where)
        np.copyto(self._recent, picture, where=where)
        self._variance[where] = NOISE_START**2
        self._known |= where

    def _follow_exposure(self, seen: _Comparison, dt: float) -> None:
        """Let the background drift to a new exposure as a whole, so that it stays one image."""
        drift = _rate(dt, EXPOSURE_S)
        for picture in (self._mean, self._recent):
            picture *= 1 + drift * (seen.gain - 1)
            picture += drift * seen.offset


def register(
    frame: np.ndarray, mean: np.ndarray, believed: np.ndarray, start: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return the shift `[2]` (x, y) from `mean` to `frame`, and the weight of each pixel.

    `frame` and `mean` are float32 `[h, w]`; `believed`, float32 `[h, w]` in [0, 1], says how far
    to trust each pixel; `start` is a shift to search from. The model is frame(x + shift) =
    gain · mean(x) + offset, fitted by iteratively reweighted least squares with Cauchy weights.
    The weights, float32 `[h, w]` in (0, 1], are small where something else is seen.
    """
    rows = np.s_[::REGISTRATION_ROWS]
    dx = cv2.Sobel(mean, -1, 1, 0, scale=1 / 8)[rows].ravel()
    dy = cv2.Sobel(mean, -1, 0, 1, scale=1 / 8)[rows].ravel()
    centered = mean[rows].ravel() - mean.mean()
    columns = np.stack([dx, dy, centered, np.ones_like(centered)])
    # A few strong edges, perhaps of one mover, must not outvote the rest of the image.
    slope = dx**2 + dy**2
    fair = believed[rows].ravel() * FAIR_SLOPE**2 / (FAIR_SLOPE**2 + slope)
    # Where nothing tells otherwise, nothing has moved and the gain is 1.
    texture = float(fair @ slope) / slope.size
    still = 0.3 * max(1 - texture, 0.01)
    prior = np.diag([still, still, 1.0, 1e-3]) * slope.size
    middle = slope.size // 16
    shift = np.array(start, float)
    weight = np.ones_like(centered)
    for _ in range(REGISTRATION_STEPS):
        moved = _shifted(frame[None], shift, REGISTRATION_ROWS).ravel()
        weighted = columns * (fair * weight)
        target = weighted @ moved + prior @ (*shift, 1, 0)
        solution = np.linalg.solve(weighted @ columns.T + prior, target)
        error = np.abs(moved - solution.astype(np.float32) @ columns)
        median = float(np.partition(error[::8], middle)[middle])
        weight = 1 / (1 + (error / max(2 * median, 1.0)) ** 2)
        step = solution[:2] / max(solution[2], 0.1)
        shift -= step
        if np.abs(step).max() < NEGLIGIBLE_SHIFT:
            break
    weight = np.repeat(weight.reshape(-1, mean.shape[1]), REGISTRATION_ROWS, axis=0)
    return shift, weight[: len(mean)]


def photometry(
    frame: np.ndarray, mean: np.ndarray, weight: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return gain and offset, `[C, 1, 1]` each, such that frame = gain · mean + offset.

    `frame` and `mean` are float32 `[C, h, w]`; `weight` `[h, w]` says how far to believe a pixel.
    """
    x, y, w = mean.reshape(len(mean), -1), frame.reshape(len(frame), -1), weight.ravel()
    total = w.sum() + 1e-6
    mean_x, mean_y = x @ w / total, y @ w / total
    x, y = x - mean_x[:, None], y - mean_y[:, None]
    flat = 4.0  # gray levels squared: an image with less variance than this tells no gain
    gain = ((x * y) @ w / total + flat) / ((x * x) @ w / total + flat)
    gain = np.clip(gain, *GAINS)
    return gain[:, None, None], (mean_y - gain * mean_x)[:, None, None]


def row_gain(frame: np.ndarray, mean: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Return the gain of each row of `frame`, `[h, 1]`, all arguments being float32 `[h, w]`.

    A rolling shutter sees lamps that flicker as bands of rows.
    """
    dark = 10.0**2  # gray levels squared: a row that is not brighter than this tells no gain
    seen = np.einsum('ij,ij,ij->i', weight, frame, mean)
    expected = np.einsum('ij,ij,ij->i', weight, mean, mean)
    hidden = dark * mean.shape[1]
    gain = ((seen + hidden) / (expected + hidden)).astype(np.float32)
    return cv2.blur(gain[:, None], (1, 3))


def _shifted(picture: np.ndarray, shift: np.ndarray, every: int = 1) -> np.ndarray:
    """Return `image` `[C, h, w]` sampled at x + shift; edges are repeated outwards.

    Of the rows only `every` second, third … is returned.
    """
    if np.abs(shift).max() < NEGLIGIBLE_SHIFT:
        return picture[:, ::every]
    height, width = picture.shape[1:]
    matrix = np.float32([[1, 0, shift[0]], [0, every, shift[1]]])
    size, flags = (width, -(-height // every)), cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    border = cv2.BORDER_REPLICATE
    return np.stack(
        [cv2.warpAffine(c, matrix, size, flags=flags, borderMode=border) for c in picture]
    )


def _inside(shape: tuple[int, int], shift: np.ndarray) -> np.ndarray:
    """Return where a position x + shift lies inside the image, float32 `[h, w]`, 0 or 1."""
    x, y = np.arange(shape[1]) + shift[0], np.arange(shape[0]) + shift[1]
    columns = (x > -0.5) & (x < shape[1] - 0.5)
    rows = (y > -0.5) & (y < shape[0] - 0.5)
    return np.outer(rows, columns).astype(np.float32)


def _mean_square(difference: np.ndarray) -> np.ndarray:
    return np.einsum('kij,kij->ij', difference, difference) / len(difference)


def _gray(picture: np.ndarray) -> np.ndarray:
    """Return the mean of the channels, `[h, w]`, of an image `[C, h, w]`."""
    return sum(picture) / len(picture)


def _edges(gray: np.ndarray) -> np.ndarray:
    """Return by how much an image `[h, w]` varies around each pixel, gray levels."""
    return cv2.dilate(gray, SQUARE3) - cv2.erode(gray, SQUARE3)


def _correlation(a: np.ndarray, b: np.ndarray) -> float:
    """Return Pearson's correlation of two lists of gray levels; 0 where one hardly varies."""
    if a.size < 2 or min(a.std(), b.std()) < NOISE_START:
        return 0.0
    return float(np.mean((a - a.mean()) * (b - b.mean())) / (a.std() * b.std()))


def _persistent(differs: np.ndarray, differed: np.ndarray) -> np.ndarray:
    """Return where an area differs now and did, near by, a frame ago; rain does neither."""
    near = cv2.dilate(cv2.medianBlur(differed, 3), SQUARE5)
    return cv2.medianBlur(differs, 3) & near


def _rate(dt: float, time_constant: float) -> float:
    return 1 - math.exp(-dt / time_constant)
