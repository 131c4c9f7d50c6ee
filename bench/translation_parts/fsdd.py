# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Recordings of digits, FSDD (CC BY-SA 4.0), as spectrograms: for tests, not for what ships."""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path
from typing import NamedTuple

import numpy as np

from sage_perception.audio.mel import log_mel
from sage_perception.audio.wave_file import read_wave

FOLDER = Path(os.environ.get('SAGE_FSDD', 'out/data/audio_fsdd'))
"""Folder of the WAV files, DIGIT_NAME_NUMBER.wav; the variable SAGE_FSDD sets another one."""


class Digits(NamedTuple):
    """Recorded digits.

    Attributes:
        mel: float32 `[N, 1, BANDS, FRAMES]` in [0, 1].
        digit: int64 `[N]`.
        voice: `[N]`, the name of the person.
    """

    mel: np.ndarray
    digit: np.ndarray
    voice: np.ndarray


def files() -> list[Path]:
    """Return the recordings; exit with the fix if there are none."""
    found = sorted(FOLDER.glob('*.wav'))
    if not found:
        raise SystemExit(
            f'{FOLDER} has no WAV files: set SAGE_FSDD to the folder "recordings" of the '
            'repository Jakobovski/free-spoken-digit-dataset'
        )
    return found


@cache
def load() -> Digits:
    """Return the recordings as spectrograms."""
    names = [file.stem.split('_') for file in files()]
    mel = np.stack([log_mel(read_wave(file)[:, 0]) for file in files()])[:, None]
    digit = np.array([int(digit) for digit, *_ in names])
    return Digits(mel, digit, np.array([voice for _, voice, _ in names]))
