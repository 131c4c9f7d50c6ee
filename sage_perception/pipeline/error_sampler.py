# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Sampling of reconstruction errors: each track is measured once in a few frames."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np

MEASURE_EVERY = 3
"""Default number of frames between two measurements of a track."""


class ErrorSampler:
    """Spread the cost of measuring reconstruction errors over several frames.

    Decoding a latent to measure its error costs more than encoding it, and the error of a track
    changes little from frame to frame. The sampler measures a track in its first frame and then
    once in `every` frames, a share of the tracks in each frame. In between it returns the last
    measured error.
    """

    MAX_TRACKS = 256

    def __init__(self, every: int = MEASURE_EVERY):
        self.every = every
        self._errors: dict[int, float] = {}  # by track, the oldest measurement first

    def due(self, tracks: Sequence[int]) -> list[int]:
        """Return the indices into `tracks` to measure in this frame; track 0 is always due."""
        new = [i for i, track in enumerate(tracks) if not track or track not in self._errors]
        order = {track: age for age, track in enumerate(self._errors)}
        known = [i for i, track in enumerate(tracks) if track and track in order]
        known.sort(key=lambda i: order[tracks[i]])
        return sorted(new + known[: math.ceil(len(known) / self.every)])

    def note(self, tracks: Sequence[int], errors: Sequence[float] | np.ndarray) -> None:
        """Store the measured `errors` of `tracks`."""
        for track, error in zip(tracks, errors, strict=True):
            self._errors.pop(track, None)
            if track:
                self._errors[track] = float(error)
        while len(self._errors) > self.MAX_TRACKS:
            del self._errors[next(iter(self._errors))]

    def last(self, track: int) -> float:
        """Return the last error of a track, NaN if the track has not been measured."""
        return self._errors.get(track, math.nan)

    def measure(
        self,
        tracks: Sequence[int],
        images: np.ndarray,
        decode: Callable[[list[int]], np.ndarray],
    ) -> np.ndarray:
        """Measure the tracks that are due and return the last mean squared error `[B]` of each.

        `images` are the encoded crops, float32 `[B, C, S, S]`. `decode` takes row indices and
        returns the images that the latents of these rows decode to.
        """
        due = self.due(tracks)
        errors = np.array([self.last(track) for track in tracks])
        if due:
            errors[due] = np.square(decode(due) - images[due]).mean((1, 2, 3))
            self.note([tracks[i] for i in due], errors[due])
        return errors
