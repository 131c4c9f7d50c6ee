# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Refinement that adapts to the scene: few steps if it is static (specification, 10.10)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from sage_perception.core.latent import HaltReason
from sage_perception.irp.tinyvae import Crops, Descent, TinyVAEIRP

MAX_TRACKS = 256  # the track that was refined least recently is dropped
# Maximum RMS change of the guess, standard deviations of a latent.
MAX_REUSE_CHANGE = 0.5  # for adding the last correction
MAX_STATIC_CHANGE = 0.1  # for a static scene


class TrackResult(NamedTuple):
    """The last refinement of a track."""

    guess: np.ndarray  # [D]
    refined: np.ndarray  # [D]
    converged: bool


class AdaptiveVAE(TinyVAEIRP):
    """`TinyVAEIRP` that continues the last refinement of a track and skips static scenes.

    If the guess of a track has changed little, the descent starts at the new guess plus the last
    correction. If it has hardly changed since a refinement that converged, one iteration is
    enough. An item has converged when its quality 1 − error / variance of the crop reaches
    `quality`, in [0, 1].

    The other arguments are those of `TinyVAEIRP`.
    """

    def __init__(
        self,
        model: str = 'tinyvae',
        decoder: str = '',
        device: str = 'cpu',
        *,
        quality: float = 0.98,
    ) -> None:
        super().__init__(model, decoder, device)
        self.quality = quality
        self._tracks: dict[int, TrackResult] = {}  # least recently refined first

    def start(self, crops: Crops, guess: np.ndarray) -> np.ndarray:
        """Return the initial latents of the descents, `[B, D]`."""
        start = guess.copy()
        for i, last in self._last_results(crops):
            if self._change(guess[i], last) <= MAX_REUSE_CHANGE:
                start[i] += last.refined - last.guess
        return start

    def goal(self, state: Descent) -> np.ndarray:
        """Return the energies at which items have converged, [B]; ∞ for a static track."""
        goal = (1 - self.quality) * state.crops.images.var(axis=(1, 2, 3), dtype=float)
        for i, last in self._last_results(state.crops):
            if last.converged and self._change(state.guess[i], last) <= MAX_STATIC_CHANGE:
                goal[i] = np.inf
        return goal

    def remember(
        self, state: Descent, outputs: Sequence[Any], reasons: Sequence[HaltReason | None]
    ) -> None:
        """Store the result of each track; a static track keeps its last one."""
        known = dict(self._last_results(state.crops))
        for i, track in enumerate(state.crops.tracks):
            self._tracks.pop(track, None)
            last = known.get(i)
            static = (
                last is not None
                and last.converged
                and self._change(state.guess[i], last) <= MAX_STATIC_CHANGE
            )
            if last is None or not static:
                converged = reasons[i] == HaltReason.CONVERGED
                last = TrackResult(state.guess[i], outputs[i], converged)
            if track and np.isfinite(last.refined).all():
                self._tracks[track] = last
        while len(self._tracks) > MAX_TRACKS:
            del self._tracks[next(iter(self._tracks))]

    def _last_results(self, crops: Crops) -> list[tuple[int, TrackResult]]:
        tracks = self._tracks
        return [(i, tracks[track]) for i, track in enumerate(crops.tracks) if track in tracks]

    def _change(self, guess: np.ndarray, last: TrackResult) -> float:
        """Return the RMS change of a guess, standard deviations."""
        difference = (guess - last.guess) / self.codec.latent_std
        return float(np.sqrt(np.square(difference).mean()))
