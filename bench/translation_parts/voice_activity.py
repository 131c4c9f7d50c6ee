# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Events and voices found in noise: recordings of digits, and other sounds.

A recording or another sound starts one second into white noise. `found` is the share of the
recordings of which an event overlaps half, `voices` the share of these that count as voices, and
`false_voices` the share of other sounds (tones, decaying noise, chirps, buzzes) that do.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from sage_perception.audio.activity import ActivityDetector
from sage_perception.audio.mel import RATE
from sage_perception.audio.wave_file import read_wave
from translation_parts.fsdd import files

SNRS_DB = (20, 10)
TRIALS = 100


def other_sound(rng: np.random.Generator) -> np.ndarray:
    """Return a sound that is no voice."""
    time = np.arange(RATE // 2) / RATE
    hz = rng.uniform(100, 2000)
    sounds = (
        np.sin(2 * np.pi * hz * time),
        np.exp(-time * rng.uniform(5, 40)) * rng.normal(size=len(time)),
        np.sin(2 * np.pi * (hz * time + rng.uniform(200, 2000) * time**2)),
        np.sign(np.sin(2 * np.pi * rng.uniform(50, 300) * time)),
    )
    return 0.2 * sounds[rng.integers(len(sounds))]


def detect(sound: np.ndarray, snr_db: float, rng: np.random.Generator) -> tuple[bool, bool]:
    """Return whether a sound in noise is found, and whether it counts as a voice."""
    start = RATE
    level = np.sqrt(np.mean(sound**2)) * 10 ** (-snr_db / 20)
    signal = level * rng.normal(size=len(sound) + 2 * RATE)
    signal[start : start + len(sound)] += sound
    events = ActivityDetector().add(signal[:, None].astype(np.float32))
    covered = [
        event
        for event in events
        if min(event.start + len(event.samples), start + len(sound)) - max(event.start, start)
        > len(sound) / 2
    ]
    return bool(covered), any(event.voice for event in covered)


def measure(seeds: Sequence[int]) -> dict[str, object]:
    """Return the rates for each signal-to-noise ratio."""
    recordings = files()
    figures: dict[str, object] = {}
    for snr in SNRS_DB:
        rows = []
        for seed in seeds:
            rng = np.random.default_rng(seed)
            chosen = rng.choice(len(recordings), TRIALS, replace=False)
            voices = [detect(read_wave(recordings[n])[:, 0], snr, rng) for n in chosen]
            others = [detect(other_sound(rng), snr, rng) for _ in range(TRIALS)]
            found = np.array([hit for hit, _ in voices])
            rows.append(
                (
                    found.mean(),
                    np.mean([voice for hit, voice in voices if hit]),
                    np.mean([voice for _, voice in others]),
                )
            )
        means = np.mean(rows, 0)
        names = ('found', 'voices', 'false_voices')
        figures[f'snr_{snr}_db'] = {
            **dict(zip(names, map(float, means), strict=True)),
            'seeds': [[float(value) for value in row] for row in rows],
        }
    return figures
