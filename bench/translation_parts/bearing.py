# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Error of the bearing in simulated rooms: two microphones 0.2 m apart, RT60 0.3 s, 10 dB SNR."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from sage_perception.audio.bearing import find_bearing
from sage_perception.audio.wave_file import read_wave
from translation_parts.fsdd import files
from translation_parts.rooms import in_room

TRIALS = 120
"""Recorded digits per seed, in another room each."""
MAX_ANGLE = 60.0


def measure(seeds: Sequence[int]) -> dict[str, object]:
    """Return the median error, degrees, and those of chance and of a fixed answer."""
    medians, tails, ahead, guessed = [], [], [], []
    sounds = files()
    for seed in seeds:
        rng = np.random.default_rng(seed)
        angles = rng.uniform(-MAX_ANGLE, MAX_ANGLE, TRIALS)
        errors = []
        for angle in angles:
            signal = read_wave(sounds[rng.integers(len(sounds))])[:, 0]
            recorded = in_room(signal, np.radians(angle), rng)
            found = find_bearing(recorded[:, 0], recorded[:, 1])
            degrees = np.degrees(found.angle) if found is not None else 0.0
            errors.append(abs(degrees - angle))
        medians.append(float(np.median(errors)))
        tails.append(float(np.quantile(errors, 0.9)))
        ahead.append(float(np.median(np.abs(angles))))
        guessed.append(float(np.median(np.abs(angles - rng.permutation(angles)))))
    return {
        'value': float(np.mean(medians)),
        'unit': 'degrees, median error',
        'seeds': medians,
        'error_90_percent': float(np.mean(tails)),
        'baselines': {'straight ahead': float(np.mean(ahead)), 'random': float(np.mean(guessed))},
    }
