# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Smoothing of weights over time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import ArrayLike

from sage_perception.zspace.checks import ZSpaceError, finite_array, normalized, number


class WeightFilter(Protocol):
    """Smooths the weights of slices from frame to frame."""

    def apply(self, weights: ArrayLike) -> np.ndarray:
        """Return the smoothed weights `[D]` of this frame."""

    def reset(self) -> None:
        """Forget all frames."""


class TemporalResonanceBuffer:
    """An exponential moving average of weights (spec 004, TemporalResonanceBuffer).

    Attributes
    ----------
    decay : float
        Weight of the newest frame in [0, 1].
    frames : int
        Number of frames that influence the average; 0 after a reset.

    """

    def __init__(self, decay: float) -> None:
        """Set the weight of the newest frame; raise `ZSpaceError` outside [0, 1]."""
        self.decay = number('decay', decay, 0, 1)
        self.reset()

    @property
    def profile(self) -> np.ndarray | None:
        """Return the current average, float64 `[D]`; None after a reset."""
        return None if self._profile is None else self._profile.copy()

    def reset(self) -> None:
        """Forget all frames, for example after a scene cut or while sensors disagree."""
        self._profile: np.ndarray | None = None
        self.frames = 0

    def apply(self, weights: ArrayLike) -> np.ndarray:
        """Add the weights `[D]` of a frame and return the average, float64 `[D]` with the sum 1.

        The average is (1 - decay)·previous + decay·weights, divided by its sum. The first frame,
        and a frame with another number of slices, starts a new average. Raises `ZSpaceError` for
        weights that are not finite; the average does not change then.
        """
        present = finite_array('weights', weights, 1)
        if self._profile is None or self._profile.shape != present.shape:
            self.reset()
            mixed = present
        else:
            mixed = (1 - self.decay) * self._profile + self.decay * present
        self._profile = normalized(mixed)
        self.frames += 1
        return self._profile.copy()


class TemporalStack:
    """Short- and long-term averages of weights side by side (spec 004, Resonant roadmap).

    The result is the weighted mean of one `TemporalResonanceBuffer` per decay: with decays of 0.5
    and 0.05, for example, half of a change arrives within a few frames and the rest within a few
    dozen.
    """

    def __init__(self, decays: Sequence[float], shares: Sequence[float] | None = None) -> None:
        """Set the decays, each in [0, 1], and the share of each average (default: equal shares).

        Raises `ZSpaceError` for no decay, an invalid one, or shares that are negative or do not
        match the decays.
        """
        if not len(decays):
            raise ZSpaceError('a temporal stack needs at least one decay')
        self.buffers = [TemporalResonanceBuffer(decay) for decay in decays]
        given = finite_array('shares', np.ones(len(decays)) if shares is None else shares, 1)
        if given.shape != (len(decays),) or (given < 0).any():
            raise ZSpaceError(f'shares must be {len(decays)} numbers of at least 0, one per decay')
        self.shares = normalized(given)

    def reset(self) -> None:
        """Forget all frames."""
        for buffer in self.buffers:
            buffer.reset()

    def apply(self, weights: ArrayLike) -> np.ndarray:
        """Add the weights `[D]` of a frame and return the mean of the averages, float64 `[D]`."""
        present = finite_array('weights', weights, 1)
        return self.shares @ np.stack([buffer.apply(present) for buffer in self.buffers])
