# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""CPU time of the steps of the audio node, on one thread, for two microphones."""

from __future__ import annotations

import time
from collections.abc import Sequence

import numpy as np

from sage_perception.audio.event_stream import EventStream
from sage_perception.audio.mel import RATE
from sage_perception.audio.sources.base import BLOCK, SoundBlock
from sage_perception.audio.synthetic import synthetic_sound
from sage_perception.models import load_audio
from sage_perception.pipeline.sound_encoder import SoundEncoder


def measure(seeds: Sequence[int]) -> dict[str, object]:
    """Return milliseconds per second of sound, and per event."""
    encoder = SoundEncoder(load_audio())
    finding, encoding = [], []
    for seed in seeds:
        sound = synthetic_sound('mixed', seed, 2, 20.0, 20.0)
        stream, events = EventStream(), []
        start_s = time.process_time()
        for number in range(len(sound) // BLOCK):
            part = sound[number * BLOCK : (number + 1) * BLOCK]
            events += stream.add(SoundBlock(part, number * 50_000_000, number))
        finding.append((time.process_time() - start_s) / (len(sound) / RATE) * 1e3)
        for event in events:
            start_s = time.process_time()
            encoder.encode(event)
            encoding.append((time.process_time() - start_s) * 1e3)
    return {
        'ms_per_second_of_sound': float(np.mean(finding)),
        'cpu_percent': float(np.mean(finding)) / 10,
        'ms_per_event': float(np.median(encoding)),
        'ms_per_event_90_percent': float(np.quantile(encoding, 0.9)),
    }
