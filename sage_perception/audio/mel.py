# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""The log-mel spectrogram that audio models read, and its inverse for previews.

The bands end at 4 kHz, so that sources of 8 kHz have the same spectrograms as those of 16 kHz.
"""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

RATE = 16_000
"""Sampling rate of all processing, Hz."""
FRAME, HOP, FFT = 400, 200, 512
"""Samples of a frame (25 ms), between two frames (12.5 ms) and of a transform."""
BANDS, FRAMES = 40, 80
"""Bands and frames of a spectrogram."""
WINDOW = FRAME + (FRAMES - 1) * HOP
"""Samples of a spectrogram, 1.0 s."""
LOW_HZ, HIGH_HZ = 80.0, 4000.0
RANGE_DB = 60.0
"""Level below the loudest band that maps to 0, decibels."""
SILENCE = 1e-9
"""Power of a band below which a window is silent; a full-scale sine has about 5,000."""
GRIFFIN_LIM_ROUNDS = 32


def hz_to_mel(hz: np.ndarray | float) -> np.ndarray:
    """Return 2595 log10(1 + f / 700), O'Shaughnessy, Speech Communication, 1987."""
    return 2595 * np.log10(1 + np.asarray(hz, np.float64) / 700)


def mel_to_hz(mel: np.ndarray | float) -> np.ndarray:
    """Return the inverse of `hz_to_mel`."""
    return 700 * (10 ** (np.asarray(mel, np.float64) / 2595) - 1)


@cache
def mel_filters() -> np.ndarray:
    """Return the triangular filters, float64 `[BANDS, FFT / 2 + 1]`, of peak 1.

    Davis and Mermelstein, 1980: corners equally spaced in mel, each filter ends at the centers of
    its neighbors. Slopes are linear in frequency, as in HTK.
    """
    low, high = float(hz_to_mel(LOW_HZ)), float(hz_to_mel(HIGH_HZ))
    corners = mel_to_hz(np.linspace(low, high, BANDS + 2))
    hz = np.fft.rfftfreq(FFT, 1 / RATE)
    rise = (hz - corners[:-2, None]) / (corners[1:-1] - corners[:-2])[:, None]
    fall = (corners[2:, None] - hz) / (corners[2:] - corners[1:-1])[:, None]
    return np.maximum(np.minimum(rise, fall), 0)


def power_spectrum(samples: np.ndarray) -> np.ndarray:
    """Return the power of the frames of a signal, float64 `[T, FFT / 2 + 1]`.

    `samples` are float `[N]`; the frames have a Hann window; T is 0 for less than one frame.
    """
    if len(samples) < FRAME:
        return np.empty((0, FFT // 2 + 1))
    return np.abs(_spectrum(samples)) ** 2


def to_window(samples: np.ndarray) -> np.ndarray:
    """Return a signal centered in `WINDOW` samples: padded with zeros, or its middle part."""
    excess = len(samples) - WINDOW
    if excess >= 0:
        return samples[excess // 2 : excess // 2 + WINDOW]
    return np.pad(samples, (-excess // 2, -excess - -excess // 2))


def log_mel(samples: np.ndarray) -> np.ndarray:
    """Return the log-mel spectrogram of a signal, float32 `[BANDS, FRAMES]` in [0, 1].

    `samples` are float `[N]` at `RATE`, brought to `WINDOW` samples first. The loudest band maps
    to 1 and `RANGE_DB` below it to 0, so that the level of the source does not count. A silent
    signal maps to 0. Values that are not finite count as 0.
    """
    window = to_window(np.nan_to_num(np.asarray(samples, np.float64), posinf=0, neginf=0))
    power = power_spectrum(window) @ mel_filters().T
    peak = power.max()
    if peak < SILENCE:
        return np.zeros((BANDS, FRAMES), np.float32)
    decibels = 10 * np.log10(np.maximum(power / peak, 1e-12))
    return np.clip(1 + decibels / RANGE_DB, 0, 1).T.astype(np.float32)


def to_waveform(mel: np.ndarray, rounds: int = GRIFFIN_LIM_ROUNDS, seed: int = 0) -> np.ndarray:
    """Return a signal with about the given spectrogram, float32 `[WINDOW]` of peak 1; a preview.

    `mel` is `[BANDS, FRAMES]` in [0, 1]. The magnitudes are the non-negative part of the least
    squares inverse of the filters; the phases are those of Griffin and Lim, 1984, from random
    ones that `seed` determines.
    """
    power = 10 ** ((np.clip(np.nan_to_num(mel), 0, 1) - 1) * RANGE_DB / 10)
    power[np.asarray(mel) <= 0] = 0
    magnitude = np.sqrt(np.maximum(np.linalg.pinv(mel_filters()) @ power, 0)).T
    phase = np.random.default_rng(seed).uniform(-np.pi, np.pi, magnitude.shape)
    spectrum = magnitude * np.exp(1j * phase)
    for _ in range(rounds):
        again = _spectrum(_overlap_add(spectrum))
        spectrum = magnitude * again / np.maximum(np.abs(again), 1e-12)
    signal = _overlap_add(spectrum)
    return (signal / max(np.abs(signal).max(), 1e-12)).astype(np.float32)


def _spectrum(samples: np.ndarray) -> np.ndarray:
    return np.fft.rfft(sliding_window_view(samples, FRAME)[::HOP] * np.hanning(FRAME), FFT)


def _overlap_add(spectrum: np.ndarray) -> np.ndarray:
    """Return the signal whose windowed frames are nearest to a spectrum (least squares)."""
    window = np.hanning(FRAME)
    frames = np.fft.irfft(spectrum, FFT)[:, :FRAME] * window
    signal, weight = np.zeros(WINDOW), np.zeros(WINDOW)
    for number, frame in enumerate(frames):
        part = slice(number * HOP, number * HOP + FRAME)
        signal[part] += frame
        weight[part] += window**2
    return signal / np.maximum(weight, 1e-3)
