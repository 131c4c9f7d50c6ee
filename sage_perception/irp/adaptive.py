# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Refinement that a static scene hardly needs and a complex one gets more of (section 10.10)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from sage_perception.core.latent import HaltReason
from sage_perception.irp.tinyvae import Crops, Descent, TinyVAEIRP

MOST = 256  # tracks remembered
RELATED = 0.5  # move of the guess up to which the last correction still fits
STILL = 0.1  # move up to which the scene counts as static; both RMS, standard deviations


class Last(NamedTuple):
    """What a track looked like when it was last refined."""

    guess: np.ndarray  # [D]
    refined: np.ndarray  # [D]
    done: bool  # nothing was left to gain


class AdaptiveVAE(TinyVAEIRP):
    """`TinyVAEIRP` that starts where a track's last refinement ended and knows when to leave it.

    A track's descent starts at the encoder's new guess plus what refinement added to the last
    one, where the guess has moved little. Where it has hardly moved at all since a refinement
    that ended by itself, the first look is the last. Anything is good enough that decodes to
    `quality` of its variance, in [0, 1]: 1 − error / variance.
    """

    def __init__(self, *model, quality: float = 0.98, **settings):
        super().__init__(*model, **settings)
        self.quality = quality
        self._tracks: dict[int, Last] = {}  # the one refined longest ago first

    def start(self, crops: Crops, guess: np.ndarray) -> np.ndarray:
        """Return where the descents begin, `[B, D]`."""
        start = guess.copy()
        for i, last in self._known(crops):
            if self._moved(guess[i], last) <= RELATED:
                start[i] += last.refined - last.guess
        return start

    def goal(self, state: Descent) -> np.ndarray:
        """Return the energies that are good enough, [B]."""
        goal = (1 - self.quality) * state.crops.pictures.var(axis=(1, 2, 3), dtype=float)
        for i, last in self._known(state.crops):
            if last.done and self._moved(state.guess[i], last) <= STILL:
                goal[i] = np.inf
        return goal

    def remember(self, state: Descent, outputs: Sequence, reasons: Sequence) -> None:
        """Keep what became of each track; of one that stood still, what it was when it moved."""
        known = dict(self._known(state.crops))
        for i, track in enumerate(state.crops.tracks):
            self._tracks.pop(track, None)
            last = known.get(i)
            if last is None or not last.done or self._moved(state.guess[i], last) > STILL:
                last = Last(state.guess[i], outputs[i], reasons[i] == HaltReason.CONVERGED)
            if track and np.isfinite(last.refined).all():
                self._tracks[track] = last
        while len(self._tracks) > MOST:
            del self._tracks[next(iter(self._tracks))]

    def _known(self, crops: Crops) -> list[tuple[int, Last]]:
        tracks = self._tracks
        return [(i, tracks[track]) for i, track in enumerate(crops.tracks) if track in tracks]

    def _moved(self, guess: np.ndarray, last: Last) -> float:
        apart = (guess - last.guess) / self.codec.latent_std
        return float(np.sqrt(np.square(apart).mean()))
