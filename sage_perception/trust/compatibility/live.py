# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Consistency of a sender's live latents with the statistics of its probe latents.

Latents of one encoder vary along the same directions whatever the camera sees, because the
directions of large variance are those of brightness and color. A sender whose live latents are not
of the encoder of its probe latents, such as rotated or permuted ones, is found by the directions:
the cosine between the second moments, as matrices, was 0.30 and more for real video of ten sources
and 0.12 and less for rotated latents of the same video. Uniform objects, as of the synthetic
source, vary in few directions: there it is 0.09 to 0.15, and 0.07 on average for rotated latents.
The limit is below all of these, so that no honest camera is suspected; some rotated latents pass,
as do latents that mirror the mean.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

MIN_LATENTS = 128
"""Latents from which on the statistics are judged."""
MEMORY = 512
"""Latents over which the statistics are averaged."""
MIN_ALIGNMENT = 0.07
"""Smallest cosine between the second moments of live and probe latents."""
MAX_SCALE = 5.0
"""Largest ratio of the mean square of live latents to that of probe latents."""


class LiveStatistics:
    """The second moment of live latents about the mean of the sender's probe latents.

    `probes` are the latents of the probe images `[N, D]`, in the same space as the live ones.
    """

    def __init__(self, probes: np.ndarray) -> None:
        self._mean = probes.mean(0, dtype=np.float64)
        self._reference = _second_moment(probes - self._mean)
        self._moment = np.zeros_like(self._reference)
        self.count = 0

    def add(self, latents: Iterable[np.ndarray]) -> None:
        """Take account of live latents `[D]`; those of another dimension are left out."""
        kept = [z for z in latents if z.shape == self._mean.shape]
        if kept:
            self.count += len(kept)
            share = len(kept) / min(self.count, MEMORY)
            self._moment += share * (_second_moment(np.stack(kept) - self._mean) - self._moment)

    @property
    def alignment(self) -> float:
        """Return the cosine in [0, 1] between the second moments; NaN for too few latents."""
        if self.count < MIN_LATENTS:
            return float('nan')
        norms = np.linalg.norm(self._reference) * np.linalg.norm(self._moment)
        return float((self._reference * self._moment).sum() / max(norms, 1e-300))

    @property
    def scale(self) -> float:
        """Return the mean square of live latents relative to that of the probe latents."""
        return float(np.trace(self._moment) / max(np.trace(self._reference), 1e-300))

    @property
    def consistent(self) -> bool:
        """Whether the live latents can be of the encoder of the probe latents."""
        return self.count < MIN_LATENTS or (
            self.alignment >= MIN_ALIGNMENT and self.scale <= MAX_SCALE
        )


def _second_moment(deviations: np.ndarray) -> np.ndarray:
    deviations = np.asarray(deviations, np.float64)
    return deviations.T @ deviations / len(deviations)
