# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""From blocks of sound to events with a time, a kind and a direction."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from sage_perception.audio.activity import ActivityDetector, VoiceTest
from sage_perception.audio.bearing import SPACING_M, Bearing, find_bearing
from sage_perception.audio.health import SoundHealth
from sage_perception.audio.mel import RATE
from sage_perception.audio.sources.base import BLOCK, SoundBlock

NS = 1_000_000_000
FULL_LEVEL_DB = 40.0
"""Level over the background level whose arousal is 1, decibels."""


@dataclass(frozen=True, eq=False)
class SoundEvent:
    """A sound that has ended.

    Attributes:
        samples: float32 `[N]` at 16 kHz, the mean of all channels.
        captured_ns: capture time of its first sample, monotonic.
        voice: whether it is a voice.
        level_db: loudest level over the background level, decibels.
        bearing: its direction; None with less than two channels, or if it cannot be measured.
        fault: fault of the microphone during the event, '' for none; its trust is 0 then.
    """

    samples: np.ndarray
    captured_ns: int
    voice: bool
    level_db: float
    bearing: Bearing | None
    fault: str

    @property
    def arousal(self) -> float:
        """Return the arousal for SNARC, in [0, 1]: the level; half of it for other sounds."""
        share = min(max(self.level_db / FULL_LEVEL_DB, 0.0), 1.0)
        return share if self.voice else share / 2


class EventStream:
    """Finds the events in the blocks of a source; `voice` is that of `ActivityDetector`.

    Attributes:
        fault: fault of the microphone in the last second, '' for none.
        gaps: number of gaps between blocks.
    """

    def __init__(self, spacing_m: float = SPACING_M, voice: VoiceTest | None = None) -> None:
        self.fault, self.gaps = '', 0
        self._voice = voice
        self._spacing_m = spacing_m
        self._health = SoundHealth()
        self._faults: list[tuple[int, str]] = []
        self.restart()

    @property
    def active(self) -> bool:
        """Return whether there is an event now."""
        return self._detector.active

    def restart(self) -> None:
        """Drop the current event: the next block does not continue the last one."""
        self._detector = ActivityDetector(self._voice)
        self._index: int | None = None
        self._count = 0  # samples since the detector was started
        self._faults.clear()

    def add(self, block: SoundBlock) -> list[SoundEvent]:
        """Add a block; return the events that have ended. A gap drops the current event."""
        if self._index is not None and block.index != self._index + 1:
            self.gaps += 1
            self.restart()
        self._index = block.index
        self.fault = self._health.add(block.samples)
        if self.fault:
            self._faults.append((self._count, self.fault))
        samples = np.clip(np.nan_to_num(block.samples, posinf=0, neginf=0), -1, 1)
        events = self._detector.add(samples)
        origin_ns = block.captured_ns - self._count * NS // RATE
        self._count += len(block.samples)
        found = []
        for event in events:
            end = event.start + len(event.samples)
            faults = [name for at, name in self._faults if event.start - BLOCK < at < end]
            bearing = None
            if event.samples.shape[1] >= 2:
                left, right = event.samples[:, 0], event.samples[:, 1]
                bearing = find_bearing(left, right, self._spacing_m)
            found.append(
                SoundEvent(
                    event.samples.mean(1),
                    origin_ns + event.start * NS // RATE,
                    event.voice,
                    event.level_db,
                    bearing,
                    faults[-1] if faults else '',
                )
            )
        self._faults = self._faults[-64:]
        return found
