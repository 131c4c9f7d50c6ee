# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""The steps of a refinement, as the loop in `Refinement` calls them."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from functools import cached_property
from typing import Any, Generic, TypeVar

import numpy as np

from sage_perception.core.latent import HaltReason, Telemetry
from sage_perception.irp.cost import StepCost
from sage_perception.irp.halting import Halting

Inputs = TypeVar('Inputs')
State = TypeVar('State')


class Refinable(ABC, Generic[Inputs, State]):
    """An initial result, and steps that lower its energy.

    All methods work on a batch of B items, B being the `len` of the inputs, because most networks
    process a batch faster than single items. Each item has its own energy, budget and halt reason.

    Attributes
    ----------
    halting : Halting
        The default halting criterion; a subclass may replace it.
    max_iterations : int
        Limit for each item, at most 256: the bound of `sage_msgs/IrpTelemetry`.

    """

    halting: Halting = Halting()
    max_iterations: int = 256

    @cached_property
    def cost(self) -> StepCost:
        """Return the estimate of the time of a step, which `Refinement` updates."""
        return StepCost()

    @abstractmethod
    def init_state(self, x: Inputs) -> State:
        """Return the state after the first guess, which counts as the first iteration."""

    @abstractmethod
    def step(self, state: State, active: np.ndarray) -> State:
        """Return the state after one more iteration of the items in the mask `active`, bool [B].

        The given state must not change: it is kept if the step fails.
        """

    @abstractmethod
    def energy(self, state: State) -> np.ndarray:
        """Return the energies [B] of the state's results; lower is better."""

    @abstractmethod
    def output(self, state: State) -> Sequence[Any] | np.ndarray:
        """Return the state's B results."""

    def goal(self, state: State) -> np.ndarray:
        """Return the energies [B] at which items have converged; the default is −∞: never."""
        return np.full(len(self.energy(state)), -math.inf)

    def halt(self, energies: Sequence[float]) -> HaltReason | None:
        """Return the reason to halt an item with these energies, oldest first, or None."""
        return self.halting(energies)

    def describe(self, state: State, item: int, output: Any, telemetry: Telemetry) -> Telemetry:
        """Return the telemetry of an item, with measurements of the plugin added."""
        return telemetry

    def remember(
        self, state: State, outputs: Sequence[Any], reasons: Sequence[HaltReason | None]
    ) -> None:
        """Store the best results and halt reasons for the next call; the default does nothing."""
