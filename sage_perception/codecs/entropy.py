# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Entropy coding of latents: the encoding ENTROPY_INT8.

Distances between latents are proportional to distances between images, so one quantization step
for all dimensions costs the fewest bytes (reverse water-filling; Cover and Thomas, 10.3.3). The
step is relative to the contrast of the crop, the mean of |z − mean| / std: the quantization error
then stays in proportion to the error of the model, small in low-contrast crops and large in
high-contrast ones, which about halves the loss of PSNR at the same size. Each index is coded under
Student's t distribution with 4 degrees of freedom and the scale contrast · std, where std is
rounded to 5 bits. On held-out crops its code is shorter than that of the Gaussian and the Laplace
distribution (`bench/encodings.py`), and its cumulative distribution has no transcendental
function: it consists of +, −, ·, / and √, which IEEE 754 rounds correctly, so that
all machines agree.

    byte 0   CRC-8 of the following bytes, polynomial x⁸ + x² + x + 1
    byte 1   step, `STEPS[byte]`
    others   range-coded: the index of the contrast in `CONTRASTS`, uniformly distributed, then the
             index of each dimension, (z − mean) / (step · contrast); no trailing zero bytes
"""

from __future__ import annotations

from functools import lru_cache, reduce

import numpy as np

from sage_perception.codecs.range_coder import TOTAL_BITS, Decoder, encode

# Values of one byte and of five bits: 8 and 4 per octave.
STEPS = np.ldexp(8.0 + np.arange(256) % 8, np.arange(256) // 8 - 20)
CONTRASTS = np.ldexp(4.0 + np.arange(32) % 4, np.arange(32) // 4 - 6)
DEFAULT_STEP = 0.171875  # loses less than 0.1 dB: bench/encodings.py

MAX_INDEX = 1023  # indices are in [-MAX_INDEX, MAX_INDEX]
CONTRAST_SIZE = (1 << TOTAL_BITS) // len(CONTRASTS)


class EntropyCoder:
    """Encodes latents `[D]` with this mean and standard deviation, float64 `[D]`, std > 0."""

    def __init__(self, mean: np.ndarray, std: np.ndarray):
        self._mean, self._std = mean, std
        # Sixteen widths per octave are enough, so that dimensions share the rows of a table.
        mantissa, exponent = np.frexp(std)
        widths = np.ldexp(np.rint(mantissa * 32) / 32, exponent)
        self._widths, self.rows = np.unique(widths, return_inverse=True)
        # A table is large, and an encoder usually uses a single step.
        self.table = lru_cache(maxsize=2)(self.cumulative)

    def pack(self, z: np.ndarray, step: float) -> bytes:
        """Return a finite latent as bytes; `step` becomes the nearest of `STEPS`.

        Raises `ValueError` for a step that is not positive and finite.
        """
        code, contrast, index = self.quantize(z, step)
        column = index + MAX_INDEX
        below = self.table(code)
        starts = below[self.rows, column]
        sizes = below[self.rows, column + 1] - starts
        intervals = [(contrast * CONTRAST_SIZE, CONTRAST_SIZE)]
        intervals += zip(starts.tolist(), sizes.tolist(), strict=True)
        data = bytes([code]) + encode(intervals)
        return bytes([crc8(data)]) + data

    def quantize(self, z: np.ndarray, step: float) -> tuple[int, int, np.ndarray]:
        """Return the places of step and contrast in their tables, and the indices, int `[D]`.

        Raises `ValueError` as `pack` does.
        """
        if not 0 < step < np.inf:
            raise ValueError(f'step is {step}; it must be above 0 and finite')
        code = _nearest(STEPS, step)
        difference = z - self._mean
        contrast = _nearest(CONTRASTS, (np.abs(difference) / self._std).mean())
        # Uniform crops of an extreme color would have indices beyond MAX_INDEX: coarsen the step.
        while contrast < len(CONTRASTS) - 1 and (
            np.abs(difference).max() > MAX_INDEX * STEPS[code] * CONTRASTS[contrast]
        ):
            contrast += 1
        index = np.rint(difference / (STEPS[code] * CONTRASTS[contrast]))
        return code, contrast, index.clip(-MAX_INDEX, MAX_INDEX).astype(int)

    def unpack(self, payload: bytes) -> np.ndarray:
        """Return the latent, float64 `[D]`; raise `ValueError` for any other bytes."""
        longest = 3 + (self._mean.size * TOTAL_BITS + 5) // 8
        if not 2 <= len(payload) <= longest:
            raise ValueError(f'{len(payload)} bytes are not a latent, expected 2 to {longest}')
        check, code = payload[:2]
        if check != crc8(payload[1:]):
            raise ValueError('CRC-8 mismatch: the bytes were altered or are of another encoding')
        decoder = Decoder(payload[2:])
        contrast = decoder.position() // CONTRAST_SIZE
        decoder.consume(contrast * CONTRAST_SIZE, CONTRAST_SIZE)
        index = np.empty(self._mean.size)
        below = self.table(code)
        for i, row in enumerate(self.rows):
            column = int(below[row].searchsorted(decoder.position(), 'right')) - 1
            start, end = below[row, column : column + 2].tolist()
            decoder.consume(start, end - start)
            index[i] = column - MAX_INDEX
        if decoder.rest or (len(payload) > 2 and not payload[-1]):
            raise ValueError('trailing bytes: the latent is of another model')
        return self.value(index, STEPS[code] * CONTRASTS[contrast])

    def value(self, index: np.ndarray, scale: float) -> np.ndarray:
        """Return the latent of indices `[D]`, float64 `[D]`."""
        return self._mean + index * scale

    def cumulative(self, code: int) -> np.ndarray:
        """Return the cumulative frequencies of the indices for the step `STEPS[code]`.

        They are int64 `[W, 2·MAX_INDEX + 2]`, one row for each width. The first and the last
        bin are unbounded; no interval is empty, and the last column is `1 << TOTAL_BITS`.
        """
        edges = np.arange(-MAX_INDEX + 1, MAX_INDEX + 1) - 0.5
        x = edges * (STEPS[code] / self._widths)[:, None]
        w = 1 + x * x / 4
        r = x / np.sqrt(w)
        below = 0.5 + 0.375 * r * (1 - r * r / 12)
        share = (1 << TOTAL_BITS) - (2 * MAX_INDEX + 1)
        table = np.empty((len(x), 2 * MAX_INDEX + 2), np.int64)
        table[:, 0], table[:, -1] = 0, share
        # Far from the mean, where it hardly increases, rounding may decrease it slightly.
        table[:, 1:-1] = np.maximum.accumulate(np.floor(below.clip(0, 1) * share), axis=1)
        return table + np.arange(2 * MAX_INDEX + 2)


def _nearest(values: np.ndarray, wanted: float) -> int:
    """Return the index of the value whose ratio to `wanted` is nearest to 1."""
    with np.errstate(divide='ignore'):
        return int(np.abs(np.log(values) - np.log(wanted)).argmin())


def _crc_table() -> list[int]:
    table = list(range(256))
    for _ in range(8):
        table = [(crc << 1) ^ (0x107 if crc & 0x80 else 0) for crc in table]
    return table


_CRC_TABLE = _crc_table()


def crc8(data: bytes) -> int:
    """Return the CRC-8 of bytes, polynomial x⁸ + x² + x + 1."""
    return reduce(lambda crc, byte: _CRC_TABLE[crc ^ byte], data, 0)
