# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""What a plugin must be able to do to be refined under a budget."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from functools import cached_property
from typing import Any, Generic, TypeVar

import numpy as np

from sage_perception.core.latent import HaltReason, Telemetry
from sage_perception.irp.halting import Halting
from sage_perception.irp.refinement import Cost, Refinement

Inputs = TypeVar('Inputs')
State = TypeVar('State')


class IRPPlugin(ABC, Generic[Inputs, State]):
    """An iterative refinement: a first result, and steps that lower its energy.

    One call works on B items at once, the inputs' `len`, because most networks compute many
    cheaper than one by one; but each item has its own energy, budget and end. What loops, times
    and keeps the best result is `Refinement`: a plugin only says how.

    Attributes
    ----------
    halting : Halting
        Judges the energies; a plugin may bring its own.
    most_iterations : int
        After so many an item ends whatever its budget, at most 256: what a message holds.
    cost : Cost
        What steps took lately; kept by `Refinement`.

    """

    halting = Halting()
    most_iterations = 256

    @cached_property
    def cost(self) -> Cost:
        """Return what steps took lately."""
        return Cost()

    @abstractmethod
    def init_state(self, x: Inputs) -> State:
        """Return the state after the first guess, which counts as the first iteration."""

    @abstractmethod
    def step(self, state: State, active: np.ndarray) -> State:
        """Return the state after one more iteration of the items that are `active`, bool [B]."""

    @abstractmethod
    def energy(self, state: State) -> np.ndarray:
        """Return the energies [B] of the state's results; the lower the better."""

    @abstractmethod
    def output(self, state: State) -> Sequence[Any]:
        """Return the state's results, B of them."""

    def goal(self, state: State) -> np.ndarray:
        """Return the energies [B] from which on items are good enough; as it is, none ever is."""
        return np.full(len(self.energy(state)), -math.inf)

    def halt(self, energies: Sequence[float]) -> HaltReason | None:
        """Return why one item with these energies, oldest first, should stop; None: go on."""
        return self.halting(energies)

    def describe(self, state: State, item: int, output: Any, told: Telemetry) -> Telemetry:
        """Return the telemetry of an item with what only the plugin knows added."""
        return told

    def remember(
        self, state: State, outputs: Sequence[Any], reasons: Sequence[HaltReason | None]
    ) -> None:
        """Take note of the best results and why they ended, for next time; as it is, forget."""

    def refine(
        self, x: Inputs, budget_ms: float | Sequence[float] = math.inf
    ) -> tuple[list[Any], list[Telemetry]]:
        """Return the best results of B items and how they came about.

        `budget_ms` is each item's, or one for all. This runs in the caller's thread: a step that
        does not end is the caller's trouble (`Orchestrator` is who copes with it).
        """
        refinement = Refinement(self, x)
        refinement.run(np.broadcast_to(np.asarray(budget_ms, float), len(x)) / 1e3)
        return refinement.outputs, refinement.telemetry
