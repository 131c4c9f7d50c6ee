# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Scale pixels of more than 8 bits to gray levels, with a range that does not flicker.

Cameras use 10, 12 or 14 of the 16 bits of a pixel, thermal cameras a small part of the range far
from zero, depth cameras millimeters or meters. No message contains the bits in use, so the range
is measured: robustly, because of hot pixels, and with hysteresis, because a gain that follows
every frame looks like motion.
"""

from __future__ import annotations

import math

import cv2
import numpy as np

LOW_PERCENT, HIGH_PERCENT = 0.5, 99.9
"""Percentiles of the pixels that the range contains."""
MAX_SAMPLES = 20_000
"""Number of pixels per image, at most, that the percentiles are measured on."""
MARGIN = 0.25
"""Room on either side of a range that does not begin at 0, relative to the measured span."""
MIN_RELATIVE_SPAN = 1 / 32
"""Minimum span of a range relative to its values: less is the noise of a uniform scene."""
MIN_INTEGER_SPAN = 256.0
"""Minimum span of a range of integers."""
MAX_CLIPPED = 0.05
"""Fraction of pixels outside the range above which the range changes at once."""
GLIDE = 0.05
"""Fraction of the way to the measured range that the range moves per image."""
MAX_LOOSE = 4.0
"""Ratio of the range to the measured one above which the range is too large."""
MAX_FLOAT, MIN_FLOAT_SPAN = 1e30, 1e-30
"""Maximum magnitude of floats and minimum span of their range, so that the scale is finite."""
LOOSE_IMAGES = 300
"""Consecutive images with a range that is too large, after which it shrinks."""


class IntensityRange:
    """The range of the pixels of one stream, and their conversion to 8 bits.

    The range is `[0, 2^k - 1]` (integers; `[0, 2^k]` for floats), the smallest that contains the
    pixels, so that an image of 12 bits looks like the same image of 8 bits. If pixels are negative
    or all within a factor of 2 (thermal cameras), it is the measured range with a margin. It grows
    at once if many pixels exceed it, glides if few do, and shrinks only after `LOOSE_IMAGES`
    images. Pixels that are 0, not finite or the maximum of their type mark missing depth or
    saturation, and are not measured.

    Attributes:
        low: the value that becomes gray level 0; NaN before the first image.
        high: the value that becomes gray level 255; NaN before the first image.
    """

    def __init__(self) -> None:
        self.low = self.high = math.nan
        self._loose = 0

    def rescale(self, pixels: np.ndarray) -> np.ndarray:
        """Return pixels as gray levels, uint8 of the same shape, and update the range.

        Args:
            pixels: numbers of any type in native byte order, `[H, W]` or `[H, W, C]`. NaN becomes
                0, as missing depth does.
        """
        if pixels.dtype not in (np.uint16, np.int16, np.int8):
            with np.errstate(over='ignore', invalid='ignore'):
                floats = pixels.astype(np.float32).clip(-MAX_FLOAT, MAX_FLOAT)
        else:
            floats = None
        self._update(pixels if floats is None else floats, pixels.dtype)
        scale = 255 / (self.high - self.low)
        if floats is None:
            if not self.low:
                return cv2.convertScaleAbs(pixels, alpha=scale)
            floats = pixels.astype(np.float32)
        floats = np.nan_to_num(floats, nan=self.low, posinf=self.high, neginf=self.low)
        levels = (floats.clip(self.low, self.high) - self.low) * scale
        return np.rint(levels).astype(np.uint8)

    def _update(self, pixels: np.ndarray, dtype: np.dtype) -> None:
        sample = _sample(pixels, dtype)
        if not sample.size:
            if math.isnan(self.low):
                self.low, self.high = 0.0, _default_white(dtype)
            return
        low, high = np.percentile(sample, (LOW_PERCENT, HIGH_PERCENT)).tolist()
        new_low, new_high = _fit(low, high, dtype, color=pixels.ndim == 3)
        if math.isnan(self.low):
            self.low, self.high = new_low, new_high
        outside = np.mean((sample < self.low) | (sample > self.high))
        if outside > MAX_CLIPPED:
            self.low, self.high = new_low, new_high
        elif low < self.low or high > self.high:
            self._glide(new_low, new_high)
        loose = self.high - self.low >= MAX_LOOSE * (new_high - new_low)
        self._loose = self._loose + 1 if loose or self._loose > LOOSE_IMAGES else 0
        if self._loose > LOOSE_IMAGES:
            self._glide(new_low, new_high)

    def _glide(self, low: float, high: float) -> None:
        """Move towards a range; the last part in one step."""
        far = max(abs(low - self.low), abs(high - self.high)) > 0.02 * (high - low)
        if not far:
            self._loose = 0
        step = GLIDE if far else 1.0
        self.low += step * (low - self.low)
        self.high += step * (high - self.high)


def _sample(pixels: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """Return pixels of a regular grid that hold a measurement, `[N]`."""
    stride = max(math.isqrt(pixels.size // MAX_SAMPLES), 1)
    sample = pixels[::stride, ::stride].ravel()
    valid = sample != 0
    if dtype.kind in 'iu':
        return sample[valid & (sample < np.iinfo(dtype).max)]
    return sample[valid & np.isfinite(sample)]


def _default_white(dtype: np.dtype) -> float:
    return float(np.iinfo(dtype).max) if dtype.kind in 'iu' else 1.0


def _fit(low: float, high: float, dtype: np.dtype, color: bool) -> tuple[float, float]:
    """Return the range for pixels whose percentiles are `low` and `high`."""
    integer = dtype.kind in 'iu'
    if low >= 0 and (color or high >= 2 * low):
        if integer:
            return 0.0, 2.0 ** max(int(high).bit_length(), 8) - 1
        return 0.0, max(2.0 ** math.ceil(math.log2(high)), MIN_FLOAT_SPAN)
    floor = max(max(abs(low), abs(high)) * MIN_RELATIVE_SPAN, MIN_FLOAT_SPAN)
    if integer and dtype.itemsize > 1:
        floor = max(floor, MIN_INTEGER_SPAN)
    span = max((high - low) * (1 + 2 * MARGIN), floor)
    middle = (low + high) / 2
    return middle - span / 2, middle + span / 2
