# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Samples reconstruction errors: each track is measured once in a few frames."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np


class ErrorSampler:
    """Shares the cost of measuring reconstruction errors out among frames.

    Decoding a latent to see how well it decodes costs more than encoding did, and the error of
    what a track shows changes little from frame to frame. So each track is measured when it is new
    and then once in `every` frames, a share of them in each frame; between, its last error stands.
    """

    MOST = 256  # tracks remembered

    def __init__(self, every: int):
        self.every = every
        self._errors: dict[int, float] = {}  # by track, the one measured longest ago first

    def due(self, tracks: Sequence[int]) -> list[int]:
        """Return the indices into `tracks` of those to be measured now; track 0 always is."""
        new = [i for i, track in enumerate(tracks) if not track or track not in self._errors]
        order = {track: age for age, track in enumerate(self._errors)}
        known = [i for i, track in enumerate(tracks) if track and track in order]
        known.sort(key=lambda i: order[tracks[i]])
        return sorted(new + known[: math.ceil(len(known) / self.every)])

    def note(self, tracks: Sequence[int], errors: Sequence[float]) -> None:
        """Remember what was measured."""
        for track, error in zip(tracks, errors, strict=True):
            self._errors.pop(track, None)
            if track:
                self._errors[track] = float(error)
        while len(self._errors) > self.MOST:
            del self._errors[next(iter(self._errors))]

    def last(self, track: int) -> float:
        """Return the last error of a track, NaN when it has not been measured."""
        return self._errors.get(track, math.nan)

    def measure(
        self,
        tracks: Sequence[int],
        pictures: np.ndarray,
        shown: Callable[[list[int]], np.ndarray],
    ) -> np.ndarray:
        """Return the last squared error `[B]` of each track, those due being measured now.

        `shown` returns what the latents of some rows of `images`, float32 `[B, C, S, S]`, decode
        to.
        """
        due = self.due(tracks)
        errors = np.array([self.last(track) for track in tracks])
        if due:
            errors[due] = np.square(shown(due) - pictures[due]).mean((1, 2, 3))
            self.note([tracks[i] for i in due], errors[due])
        return errors
