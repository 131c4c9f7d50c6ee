# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""The refinement loop: it measures time, halts items, and keeps the best result of each."""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from sage_perception.core.latent import HaltReason, Telemetry
from sage_perception.irp.ledger import atp_of
from sage_perception.irp.refinable import Refinable


class Refinement:
    """The refinement of B items; it can be read at any time, and continued with more budget.

    The active items share a step, and each pays its part of the time. An item halts before a step
    that its budget is not expected to cover; `run` with more budget continues it. The first guess
    covers all items, and those with a budget pay for it.

    Attributes
    ----------
    outputs : list
        The best result of each item so far; the first guess if no energy was finite, and None
        before it.
    energies : list[list[float]]
        The energy of each iteration, for each item.
    best : float64 [B]
        The lowest energies; ∞ before a finite one.
    reasons : list[HaltReason | None]
        Why each item halted; None while it is active.
    spent_s : float64 [B]
        Time that each item has paid for, seconds.

    """

    def __init__(
        self,
        plugin: Refinable[Any, Any],
        x: Any,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self._plugin = plugin
        self._x = x
        self._clock = clock
        self._state: Any = None
        self._telemetry: list[Telemetry] = []
        self._stopping = self._abandoned = False
        count = len(x)
        self._budget_s = np.zeros(count)
        self._goal = np.full(count, -math.inf)
        self.outputs: list[Any] = [None] * count
        self.energies: list[list[float]] = [[] for _ in range(count)]
        self.best = np.full(count, math.inf)
        self.reasons: list[HaltReason | None] = [None] * count
        self.spent_s = np.zeros(count)

    def __len__(self) -> int:
        return len(self.outputs)

    @property
    def budget_limited(self) -> np.ndarray:
        """Return the mask of items that halted only for lack of budget, bool [B]."""
        limit = self._plugin.max_iterations
        return np.array(
            [
                reason == HaltReason.BUDGET and len(energies) < limit
                for reason, energies in zip(self.reasons, self.energies, strict=True)
            ],
            bool,
        )

    @property
    def telemetry(self) -> list[Telemetry]:
        """Return the telemetry of each item; `budget_spent` is in ATP.

        Measurements of the plugin are missing if it did not return.
        """
        return self._telemetry or [self._item_telemetry(i) for i in range(len(self))]

    def stop(self) -> None:
        """Make `run` in another thread return after its current step."""
        self._stopping = True

    def abandon(self) -> None:
        """Ignore all further results of `run` in another thread."""
        self._stopping = self._abandoned = True

    def run(self, budget_s: np.ndarray) -> None:
        """Refine with `budget_s` more seconds for each item, [B].

        Raises the exceptions of the plugin.
        """
        self._budget_s = self._budget_s + budget_s
        self._telemetry = []
        self._stopping = self._abandoned
        for i in np.flatnonzero(self.budget_limited):
            self.reasons[i] = None
        if self._state is None and (active := self._affordable()).any():
            start = self._clock()
            state = self._plugin.init_state(self._x)
            self._goal = np.asarray(self._plugin.goal(state), float)
            self._keep(state, np.ones(len(self), bool))
            self._charge(active, start)
        stepped = False
        while self._state is not None and (active := self._affordable()).any():
            start = self._clock()
            self._keep(self._plugin.step(self._state, active), active)
            self._plugin.cost.update(int(active.sum()), self._charge(active, start))
            stepped = True
        if not stepped and self.budget_limited.any():
            self._plugin.cost.decay()
        if self._state is None or self._abandoned:
            return
        self._plugin.remember(self._state, self.outputs, self.reasons)
        telemetry = [
            self._plugin.describe(self._state, i, output, self._item_telemetry(i))
            for i, output in enumerate(self.outputs)
        ]
        if not self._abandoned:
            self._telemetry = telemetry

    def _affordable(self) -> np.ndarray:
        """Return the mask of items that take part in the next step; halt the others."""
        running = np.array([reason is None for reason in self.reasons], bool)
        left_s = self._budget_s - self.spent_s
        # While the cost of a step is unknown, any budget left is enough to try one.
        payers = running & (left_s > 0)
        paying = payers & (left_s >= self._plugin.cost.per_item(int(payers.sum())))
        paying &= not self._stopping
        for i in np.flatnonzero(running & ~paying):
            self.reasons[i] = HaltReason.BUDGET
        return running & paying

    def _keep(self, state: Any, active: np.ndarray) -> None:
        """Keep the results of a step, unless the refinement has been abandoned."""
        energies, outputs = self._plugin.energy(state), self._plugin.output(state)
        if self._abandoned:
            return
        self._state = state
        for i in np.flatnonzero(active):
            energy = float(energies[i])
            self.energies[i].append(energy)
            if energy < self.best[i] or self.outputs[i] is None:
                self.outputs[i] = copy.copy(outputs[int(i)])
            if energy < self.best[i]:
                self.best[i] = energy
            if self.reasons[i] is not None:
                continue
            if energy <= self._goal[i]:
                self.reasons[i] = HaltReason.CONVERGED
            elif reason := self._plugin.halt(self.energies[i]):
                self.reasons[i] = reason
            elif len(self.energies[i]) >= self._plugin.max_iterations:
                self.reasons[i] = HaltReason.BUDGET

    def _charge(self, active: np.ndarray, start: float) -> float:
        """Divide the time since `start` among the active items and return it, seconds."""
        seconds = self._clock() - start
        self.spent_s[active] += seconds / active.sum()
        return seconds

    def _item_telemetry(self, item: int) -> Telemetry:
        energies, reason = self.energies[item], self.reasons[item]
        if not energies:
            return Telemetry(converged=False, halt_reason=HaltReason.BUDGET)
        return Telemetry(
            iterations=len(energies),
            energy_trajectory=tuple(energies),
            converged=reason == HaltReason.CONVERGED,
            halt_reason=reason or HaltReason.BUDGET,  # None if it was abandoned
            time_s=float(self.spent_s[item]),
            budget_spent=float(atp_of(self.spent_s[item] * 1e3)),
        )
