# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Events in a stream of sound, and whether they are voices.

An event is sound above the background level, which is the least level of the last seconds (minimum
statistics: Martin, 2001). The spectrum of a voice is not flat, but periodic and changing.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from sage_perception.audio.mel import FFT, FRAME, HOP, RATE

START_DB, END_DB = 9.0, 6.0
"""Levels over the background level at which an event starts and ends, decibels."""
START_FRAMES, END_FRAMES = 3, 18
"""Frames above and below these levels that start and end an event."""
MARGIN_FRAMES = 4
"""Frames before the start and after the end that belong to an event."""
MAX_FRAMES = 160
"""Frames after which an event ends in any case, 2 s."""
FLOOR_FRAMES, FLOOR_DB = 240, -75.0
"""Frames of the background level, 3 s, and its least level over full scale."""
LOW_HZ, HIGH_HZ = 100.0, 4000.0
MAX_FLATNESS, MIN_PERIODICITY, MIN_CHANGE_DB = 0.30, 0.5, 0.35
"""Limits of voices; see `describe`."""
MIN_VOICE_FRAMES = 12
STRONG = 0.1
"""Power of a frame relative to the loudest one below which its changes do not count."""
AUDIBLE = 10**-1.5
"""Power of a band relative to the loudest one below which its changes do not count."""
PITCH_HZ = 70.0, 400.0
CONTEXT_FRAMES = 80
"""Frames before an event that a test for voices gets, 1 s."""

VoiceTest = Callable[[np.ndarray, int], bool]
"""Whether the event that starts at an index of samples `[N]` is a voice."""


@dataclass(frozen=True, eq=False)
class Event:
    """An event that has ended.

    Attributes:
        start: number of its first sample since the start of the stream.
        samples: float32 `[N, C]`.
        level_db: its loudest level over the background level, decibels.
        voice: whether it is a voice.
    """

    start: int
    samples: np.ndarray
    level_db: float
    voice: bool


class ActivityDetector:
    """Finds events in a stream; `active` is True during an event.

    `voice` decides which events are voices, by default `is_voice`.
    """

    def __init__(self, voice: VoiceTest | None = None) -> None:
        self.active = False
        self._voice = voice or is_voice
        self._samples = np.empty((0, 1), np.float32)
        self._first = 0  # number of the first sample in `_samples`
        self._frame = 0  # number of the next frame
        self._levels: deque[float] = deque(maxlen=FLOOR_FRAMES)
        self._above = self._below = 0
        self._start = 0
        self._peak_db = 0.0

    def add(self, samples: np.ndarray) -> list[Event]:
        """Add samples `[N, C]`; return the events that have ended."""
        if samples.shape[1] != self._samples.shape[1]:
            self._samples = np.empty((0, samples.shape[1]), np.float32)
            self._first = self._frame * HOP
        self._samples = np.concatenate([self._samples, samples])
        events = []
        while (self._frame * HOP - self._first) + FRAME <= len(self._samples):
            event = self._step()
            if event is not None:
                events.append(event)
        keep = self._start if self.active else self._frame
        keep -= MARGIN_FRAMES + START_FRAMES + CONTEXT_FRAMES
        drop = keep * HOP - self._first
        if drop > 0:
            self._samples, self._first = self._samples[drop:], self._first + drop
        return events

    def _step(self) -> Event | None:
        """Consider the next frame."""
        at = self._frame * HOP - self._first
        level = level_db(self._samples[at : at + FRAME].mean(1))
        self._frame += 1
        self._levels.append(level)
        floor = max(min(self._levels), FLOOR_DB)
        over = level - floor
        if not self.active:
            self._above = self._above + 1 if over > START_DB else 0
            if self._above >= START_FRAMES:
                self.active, self._below, self._peak_db = True, 0, over
                self._start = self._frame - self._above
            return None
        self._peak_db = max(self._peak_db, over)
        self._below = self._below + 1 if over < END_DB else 0
        if self._below < END_FRAMES and self._frame - self._start < MAX_FRAMES:
            return None
        self.active, self._above = False, 0
        start = max((self._start - MARGIN_FRAMES) * HOP, self._first)
        end = (self._frame - max(self._below - MARGIN_FRAMES, 0)) * HOP + FRAME - HOP
        at = start - self._first
        known = self._samples[max(at - CONTEXT_FRAMES * HOP, 0) : end - self._first]
        samples = self._samples[at : end - self._first]
        voice = self._voice(known.mean(1), len(known) - len(samples))
        return Event(start, samples, self._peak_db, voice)


def level_db(samples: np.ndarray) -> float:
    """Return the mean power of a frame over full scale, decibels."""
    return float(10 * np.log10(np.mean(samples.astype(np.float64) ** 2) + 1e-12))


def is_voice(samples: np.ndarray, start: int = 0) -> bool:
    """Return whether the event from `start` of samples `[N]` is a voice, by its features."""
    samples = samples[start:]
    if len(samples) < MIN_VOICE_FRAMES * HOP:
        return False
    flatness, periodicity, change_db = describe(samples)
    return flatness < MAX_FLATNESS and periodicity > MIN_PERIODICITY and change_db > MIN_CHANGE_DB


def describe(samples: np.ndarray) -> tuple[float, float, float]:
    """Return the features of a sound `[N]`, over its louder half.

    The spectral flatness (geometric over arithmetic mean of the power, in [0, 1]); the median peak
    of the normalized autocorrelation at the periods of voices, in [-1, 1]; and the mean change of
    the spectrum in 50 ms, decibels.
    """
    if len(samples) < FFT:
        return 1.0, 0.0, 0.0
    frames = sliding_window_view(samples.astype(np.float64), FFT)[::HOP] * np.hanning(FFT)
    spectrum = np.abs(np.fft.rfft(frames, 2 * FFT)) ** 2
    power = spectrum.sum(1)
    loud = power >= np.median(power)
    hz = np.fft.rfftfreq(2 * FFT, 1 / RATE)
    band = spectrum[:, (hz >= LOW_HZ) & (hz <= HIGH_HZ)] + 1e-15
    flatness = np.exp(np.log(band).mean(1)) / band.mean(1)
    # Without the rumble below all voices, which correlates over any delay.
    correlation = np.fft.irfft(np.where(hz >= LOW_HZ, spectrum, 0), axis=1)
    window = np.fft.irfft(np.abs(np.fft.rfft(np.hanning(FFT), 2 * FFT)) ** 2)
    low, high = round(RATE / PITCH_HZ[1]), round(RATE / PITCH_HZ[0])
    shape = correlation[:, low:high] / np.maximum(correlation[:, :1], 1e-15)
    periodicity = (shape / (window[low:high] / window[0])).max(1)
    bands = band[:, : band.shape[1] // 8 * 8].reshape(len(band), -1, 8).sum(2)
    # Bands far below the loudest one change with the background alone.
    decibels = 10 * np.log10(bands / bands.max(1, keepdims=True) + AUDIBLE)
    step = 4
    strong = power >= STRONG * power.max()
    pairs = strong[step:] & strong[:-step]
    changes = np.abs(decibels[step:] - decibels[:-step])[pairs]
    return (
        float(np.median(flatness[loud])),
        float(np.median(periodicity[loud])),
        float(changes.mean()) if len(changes) else 0.0,
    )
