# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Resonance: three numbers per slice that determine its weight in a projection."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from sage_perception.zspace.checks import ZSpaceError, finite_array, normalized
from sage_perception.zspace.windows import MAX_DEPTH


@dataclass(frozen=True, eq=False)
class DifferentialResonance:
    """The state of the slices (spec 004, Differential Resonance integration).

    Attributes
    ----------
    infinity_energy : numpy.ndarray
        Strength of each slice, float64 `[N]`; the sign has no effect.
    recursive_objective : numpy.ndarray
        Raises or lowers a weight by the factor 1 + tanh, float64 `[N]`.
    homotopy_flow : numpy.ndarray
        Raises or lowers a weight by the factor 1 + tanh, float64 `[N]`.

    All are finite. A volume of more than N slices repeats them.
    """

    infinity_energy: np.ndarray
    recursive_objective: np.ndarray
    homotopy_flow: np.ndarray

    def __post_init__(self) -> None:
        for name in ('infinity_energy', 'recursive_objective', 'homotopy_flow'):
            values = finite_array(name, getattr(self, name), 1)
            if values.size > MAX_DEPTH:
                raise ZSpaceError(f'{name} has {values.size} values, more than {MAX_DEPTH}')
            object.__setattr__(self, name, values)

    @classmethod
    def uniform(cls, depth: int) -> DifferentialResonance:
        """Return the resonance that gives all of `depth` slices equal weights."""
        return cls(np.ones(depth), np.zeros(depth), np.zeros(depth))

    def weights(self, depth: int) -> np.ndarray:
        """Return the weights of `depth` slices, float64 `[D]` with the sum 1.

        w_i ∝ (abs(energy_i) + 1e-6)·(1 + tanh objective_i)·(1 + tanh homotopy_i), with the index
        modulo the length of each field.
        """
        index = np.arange(depth)
        energy, objective, homotopy = (
            field[index % field.size]
            for field in (self.infinity_energy, self.recursive_objective, self.homotopy_flow)
        )
        # Relative to the largest one: a sum of large energies may overflow.
        energy = abs(energy) + 1e-6
        return normalized(
            energy / energy.max() * (1 + np.tanh(objective)) * (1 + np.tanh(homotopy))
        )
