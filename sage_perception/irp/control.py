# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Refines joint commands so that the hand of an arm reaches a position (ControlIRP)."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from sage_perception.core.latent import Telemetry
from sage_perception.irp.plugin import IRPPlugin
from sage_perception.puzzle.kinematics import KUKA_IIWA, SerialChain

MAX_DAMPING, MIN_DAMPING = 1e3, 1e-6
TRUST_SCALE_M = 0.05
"""Distance from the target at which the trust is 0, m."""


@dataclass(frozen=True, eq=False)
class Reaches:
    """B positions to reach, m, `[B, 3]`, and the angles to start from, radians, `[B, J]`."""

    targets: np.ndarray
    angles: np.ndarray

    def __post_init__(self) -> None:
        targets, angles = np.shape(self.targets), np.shape(self.angles)
        if len(targets) != 2 or targets[1] != 3 or len(angles) != 2 or angles[0] != targets[0]:
            raise ValueError(f'targets {targets} and angles {angles} must be [B, 3] and [B, J]')

    def __len__(self) -> int:
        return len(self.targets)


@dataclass(frozen=True, eq=False)
class Posture:
    """Angles, the damping of the next step, and the energies."""

    reaches: Reaches
    angles: np.ndarray
    damping: np.ndarray
    energies: np.ndarray


class ControlIRP(IRPPlugin[Reaches, Posture]):
    """Damped least squares (Levenberg–Marquardt) on the forward kinematics.

    The energy is half the squared distance of the hand from its target, m². A step that would
    raise it is not taken, and increases the damping. Angles stay within their limits.
    """

    max_iterations = 64

    def __init__(self, chain: SerialChain = KUKA_IIWA, tolerance_m: float = 1e-3):
        self.chain = chain
        self.tolerance_m = tolerance_m

    def init_state(self, x: Reaches) -> Posture:
        """Return the state at the angles that were given, within the limits."""
        if x.angles.shape[1] != len(self.chain.joints):
            raise ValueError(f'{x.angles.shape[1]} angles for {len(self.chain.joints)} joints')
        angles = np.asarray(x.angles, float).clip(self.chain.lower, self.chain.upper)
        damping = np.full(len(x), 0.01)
        return Posture(x, angles, damping, self._energies(x.targets, angles))

    def step(self, state: Posture, active: np.ndarray) -> Posture:
        """Return the state after one damped step of the active items."""
        rows = np.flatnonzero(active)
        targets = np.asarray(state.reaches.targets, float)[rows]
        hand, jacobian = self.chain.jacobian(state.angles[rows])
        transposed = jacobian.transpose(0, 2, 1)
        square = jacobian @ transposed + state.damping[rows, None, None] * np.eye(3)
        change = (transposed @ np.linalg.solve(square, (targets - hand)[..., None]))[..., 0]
        new = (state.angles[rows] + change).clip(self.chain.lower, self.chain.upper)
        found = self._energies(targets, new)
        better = found < state.energies[rows]
        angles, damping, energies = (
            each.copy() for each in (state.angles, state.damping, state.energies)
        )
        angles[rows[better]], energies[rows[better]] = new[better], found[better]
        factor = np.where(better, 0.25, 8.0)
        damping[rows] = (damping[rows] * factor).clip(MIN_DAMPING, MAX_DAMPING)
        return replace(state, angles=angles, damping=damping, energies=energies)

    def energy(self, state: Posture) -> np.ndarray:
        """Return half the squared distances, m², `[B]`."""
        return state.energies

    def output(self, state: Posture) -> np.ndarray:
        """Return the angles, radians, `[B, J]`."""
        return state.angles

    def goal(self, state: Posture) -> np.ndarray:
        """Return the energy at the tolerance."""
        return np.full(len(state.energies), self.tolerance_m**2 / 2)

    def describe(
        self, state: Posture, item: int, output: np.ndarray, telemetry: Telemetry
    ) -> Telemetry:
        """Return the telemetry with the trust: 1 at the target, 0 from `TRUST_SCALE_M` on."""
        distance = np.sqrt(2 * min(telemetry.energy_trajectory, default=np.inf))
        trust = np.nan_to_num(1 - distance / TRUST_SCALE_M).clip(0, 1)
        return replace(telemetry, trust=float(trust))

    def _energies(self, targets: np.ndarray, angles: np.ndarray) -> np.ndarray:
        error = np.asarray(targets, float) - self.chain.forward(angles)
        return np.asarray((error**2).sum(1) / 2)
