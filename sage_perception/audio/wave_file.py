# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Read WAV files, resample signals."""

from __future__ import annotations

import io
from fractions import Fraction
from pathlib import Path

import numpy as np

from sage_perception.audio.mel import RATE
from sage_perception.core.reading import read_bounded
from sage_perception.core.text import one_line

MAX_FILE_BYTES = 256 << 20
MIN_RATE, MAX_RATE = 8_000, 192_000
"""Sampling rates that are resampled, Hz; others are refused."""
MAX_CHANNELS = 8
MAX_SECONDS = 3_600
"""Length of a file, which bounds the memory of its resampled signal."""


class WaveError(ValueError):
    """A file that is not usable as sound; the message names the file, the value and the fix."""


def read_wave(path: Path) -> np.ndarray:
    """Return the samples of a WAV file at `RATE`, float32 `[N, C]`; full scale is 1.

    Raises:
        OSError: the file cannot be read.
        WaveError: it is not a WAV file, or its rate, length or number of channels is not
            supported.
    """
    # SciPy takes a second to import and 60 MB of memory; microphones do not need it.
    from scipy.io import wavfile

    content = read_bounded(path, MAX_FILE_BYTES)
    try:
        rate, samples = wavfile.read(io.BytesIO(content))
    except Exception as error:  # noqa: BLE001 - the reader raises exceptions of many kinds
        raise WaveError(
            f'{path} cannot be read as WAV ({one_line(error)}); convert it, for example with '
            'ffmpeg -i FILE -ar 16000 FILE.wav'
        ) from None
    if not samples.size:
        raise WaveError(f'{path} has no samples')
    samples = samples.reshape(len(samples), -1)
    if samples.shape[1] > MAX_CHANNELS:
        raise WaveError(f'{path} has {samples.shape[1]} channels; at most {MAX_CHANNELS}')
    if not MIN_RATE <= rate <= MAX_RATE:
        raise WaveError(
            f'{path} has a sampling rate of {rate} Hz; it must be {MIN_RATE} to {MAX_RATE} Hz: '
            f'resample it, for example with ffmpeg -i FILE -ar {RATE} FILE.wav'
        )
    if len(samples) > MAX_SECONDS * rate:
        raise WaveError(
            f'{path} has {len(samples) / rate:.0f} s of sound; at most {MAX_SECONDS} s: cut it, '
            f'for example with ffmpeg -i FILE -t {MAX_SECONDS} FILE.wav'
        )
    return resample(to_float(samples), rate)


def to_float(samples: np.ndarray) -> np.ndarray:
    """Return samples of any integer or float type as float32, full scale 1."""
    if samples.dtype.kind == 'f':
        return samples.astype(np.float32)
    if samples.dtype.kind == 'u':  # 8 bits, around the middle
        return samples.astype(np.float32) / 128 - 1
    return samples.astype(np.float32) / -np.float32(np.iinfo(samples.dtype).min)


def resample(samples: np.ndarray, rate: int) -> np.ndarray:
    """Return samples `[N, C]` of `rate` Hz at `RATE`, float32; a polyphase low-pass filter."""
    if rate == RATE:
        return samples.astype(np.float32, copy=False)
    from scipy.signal import resample_poly

    ratio = Fraction(RATE, rate)
    resampled: np.ndarray = resample_poly(samples, ratio.numerator, ratio.denominator, axis=0)
    return resampled.astype(np.float32)
