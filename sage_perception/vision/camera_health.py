# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Whether a camera shows the world, judged by its frames alone.

A camera that is covered or frozen looks calm, and its crops decode well: nothing that an encoder
measures of one crop finds it out. So each whole frame is looked at, 32 rows and 16 columns of it
and a map of 32 × 24 means, which takes a fifth of a millisecond. What is measured is chosen so
that scenes, exposure, motion, sensor noise and compression do not matter; docs/trust.md has the
figures on real video.
"""

from __future__ import annotations

import enum
import zlib
from collections import deque
from dataclasses import dataclass

import cv2
import numpy as np

CONFIRM = 3
"""Faulty frames in a row from which on a camera is not trusted."""
CLEAR = 5
"""Good frames in a row from which on it is trusted again."""

LATE_S = 2.0
"""Difference between a frame's stamp and the clock from which on it is stale, seconds."""

ROWS, COLUMNS = 32, 16
"""Lines of pixels that are looked at; columns are slow to read."""
FINE, COARSE = (1, 2), (4, 8)
"""Distances between pixels that are compared."""
WHITE = 0.8
"""Share of the variation over 8 pixels that neighbors have as well from which on it is noise."""
FEATURELESS = 16.0
"""Variation over 8 pixels beyond that of neighbors, gray levels squared, that any scene has."""
DEFOCUSED = 0.09
"""Variation at fine distances over that at coarse ones; a smooth surface has 1/16."""
BRIGHT, SATURATED = 250, 0.6
"""Gray level of a saturated pixel, and the share of them that is too many."""
UNLIKE = 0.15
"""Correlation of two maps below which they show different scenes."""

BUFFERS = 32
"""Frames that none is the same as; a driver that is stuck sends its buffers over and over."""
UNCHANGED = 0.003
"""Share of pixels that may differ in a frame that is the same but for its coding, or a clock."""

SAME, TURNED = 0.9, -0.6
"""Correlations of lightness, and of red less blue, where both have changed places."""
COLORFUL = 1.5
"""Standard deviation of red less blue over the map, gray levels, that is worth a comparison."""


class Fault(enum.IntEnum):
    """What is wrong with a camera; the values of `sage_msgs/CropArray`'s FAULT_ constants."""

    UNKNOWN = 0  # nobody has looked
    NONE = 1
    STALE = 2  # stamps that stand still, go back, or are far from the clock
    SATURATED = 3
    COVERED = 4  # dark, featureless, or far out of focus
    NOISE = 5  # no image at all
    FROZEN = 6
    CHANNELS = 7  # red and blue have changed places


TRUST = dict.fromkeys(Fault, 0.0) | {
    Fault.UNKNOWN: 1.0,
    Fault.NONE: 1.0,
    Fault.CHANNELS: 0.25,  # shapes are right
}
"""What a camera's state leaves of the trust in what it shows."""


@dataclass(frozen=True, eq=False)
class _Look:
    """What is kept of a frame: green of some rows, and maps of lightness and of red less blue."""

    rows: np.ndarray  # uint8 [n, W]
    lightness: np.ndarray  # float32 [24, 32], without its mean
    chroma: np.ndarray  # float32 [24, 32], without its mean


class CameraHealth:
    """Follows the health of one camera, frame by frame.

    A fault counts once it has been seen in `CONFIRM` frames in a row, and is over after `CLEAR`
    good ones. Red and blue are followed from frame to frame: a camera whose colors were wrong
    from the beginning cannot be told from a world of such colors.
    """

    def __init__(self):
        self.fault = Fault.UNKNOWN
        self._faulty = self._good = 0
        self._stamp_s = -np.inf
        self._last: _Look | None = None
        self._reference: _Look | None = None  # the last frame that showed a scene
        self._seen: deque[int] = deque(maxlen=BUFFERS)
        self._swapped = False

    @property
    def trust(self) -> float:
        """Return what the camera's state leaves of the trust in its images, in [0, 1]."""
        return TRUST[self.fault]

    def update(self, image: np.ndarray, stamp_s: float, now_s: float) -> Fault:
        """Look at a frame; return what is wrong with the camera.

        `image` is uint8 `[H, W, 3]`, blue first, of at least 16 × 16 pixels; `stamp_s` is when it
        was captured and `now_s` the time, seconds on the same clock.
        """
        found = self._find(image, stamp_s, now_s)
        if found is Fault.NONE:
            self._faulty, self._good = 0, self._good + 1
            if self._good >= CLEAR or self.fault is Fault.UNKNOWN:
                self.fault = Fault.NONE
        else:
            self._faulty, self._good = self._faulty + 1, 0
            if self._faulty >= CONFIRM:
                self.fault = found
        return self.fault

    def _find(self, image: np.ndarray, stamp_s: float, now_s: float) -> Fault:
        """Return what is wrong with one frame."""
        rows, columns = _lines(image, ROWS), _lines(image.swapaxes(0, 1), COLUMNS)
        look = _Look(rows, *_maps(image))
        last, self._last = self._last, look
        stale = stamp_s <= self._stamp_s or abs(now_s - stamp_s) > LATE_S
        self._stamp_s = stamp_s
        fault = _unseen(rows, columns)
        repeated = self._repeated(rows, last)
        known = [past for past in (last, self._reference) if past is not None]
        if fault is Fault.NONE and known and all(_unlike(look, past) for past in known):
            fault = Fault.NOISE  # or a cut, once
        if fault is Fault.NONE:
            if self._reference is not None and _turned(look, self._reference):
                self._swapped = not self._swapped
            self._reference = look
        if stale:
            return Fault.STALE
        if fault is Fault.NONE and repeated:
            return Fault.FROZEN
        if fault is Fault.NONE and self._swapped:
            return Fault.CHANNELS
        return fault

    def _repeated(self, rows: np.ndarray, last: _Look | None) -> bool:
        """Tell whether this frame was seen before: sensor noise never is the same twice."""
        digest = zlib.crc32(rows)
        known = digest in self._seen
        self._seen.append(digest)
        if known or last is None or last.rows.shape != rows.shape:
            return known
        return cv2.countNonZero(cv2.absdiff(rows, last.rows)) <= UNCHANGED * rows.size


def _lines(image: np.ndarray, count: int) -> np.ndarray:
    """Return green of about `count` rows evenly spread, uint8 `[n, W]`."""
    step = max(1, round(len(image) / count))
    return np.ascontiguousarray(image[step // 2 :: step, :, 1])


def _maps(image: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return lightness and red less blue, float32 `[24, 32]`, each without its mean."""
    step = max(1, len(image) // 48)
    small = cv2.resize(image[::step], (32, 24), interpolation=cv2.INTER_AREA).astype(np.float32)
    lightness, chroma = small.sum(2) / 3, small[..., 2] - small[..., 0]
    return lightness - lightness.mean(), chroma - chroma.mean()


def _unseen(rows: np.ndarray, columns: np.ndarray) -> Fault:
    """Tell what hides the scene from the lines of a frame, uint8 `[n, W]` and `[m, H]`.

    The mean square difference of pixels at a distance l is S(l) + 2σ²: that of the scene, and
    that of the noise, which is the same at all distances (the structure function; Kolmogorov,
    1941). Differences between distances are thus free of noise. S grows with about the first
    power of l in images of the world, with the second where all is smooth. Motion blurs one
    direction only, so the sharper one counts.
    """
    fine, coarse = (
        np.array([[_variation(lines, l) for l in distances] for lines in (rows, columns)])
        for distances in (FINE, COARSE)
    )
    near, far = fine[:, 0], coarse[:, 1]
    if cv2.countNonZero(cv2.compare(rows, BRIGHT, cv2.CMP_GE)) > SATURATED * rows.size:
        return Fault.SATURATED
    if (near > WHITE * far).all() and near.min() > 4 * FEATURELESS:
        return Fault.NOISE
    if (far - near).max() < FEATURELESS:
        return Fault.COVERED
    if (fine[:, 1] - near <= DEFOCUSED * (far - coarse[:, 0])).all():
        return Fault.COVERED
    return Fault.NONE


def _variation(lines: np.ndarray, distance: int) -> float:
    """Return the mean square difference of pixels `distance` apart on lines, uint8 `[n, W]`."""
    ahead = lines[:, distance:]
    return cv2.norm(ahead, lines[:, :-distance], cv2.NORM_L2SQR) / ahead.size


def _unlike(look: _Look, past: _Look) -> bool:
    """Tell whether two frames have nothing in common."""
    return _correlation(look.lightness, past.lightness) < UNLIKE


def _turned(look: _Look, reference: _Look) -> bool:
    """Tell whether red and blue have changed places in an otherwise equal scene."""
    if min(look.chroma.std(), reference.chroma.std()) < COLORFUL:
        return False
    return (
        _correlation(look.lightness, reference.lightness) > SAME
        and _correlation(look.chroma, reference.chroma) < TURNED
    )


def _correlation(a: np.ndarray, b: np.ndarray) -> float:
    """Return Pearson's correlation of two maps without their means; 1 where one is constant."""
    power = float(np.vdot(a, a)) * float(np.vdot(b, b))
    return float(np.vdot(a, b)) / power**0.5 if power > 0 else 1.0
