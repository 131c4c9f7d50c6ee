# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Consistency of a sender's live latents with the statistics of its probe latents.

Latents of images vary most along the first principal axes of the probe latents, and least along
the last ones, whatever the camera sees: the first axes are brightness and color of large areas.
Latents that are not of the encoder of the probe latents, such as rotated or permuted ones, vary
equally along both. The `contrast` is the difference between the mean log mean squares
along the first and the last eighth of the axes, of latents scaled to length 1. It is 0 on average
for rotated latents; real video and synthetic scenes are above `MIN_CONTRAST`
(`bench/live_statistics.py`).

Latents of one unchanging object are one direction, whose contrast is no evidence. The `diversity`,
the participation ratio of the second moment, counts the directions; below `MIN_DIVERSITY` the
contrast is not judged. Therefore latents of a monotonous scene pass, rotated or not. So do latents
that mirror the mean, and recorded latents of the same encoder, because their statistics are right.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

MIN_LATENTS = 128
"""Latents from which on the statistics are judged."""
MEMORY = 512
"""Latents over which the statistics are averaged."""
BLOCK = 16
"""Latents that are averaged and judged together: it takes about as long for one of them."""
MIN_CONTRAST = 0.6
"""Smallest contrast, in units of the natural logarithm."""
MIN_DIVERSITY = 4.0
"""Participation ratio from which on the contrast is judged."""
MAX_SCALE = 5.0
"""Largest ratio of the mean square of live latents to that of probe latents."""
MAX_COPIED = 0.5
"""Largest share of live latents that are probe latents."""
COPY_DISTANCE = 0.02
"""Distance below which a latent is a copy of a probe latent, relative to its length; INT8, the
coarsest encoding, is about as precise."""
AXES = 8
"""The contrast compares the first and the last of this many parts of the axes."""


class LiveStatistics:
    """Statistics of live latents about the mean of the sender's probe latents.

    `probes` are the latents of the probe images `[N, D]`, in the same space as the live ones.

    Attributes:
        count: number of latents in the statistics.
        consistent: whether the live latents can be of the encoder of the probe latents.
    """

    def __init__(self, probes: np.ndarray) -> None:
        self._mean = probes.mean(0, dtype=np.float64)
        self._probes = np.asarray(probes - self._mean, np.float64)
        self._squares = np.square(self._probes).sum(1)
        _, axes = np.linalg.eigh(self._probes.T @ self._probes)
        part = max(len(self._mean) // AXES, 1)
        self._first, self._last = axes[:, -part:], axes[:, :part]
        self._moment = np.zeros((len(self._mean), len(self._mean)))
        self._square = self._copied = 0.0
        self._pending: list[np.ndarray] = []
        self.count = 0
        self.consistent = True

    def add(self, latents: Iterable[np.ndarray]) -> None:
        """Take account of live latents `[D]`; those of another dimension are left out.

        The last ones, fewer than `BLOCK`, count when more are added.
        """
        self._pending += [z for z in latents if z.shape == self._mean.shape]
        if len(self._pending) >= BLOCK:
            self._average(np.stack(self._pending))
            self._pending = []
            self.consistent = self._is_consistent()

    def _average(self, latents: np.ndarray) -> None:
        """Take latents `[N, D]` into the averages."""
        deviations = latents.astype(np.float64) - self._mean
        squares = np.square(deviations).sum(1)
        units = deviations / np.sqrt(np.maximum(squares, 1e-300))[:, None]
        distances = squares[:, None] + self._squares - 2 * deviations @ self._probes.T
        copied = distances.min(1) < COPY_DISTANCE**2 * squares
        self.count += len(latents)
        share = len(latents) / min(self.count, MEMORY)
        self._moment += share * (units.T @ units / len(latents) - self._moment)
        self._square += share * (squares.mean() - self._square)
        self._copied += share * (copied.mean() - self._copied)

    @property
    def contrast(self) -> float:
        """Return the contrast of the first to the last axes; NaN for too few latents."""
        if self.count < MIN_LATENTS:
            return float('nan')
        first, last = (
            np.log(np.maximum(((self._moment @ axes) * axes).sum(0), 1e-12)).mean()
            for axes in (self._first, self._last)
        )
        return float(first - last)

    @property
    def diversity(self) -> float:
        """Return the participation ratio of the directions of live latents, 1 to D."""
        trace, norm = np.trace(self._moment), np.linalg.norm(self._moment)
        return float(np.square(trace / max(norm, 1e-300)))

    @property
    def scale(self) -> float:
        """Return the mean square of live latents relative to that of the probe latents."""
        return float(self._square / max(self._squares.mean(), 1e-300))

    @property
    def copied(self) -> float:
        """Return the share of live latents that are copies of probe latents."""
        return float(self._copied)

    def _is_consistent(self) -> bool:
        if self.count < MIN_LATENTS:
            return True
        if self.scale > MAX_SCALE or self.copied > MAX_COPIED:
            return False
        return self.diversity < MIN_DIVERSITY or self.contrast >= MIN_CONTRAST
