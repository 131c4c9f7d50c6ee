# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""The loop around a plugin: it times, halts, and keeps the best result of every item."""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from sage_perception.core.latent import HaltReason, Telemetry
from sage_perception.irp.ledger import atp_of

if TYPE_CHECKING:
    from sage_perception.irp.plugin import IRPPlugin

CHANGE = 0.3  # weight of the newest step in what a step is expected to take
FADING = 0.95  # of that expectation, when it is why no step was taken: it may be too high


class Cost:
    """What a step can be expected to take, by how many items it is of."""

    def __init__(self):
        self._seconds: dict[int, float] = {}

    def each(self, count: int) -> float:
        """Return what each of `count` items pays, seconds; 0: nothing is known."""
        if not self._seconds:
            return 0.0
        nearest = min(self._seconds, key=lambda known: abs(known - count))
        return self._seconds[nearest] / nearest

    def learn(self, count: int, seconds: float) -> None:
        """Note what a step took."""
        known = self._seconds.get(count, seconds)
        self._seconds[count] = known + CHANGE * (seconds - known)

    def fade(self) -> None:
        """Expect a little less of all steps."""
        self._seconds = {count: FADING * known for count, known in self._seconds.items()}


class Refinement:
    """B items on their way to better results; may be asked for at any time, and resumed.

    A step is shared by the items that are still active, and each pays its part of the time. An
    item stops before a step that its budget is not expected to cover, so that time is paid for
    before it is spent; `run` with more budget goes on where it stopped. The first guess is of all
    items, paid for by those with a budget.

    Attributes
    ----------
    outputs : list
        The best results so far; those of the first guess where no energy was finite, and None
        before it.
    energies : list[list[float]]
        The energies that each item has been through.
    reasons : list[HaltReason | None]
        Why each item stopped; None while it runs.
    spent_s : float64 [B]
        Seconds that each item has paid for.

    """

    def __init__(self, plugin: IRPPlugin, x: Any, clock: Callable[[], float] = time.perf_counter):
        self._plugin = plugin
        self._x = x
        self._clock = clock
        self._state: Any = None
        self._told: list[Telemetry] = []
        self._stopping = self._abandoned = False
        count = len(x)
        self._budget_s = np.zeros(count)
        self._goal = np.full(count, -math.inf)
        self.outputs: list[Any] = [None] * count
        self.energies: list[list[float]] = [[] for _ in range(count)]
        self.best = np.full(count, math.inf)
        self.reasons: list[HaltReason | None] = [None] * count
        self.spent_s = np.zeros(count)

    def __len__(self):
        return len(self.outputs)

    @property
    def budget_limited(self) -> np.ndarray:
        """Return which items only a larger budget would help, bool [B]."""
        most = self._plugin.most_iterations
        return np.array(
            [
                reason == HaltReason.BUDGET and len(energies) < most
                for reason, energies in zip(self.reasons, self.energies, strict=True)
            ],
            bool,
        )

    @property
    def telemetry(self) -> list[Telemetry]:
        """Return what became of each item; `budget_spent` is in ATP.

        What the plugin adds is missing where it did not come to its end.
        """
        return self._told or [self._tell(i) for i in range(len(self))]

    def stop(self) -> None:
        """Have `run`, in another thread, end after the step it is at."""
        self._stopping = True

    def abandon(self) -> None:
        """Change no more, whatever `run` in another thread still does."""
        self._stopping = self._abandoned = True

    def run(self, budget_s: np.ndarray) -> None:
        """Refine with `budget_s` more seconds for each item, [B]; raise what the plugin raises."""
        self._budget_s = self._budget_s + budget_s
        self._told = []
        self._stopping = self._abandoned
        for i in np.flatnonzero(self.budget_limited):
            self.reasons[i] = None
        if self._state is None and (active := self._affordable()).any():
            begun = self._clock()
            state = self._plugin.init_state(self._x)
            self._goal = np.asarray(self._plugin.goal(state), float)
            self._keep(state, np.ones(len(self), bool))
            self._charge(active, begun)
        stepped = False
        while self._state is not None and (active := self._affordable()).any():
            begun = self._clock()
            self._keep(self._plugin.step(self._state, active), active)
            self._plugin.cost.learn(int(active.sum()), self._charge(active, begun))
            stepped = True
        if not stepped and self.budget_limited.any():
            self._plugin.cost.fade()
        if self._state is None or self._abandoned:
            return
        self._plugin.remember(self._state, self.outputs, self.reasons)
        told = [
            self._plugin.describe(self._state, i, output, self._tell(i))
            for i, output in enumerate(self.outputs)
        ]
        if not self._abandoned:
            self._told = told

    def _affordable(self) -> np.ndarray:
        """Return which items take part in the next step, bool [B]; others get their reason."""
        running = np.array([reason is None for reason in self.reasons], bool)
        able = self._budget_s - self.spent_s
        # A step of unknown cost is tried by whoever has anything at all.
        payers = running & (able > 0)
        paid = payers & (able >= self._plugin.cost.each(int(payers.sum()))) & (not self._stopping)
        for i in np.flatnonzero(running & ~paid):
            self.reasons[i] = HaltReason.BUDGET
        return running & paid

    def _keep(self, state: Any, active: np.ndarray) -> None:
        """Keep what a step brought, unless it came too late."""
        energies, outputs = self._plugin.energy(state), self._plugin.output(state)
        if self._abandoned:
            return
        self._state = state
        for i in np.flatnonzero(active):
            energy = float(energies[i])
            self.energies[i].append(energy)
            if energy < self.best[i] or self.outputs[i] is None:
                self.outputs[i] = copy.copy(outputs[i])
            if energy < self.best[i]:
                self.best[i] = energy
            if self.reasons[i] is not None:
                continue
            if energy <= self._goal[i]:
                self.reasons[i] = HaltReason.CONVERGED
            elif reason := self._plugin.halt(self.energies[i]):
                self.reasons[i] = reason
            elif len(self.energies[i]) >= self._plugin.most_iterations:
                self.reasons[i] = HaltReason.BUDGET

    def _charge(self, active: np.ndarray, begun: float) -> float:
        """Have the active items pay for a step; return what it took, seconds."""
        took = self._clock() - begun
        self.spent_s[active] += took / active.sum()
        return took

    def _tell(self, item: int) -> Telemetry:
        energies, reason = self.energies[item], self.reasons[item]
        if not energies:
            return Telemetry(converged=False, halt_reason=HaltReason.BUDGET)
        return Telemetry(
            iterations=len(energies),
            energy_trajectory=tuple(energies),
            converged=reason == HaltReason.CONVERGED,
            halt_reason=reason or HaltReason.BUDGET,  # None: it was abandoned
            time_s=float(self.spent_s[item]),
            budget_spent=float(atp_of(self.spent_s[item] * 1e3)),
        )
