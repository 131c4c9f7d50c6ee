# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""A halting criterion that predicts the gain of one more step from the gains so far."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from sage_perception.core.latent import HaltReason
from sage_perception.irp.halting import Halting

MIN_GAIN = 1e-6
"""Smallest gain in the features; a step that gains nothing has this one."""


@dataclass(frozen=True)
class LearnedHalting(Halting):
    """Halts when the predicted gain of the next step is below `min_gain`.

    A gain is the decrease of the energy relative to the first one. The prediction is linear in the
    logarithms of the last two gains and of the number of steps. All other reasons to halt are
    those of `Halting`, with its convergence disabled.

    Attributes
    ----------
    coefficients : tuple of float
        Constant, last gain, gain before it, number of steps.
    min_gain : float
        Gain that is less than the cost of a step.

    """

    coefficients: tuple[float, float, float, float] = (0.0, 1.0, 0.0, 0.0)
    min_gain: float = 1e-3
    tolerance: float = 0.0

    def __call__(self, energies: Sequence[float]) -> HaltReason | None:
        """Return the reason to halt after these energies, oldest first, or None to continue."""
        reason = super().__call__(energies)
        if reason is not None and reason != HaltReason.CONVERGED:
            return reason
        if len(energies) < 3:
            return None
        predicted = float(np.exp(features(energies) @ np.array(self.coefficients)))
        return HaltReason.CONVERGED if predicted < self.min_gain else None


def features(energies: Sequence[float]) -> np.ndarray:
    """Return the features of at least three energies, oldest first, float64 `[4]`."""
    first = max(abs(energies[0]), 1e-300)
    gains = [(energies[-i - 1] - energies[-i]) / first for i in (1, 2)]
    last, before = (np.log(max(gain, MIN_GAIN)) for gain in gains)
    return np.array([1.0, last, before, np.log(len(energies))])


def fit(trajectories: Sequence[Sequence[float]]) -> tuple[float, float, float, float]:
    """Return the coefficients that predict the logarithm of the next gain by least squares.

    `trajectories` are the energies of refinements that ran to their end. Raises `ValueError` if no
    trajectory has four energies.
    """
    rows, gains = [], []
    for energies in trajectories:
        for end in range(3, len(energies)):
            first = max(abs(energies[0]), 1e-300)
            gain = (energies[end - 1] - energies[end]) / first
            rows.append(features(energies[:end]))
            gains.append(np.log(max(gain, MIN_GAIN)))
    if not rows:
        raise ValueError('no refinement has four energies, so that nothing can be fitted')
    solution, *_ = np.linalg.lstsq(np.array(rows), np.array(gains), rcond=None)
    constant, last, before, steps = map(float, solution)
    return constant, last, before, steps
