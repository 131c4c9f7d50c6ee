# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Sampling of reconstruction errors: a track is measured again when its latent has changed."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

MEASURE_EVERY = 15
"""Default number of frames after which a track is measured again in any case."""
MAX_CHANGE = 0.7
"""Change of a latent above which its track is measured again: the root mean square over the
dimensions, in standard deviations of the model's latents."""


class _Measured(NamedTuple):
    """The last measurement of a track: error, latent `[D]` and number of the frame."""

    error: float
    latent: np.ndarray
    frame: int


class ErrorSampler:
    """Limit how often reconstruction errors are measured.

    Decoding a latent to measure its error costs more than encoding it, and the error of a track
    changes little while its latent stays the same. The sampler measures a track in its first
    frame, then when its latent differs from the measured one by more than `MAX_CHANGE`, and at
    least once in `every` frames. In between it returns the last measured error. At the
    same cost as a measurement in every third frame, the errors are more accurate
    (`bench/error_sampling.py`).

    `std` `[D]` are the standard deviations of the model's latents.
    """

    MAX_TRACKS = 256

    def __init__(self, std: np.ndarray, every: int = MEASURE_EVERY):
        self.every = every
        self._std = std
        self._frame = 0
        self._measured: dict[int, _Measured] = {}  # by track, the oldest measurement first

    def due(self, tracks: Sequence[int], latents: np.ndarray) -> list[int]:
        """Return the indices into `tracks` to measure in this frame; track 0 is always due.

        `latents` are float32 `[B, D]`. Call it once for each frame.
        """
        self._frame += 1
        return [index for index, track in enumerate(tracks) if self._is_due(track, latents[index])]

    def _is_due(self, track: int, latent: np.ndarray) -> bool:
        last = self._measured.get(track)
        if last is None or self._frame - last.frame >= self.every:
            return True
        change = (latent - last.latent) / self._std
        # A latent that is not finite is measured, too.
        return not float(np.dot(change, change)) <= MAX_CHANGE**2 * latent.size

    def note(
        self, tracks: Sequence[int], latents: np.ndarray, errors: Sequence[float] | np.ndarray
    ) -> None:
        """Store the measured `errors` of `tracks` in this frame, and their latents `[B, D]`."""
        for track, latent, error in zip(tracks, latents, errors, strict=True):
            self._measured.pop(track, None)
            if track:
                self._measured[track] = _Measured(float(error), latent, self._frame)
        while len(self._measured) > self.MAX_TRACKS:
            del self._measured[next(iter(self._measured))]

    def last(self, track: int) -> float:
        """Return the last error of a track, NaN if the track has not been measured."""
        last = self._measured.get(track)
        return math.nan if last is None else last.error

    def measure(
        self,
        tracks: Sequence[int],
        latents: np.ndarray,
        images: np.ndarray,
        decode: Callable[[list[int]], np.ndarray],
    ) -> np.ndarray:
        """Measure the tracks that are due and return the last mean squared error `[B]` of each.

        `latents` are float32 `[B, D]`; `images` are the encoded crops, float32 `[B, C, S, S]`.
        `decode` takes row indices and returns the images that the latents of these rows decode to.
        """
        due = self.due(tracks, latents)
        errors = np.array([self.last(track) for track in tracks])
        if due:
            errors[due] = np.square(decode(due) - images[due]).mean((1, 2, 3))
            self.note([tracks[i] for i in due], latents[due], errors[due])
        return errors
