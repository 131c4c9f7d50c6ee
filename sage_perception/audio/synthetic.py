# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Generated sound: bursts like syllables, tones, noise; with a direction for two microphones."""

from __future__ import annotations

import numpy as np

from sage_perception.audio.bearing import SPACING_M, delay_s
from sage_perception.audio.mel import RATE

CONTENTS = ('voice', 'tone', 'noise', 'silence', 'mixed')
SECONDS, EVENT_S, PERIOD_S = 12, 0.5, 1.5
"""Length of the sound, of an event, and time from one event to the next, seconds."""
LEVEL = 0.2
FORMANTS_HZ = ((730, 1090, 2440), (270, 2290, 3010), (300, 870, 2240), (530, 1840, 2480))
"""Formants of the vowels a, i, u, e (Peterson and Barney, 1952)."""


def syllables(rng: np.random.Generator, seconds: float = EVENT_S) -> np.ndarray:
    """Return a burst like speech, float64 `[N]`: a buzz with moving formants and syllables."""
    time = np.arange(round(seconds * RATE)) / RATE
    pitch = rng.uniform(90, 220) * (1 + 0.1 * np.sin(2 * np.pi * 3 * time))
    phase = 2 * np.pi * np.cumsum(pitch) / RATE
    first, last = (np.array(FORMANTS_HZ[n]) for n in rng.integers(len(FORMANTS_HZ), size=2))
    place = (time / seconds)[:, None]
    formants = first * (1 - place) + last * place
    signal = np.zeros(len(time))
    for harmonic in range(1, 30):
        hz = harmonic * pitch
        gain = sum(np.exp(-0.5 * ((hz - formants[:, k]) / 120) ** 2) / (k + 1) for k in range(3))
        signal += np.where(hz < 4000, gain, 0) * np.sin(harmonic * phase)
    envelope = np.sin(np.pi * np.clip(place[:, 0] * 2 % 1, 0, 1)) ** 0.5
    return LEVEL * signal * envelope / max(np.abs(signal).max(), 1e-9)


def synthetic_sound(
    content: str = 'voice',
    seed: int = 0,
    channels: int = 1,
    bearing: float = 0.0,
    snr: float = 30.0,
) -> np.ndarray:
    """Return 12 s of sound, float32 `[N, channels]` at 16 kHz, an event every 1.5 s.

    `bearing` is the direction of all events, degrees, positive to the left: the second channel is
    the right one of two microphones `SPACING_M` apart. `snr` is the level of the events over
    independent noise of the channels, decibels; `silence` has no noise either.
    """
    rng = np.random.default_rng(seed)
    length = SECONDS * RATE
    mono = np.zeros(length)
    if content == 'silence':
        return np.zeros((length, channels), np.float32)
    time = np.arange(round(EVENT_S * RATE)) / RATE
    for number in range(int(SECONDS / PERIOD_S)):
        kind = ('voice', 'tone', 'noise')[number % 3] if content == 'mixed' else content
        if kind == 'voice':
            event = syllables(rng)
        elif kind == 'tone':
            event = LEVEL * np.sin(2 * np.pi * rng.uniform(400, 2000) * time)
        else:
            event = LEVEL * rng.normal(size=len(time)) / 3
        start = round((number + 0.5) * PERIOD_S * RATE)
        mono[start : start + len(event)] += event[: length - start]
    power = np.mean(mono[mono != 0] ** 2)
    shift = delay_s(np.radians(bearing), SPACING_M)
    found = [mono if c % 2 == 0 else _delayed(mono, shift) for c in range(channels)]
    noise = rng.normal(size=(length, channels)) * np.sqrt(power) * 10 ** (-snr / 20)
    return (np.stack(found, 1) + noise).astype(np.float32)


def _delayed(signal: np.ndarray, seconds: float) -> np.ndarray:
    """Return a signal that arrives later by any fraction of a sample."""
    frequencies = np.fft.rfftfreq(len(signal), 1 / RATE)
    shifted = np.fft.rfft(signal) * np.exp(-2j * np.pi * frequencies * seconds)
    return np.fft.irfft(shifted, len(signal))
