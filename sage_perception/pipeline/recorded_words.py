# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""The words in a recording, as the audio node recognizes them in the sound of a microphone."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from sage_perception.audio.event_stream import NS, EventStream
from sage_perception.audio.mel import FRAME, RATE
from sage_perception.audio.sources.base import BLOCK, SoundBlock
from sage_perception.audio.wave_file import WaveError, read_wave
from sage_perception.pipeline.sound_encoder import EncodedSound, SoundEncoder

PAUSE_S = 0.6
"""Quiet before and after a recording, seconds: an event starts and ends against a background."""
MIN_LEVEL = 1e-4
"""Least standard deviation of the noise in a pause; full scale is 1."""


def recorded_words(path: Path, encoder: SoundEncoder) -> list[EncodedSound]:
    """Return the voices of a WAV file in their order, each with its word and confidence.

    Raises `OSError` and `WaveError` for a file that cannot be read as sound, and for a voice that
    is clipped or not finite, whose words have no trust.
    """
    samples = read_wave(path)
    # At the level of the quietest part of the recording: otherwise its noise would be an event.
    parts = np.nan_to_num(samples[: len(samples) // FRAME * FRAME], posinf=0, neginf=0)
    levels = parts.reshape(-1, FRAME * samples.shape[1]).std(1)
    level = max(float(levels.min()), MIN_LEVEL) if len(levels) else MIN_LEVEL
    rng = np.random.default_rng(0)
    pause = level * rng.standard_normal((round(PAUSE_S * RATE), samples.shape[1]))
    sound = np.concatenate([pause, samples, pause]).astype(np.float32)
    sound = sound[: len(sound) // BLOCK * BLOCK]
    stream, found = EventStream(), []
    for number, start in enumerate(range(0, len(sound), BLOCK)):
        block = SoundBlock(sound[start : start + BLOCK], start * NS // RATE, number)
        for event in stream.add(block):
            if event.fault:
                raise WaveError(f'the sound of {path} is {event.fault}: record it again')
            if event.voice:
                found.append(encoder.encode(event))
    return found
