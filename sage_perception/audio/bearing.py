# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""The direction of a sound from two microphones: GCC-PHAT (Knapp and Carter, 1976)."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from sage_perception.audio.mel import RATE

SPEED_M_S = 343.0
"""Speed of sound in air at 20 °C."""
SPACING_M = 0.2
"""Default distance of the microphones."""
FRAME, HOP, FFT = 1024, 256, 2048
UPSAMPLING = 16
"""Places per sample at which the correlation is computed."""
LOW_HZ, HIGH_HZ = 150.0, 4500.0
LOUD_SHARE = 0.5
"""Share of the frames that count: those in which the sound rises most over the frames before."""


class Bearing(NamedTuple):
    """A direction in the horizontal plane.

    Attributes:
        angle: radians from straight ahead, positive to the left (REP-103); in [-pi / 2, pi / 2].
            Sounds from behind have the angle of their mirror image.
        confidence: height of the peak of the correlation, in [0, 1].
    """

    angle: float
    confidence: float


def delay_s(angle: float, spacing_m: float = SPACING_M) -> float:
    """Return how much later a distant sound reaches the right microphone, seconds."""
    return float(spacing_m * np.sin(angle) / SPEED_M_S)


def find_bearing(
    left: np.ndarray, right: np.ndarray, spacing_m: float = SPACING_M
) -> Bearing | None:
    """Return the direction of the loudest sound, None if it cannot be measured.

    The cross-spectra of frames are summed, each with magnitude 1, because the phase has the delay
    and reverberation spoils the magnitude. Frames in which the sound rises count more: the direct
    sound precedes its reflections.

    Args:
        left: samples of the left microphone, float `[N]` at 16 kHz.
        right: samples of the right one, `[N]`.
        spacing_m: distance of the microphones, meters.
    """
    pair = np.stack([left, right]).astype(np.float64)
    if pair.shape[1] < FRAME or not np.isfinite(pair).all():
        return None
    frames = sliding_window_view(pair, FRAME, axis=1)[:, ::HOP] * np.hanning(FRAME)
    power = (frames**2).mean((0, 2))
    if power.max() <= 1e-12:
        return None
    spectra = np.fft.rfft(frames, FFT)
    hz = np.fft.rfftfreq(FFT, 1 / RATE)
    band = (hz >= LOW_HZ) & (hz <= HIGH_HZ)
    cross = spectra[1] * spectra[0].conj()
    cross /= np.maximum(np.abs(cross), 1e-15)
    weights = _onsets(power)
    total = np.where(band, weights @ cross / weights.sum(), 0)
    # The correlation at delays of 1 / (RATE · UPSAMPLING); it is 1 if all phases agree.
    length = FFT * UPSAMPLING
    correlation = np.fft.irfft(total, length) * length / (2 * band.sum())
    largest = spacing_m / SPEED_M_S * RATE * UPSAMPLING
    reach = math.ceil(largest)
    scores = correlation[np.arange(-reach, reach + 1)]
    best = int(scores.argmax())
    delay = float(best - reach)
    if 0 < best < 2 * reach:  # parabola through the peak
        before, peak, after = scores[best - 1 : best + 2]
        curve = before - 2 * peak + after
        if curve < 0:
            delay += 0.5 * (before - after) / curve
    sine = np.clip(delay / largest, -1, 1)
    return Bearing(float(np.arcsin(sine)), float(np.clip(scores[best], 0, 1)))


def _onsets(power: np.ndarray) -> np.ndarray:
    """Return the weight of each frame: its level over the decaying level of those before."""
    weights = np.zeros(len(power))
    tail = 0.0
    for number, value in enumerate(power):
        weights[number] = max(value - tail, 0.0)
        tail = max(0.8 * tail, value)
    floor = 0.05 * power
    weights = np.sqrt(np.maximum(weights, floor) / power.max())
    weights[power < np.quantile(power, 1 - LOUD_SHARE)] *= 0.2
    return weights
