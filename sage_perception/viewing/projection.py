# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Project latents to two dimensions."""

from __future__ import annotations

from typing import Any

import numpy as np

FIT_COUNT = 256
"""Number of latents on which a projection is fitted."""
MAX_WAITING = 4096
"""Maximum number of latents that wait for the fit."""


class Projection:
    """The first two principal components of latents, fitted once on the first ones.

    >>> projection = Projection()
    >>> projection.add(latents, tag)  # [] until `FIT_COUNT` latents were added
    """

    def __init__(self, count: int = FIT_COUNT) -> None:
        self._count = count
        self._waiting: list[tuple[np.ndarray, Any]] = []
        self._mean: np.ndarray | None = None
        self._axes: np.ndarray | None = None

    def add(self, values: np.ndarray, tag: Any) -> list[tuple[np.ndarray, Any]]:
        """Add latents `[N, D]`; return those that can be projected now, `[N, 2]`, with their tags.

        Before the fit latents wait. Latents of another dimension than the first are ignored.
        """
        if self._mean is not None and self._axes is not None:
            if values.shape[1] != len(self._mean):
                return []
            return [((values - self._mean) @ self._axes, tag)]
        if self._waiting and values.shape[1] != self._waiting[0][0].shape[1]:
            return []
        if len(self._waiting) < MAX_WAITING:
            self._waiting.append((values, tag))
        if sum(len(each) for each, _ in self._waiting) < self._count:
            return []
        return self.finish()

    def finish(self) -> list[tuple[np.ndarray, Any]]:
        """Fit on the latents that wait, and return them projected; [] if there are none."""
        waiting, self._waiting = self._waiting, []
        if not waiting:
            return []
        values = np.concatenate([each for each, _ in waiting]).astype(np.float64)
        self._mean = values.mean(0)
        axes = np.linalg.svd(values - self._mean, full_matrices=False)[2][:2]
        if len(axes) < 2 or values.shape[1] < 2:
            axes = np.vstack([axes, np.zeros((2 - len(axes), values.shape[1]))])
        # The sign of a component is arbitrary: its largest weight becomes positive.
        largest = np.take_along_axis(axes, np.abs(axes).argmax(1)[:, None], 1)
        self._axes = (axes * np.where(largest < 0, -1.0, 1.0)).T
        return [((each - self._mean) @ self._axes, tag) for each, tag in waiting]
