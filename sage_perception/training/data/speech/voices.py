# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Voices of the synthesizers espeak-ng and flite, which Debian and Ubuntu package."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from sage_perception.audio.wave_file import WaveError, read_wave

TIMEOUT_S = 20.0
TRIM_DB = 40.0
"""Level below the loudest 10 ms at which an utterance starts and ends, decibels."""

ACCENTS = ('en-us', 'en-gb', 'en-gb-scotland', 'en-gb-x-rp', 'en-gb-x-gbclan', 'en-029')
VARIANTS = (
    'Alex', 'Alicia', 'Andrea', 'Andy', 'Annie', 'Denis', 'Diogo', 'Gene', 'Henrique', 'Hugo',
    'Jacky', 'Lee', 'Mario', 'Michael', 'Mike', 'adam', 'anika', 'announcer', 'antonio', 'aunty',
    'belinda', 'benjamin', 'boris', 'caleb', 'david', 'ed', 'edward', 'f1', 'f2', 'f3', 'f4', 'f5',
    'grandma', 'grandpa', 'iven', 'john', 'klatt', 'klatt2', 'klatt3', 'klatt4', 'linda', 'm1',
    'm2', 'm3', 'm4', 'm5', 'm6', 'm7', 'm8', 'marcelo', 'max', 'michel', 'miguel', 'norbert',
    'pablo', 'paul', 'pedro', 'quincy', 'rob', 'robert', 'sandro', 'shelby', 'steph', 'travis',
    'victor', 'zac',
)  # fmt: skip
FLITE = ('kal', 'awb', 'rms', 'slt')
"""Voices of flite; all but kal are made of recordings of people (CMU Arctic)."""
SETTINGS = 6
"""Pitches and speeds of each voice of flite."""


class SpeechUnavailable(RuntimeError):
    """A synthesizer is not installed or failed; the message contains the fix."""


@dataclass(frozen=True)
class Voice:
    """A voice of a synthesizer.

    Attributes:
        engine: `espeak-ng` or `flite`.
        name: name of the voice for its engine.
        pitch: 0 to 99 for espeak-ng; mean fundamental frequency for flite, Hz.
        speed: words per minute for espeak-ng; stretch of durations for flite.
    """

    engine: str
    name: str
    pitch: int
    speed: float

    @property
    def person(self) -> str:
        """Return the voice without its settings: voices of one person are held out together."""
        return f'{self.engine}:{self.name.rpartition("+")[2]}'


def voices(seed: int = 0) -> list[Voice]:
    """Return all voices: each variant of espeak-ng in two accents, and those of flite."""
    rng = np.random.default_rng(seed)
    found = [
        Voice(
            'espeak-ng',
            f'{accent}+{variant}',
            int(rng.integers(20, 80)),
            float(rng.integers(120, 200)),
        )
        for variant in VARIANTS
        for accent in rng.permutation(ACCENTS)[:2]
    ]
    for name in FLITE:
        middle = 170 if name == 'slt' else 110
        found += [
            Voice('flite', name, int(middle * rng.uniform(0.8, 1.3)), float(rng.uniform(0.8, 1.3)))
            for _ in range(SETTINGS)
        ]
    return found


def synthesize(voice: Voice, text: str) -> np.ndarray:
    """Return a text in a voice without silence at its ends, float32 `[N]` at 16 kHz.

    Raises:
        SpeechUnavailable: the synthesizer is missing or failed.
    """
    if shutil.which(voice.engine) is None:
        raise SpeechUnavailable(
            f'{voice.engine} is not installed: apt-get install espeak-ng flite'
        )
    with tempfile.NamedTemporaryFile(suffix='.wav') as file:
        if voice.engine == 'espeak-ng':
            options = ['-v', voice.name, '-p', str(voice.pitch), '-s', str(round(voice.speed))]
            _run([voice.engine, *options, '-w', file.name, text])
        else:
            options = ['--setf', f'int_f0_target_mean={voice.pitch}']
            options += ['--setf', f'duration_stretch={voice.speed:.3f}', '-voice', voice.name]
            _run([voice.engine, *options, '-t', text, '-o', file.name])
        try:
            samples = read_wave(Path(file.name))
        except WaveError as error:
            raise SpeechUnavailable(f'{voice.engine} made no sound of {text!r}: {error}') from None
    return trim(samples[:, 0])


def trim(samples: np.ndarray, below_db: float = TRIM_DB) -> np.ndarray:
    """Return a signal `[N]` at 16 kHz without the parts at its ends that are `below_db` down."""
    step = 160
    blocks = samples[: len(samples) // step * step].reshape(-1, step).astype(np.float64)
    power = (blocks**2).mean(1)
    if not len(power) or power.max() <= 0:
        return samples
    loud = np.flatnonzero(power > power.max() * 10 ** (-below_db / 10))
    return samples[loud[0] * step : (loud[-1] + 1) * step]


def _run(command: list[str]) -> None:
    try:
        subprocess.run(command, capture_output=True, timeout=TIMEOUT_S, check=True)
    except (OSError, subprocess.SubprocessError) as error:
        raise SpeechUnavailable(f'{command[0]} failed: {error}') from error
