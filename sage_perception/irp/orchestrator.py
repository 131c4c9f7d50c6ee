# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Distribution of a compute budget among plugins and their items, by trust and need."""

from __future__ import annotations

import enum
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from sage_perception.core.latent import HaltReason, Telemetry
from sage_perception.irp.ledger import Grant, Ledger, apportion, atp_of, ms_of
from sage_perception.irp.plugin import IRPPlugin
from sage_perception.irp.refinement import Refinement
from sage_perception.irp.watchdog import WatchedCall

GRACE_S = 0.05  # for the step that runs when the time limit is reached
NEW_WEIGHT = 0.3  # of the newest round in the trust of a plugin
MIN_TRUST = 0.05  # so that a plugin that failed still gets a small share
# Contribution of an item to the trust of its plugin; 0 for other reasons.
SCORES = {
    HaltReason.SINGLE_SHOT: 1.0,
    HaltReason.CONVERGED: 1.0,
    HaltReason.BUDGET: 1.0,
    HaltReason.OSCILLATION: 0.5,
}


class Outcome(enum.IntEnum):
    """How a round of a plugin ended; the OUTCOME_ constants of `sage_msgs/BudgetShare`."""

    UNKNOWN = 0
    DONE = 1
    FAILED = 2  # it raised an exception
    LATE = 3  # it did not return in time
    BUSY = 4  # an earlier round has not returned, so it got no budget
    IDLE = 5  # it got no budget, because there was none or no need


@dataclass(frozen=True)
class Work:
    """The items that a plugin refines, and the need of each, [B].

    Needs are relative to each other among all plugins of a round, for example error times
    salience. A need that is negative or not finite counts as 0. Raises `ValueError` unless there
    is one need for each item.
    """

    inputs: Any
    need: Sequence[float]

    def __post_init__(self) -> None:
        if len(self.need) != len(self.inputs):
            raise ValueError(f'{len(self.need)} needs for {len(self.inputs)} items')


@dataclass
class Share:
    """The budget of one item, ATP.

    `granted` is its share of the first pass, `extra` that of later passes.
    """

    plugin: str
    item: int
    trust: float
    need: float
    granted: int = 0
    extra: int = 0
    spent: int = 0


@dataclass
class Result:
    """The result of a plugin in a round.

    `outputs` has the best result of each item, None for an item that did not start. `fault` is the
    reason why the plugin did not finish, or ''.
    """

    plugin: str
    refinement: Refinement
    shares: list[Share]
    outcome: Outcome = Outcome.IDLE
    fault: str = ''
    outputs: list[Any] = field(default_factory=list)
    telemetry: list[Telemetry] = field(default_factory=list)

    @property
    def budget_limited(self) -> np.ndarray:
        """Return the mask of items that more budget can improve, bool [B]."""
        if self.outcome == Outcome.IDLE:
            return np.ones(len(self.shares), bool)
        return self.refinement.budget_limited & (self.outcome == Outcome.DONE)


class Orchestrator:
    """Runs plugins in sequence, each for the time of its share of the budget.

    The share of an item is proportional to the trust in its plugin times the need of the item. The
    specification weights by trust alone and also gives low trust more budget; here trust measures
    how well a plugin used its past budget, and need the expected gain.

    Shares are reserved in the `ledger` before a plugin starts and settled when it ends for any
    reason. The rest is distributed again among items that halted for lack of budget. A plugin
    that raises or returns no finite energy loses trust. The results of a plugin that does not
    return in time are its best ones so far; it is charged its whole share and gets no budget until
    it has returned. None of this affects the shares of other plugins.
    """

    PASSES = 2

    def __init__(self, plugins: Mapping[str, IRPPlugin[Any, Any]]) -> None:
        self.plugins = dict(plugins)
        self.trust = dict.fromkeys(self.plugins, 1.0)
        self.ledger = Ledger()
        self._calls: dict[str, WatchedCall] = {}

    def run(self, work: Mapping[str, Work], budget: int) -> dict[str, Result]:
        """Refine within `budget` ATP in total; the unspent rest expires.

        Takes at most the budget plus `GRACE_S` for each late plugin. Raises `KeyError` for work of
        an unknown plugin.
        """
        results = [self._begin(name, each) for name, each in work.items()]
        self.ledger.deposit(budget)
        try:
            for number in range(self.PASSES):
                self._run_pass(results, first=number == 0)
        finally:
            self.ledger.expire()
        for result in results:
            result.outputs = list(result.refinement.outputs)
            result.telemetry = result.refinement.telemetry
            self._update_trust(result)
        return {result.plugin: result for result in results}

    def _begin(self, name: str, work: Work) -> Result:
        trust, refinement = self.trust[name], Refinement(self.plugins[name], work.inputs)
        shares = [Share(name, i, trust, float(need)) for i, need in enumerate(work.need)]
        result = Result(name, refinement, shares)
        if name in self._calls and self._calls[name].alive:
            result.outcome = Outcome.BUSY
            result.fault = 'an earlier round has not returned'
        return result

    def _run_pass(self, results: Sequence[Result], first: bool) -> None:
        """Reserve a share of the available budget for each limited item, and run the plugins."""
        limited = [
            (result, i) for result in results for i in np.flatnonzero(result.budget_limited)
        ]
        shares = [result.shares[i] for result, i in limited]
        amounts = apportion(self.ledger.available, [s.trust * s.need for s in shares])
        reserved = {
            result.plugin: np.zeros(len(result.shares), int) for result in results if result.shares
        }
        for (result, i), amount in zip(limited, amounts, strict=True):
            reserved[result.plugin][i] = amount
        grants = {
            name: [self.ledger.grant(f'{name} {i}', int(a)) for i, a in enumerate(own)]
            for name, own in reserved.items()
            if own.any()
        }
        try:
            for result in results:
                if result.plugin in grants:
                    self._run_plugin(result, grants.pop(result.plugin), first)
        finally:
            for each in grants.values():
                for grant in each:
                    self.ledger.settle(grant, 0)

    def _run_plugin(self, result: Result, grants: Sequence[Grant], first: bool) -> None:
        """Run one plugin with a grant for each item, and settle the grants."""
        granted = np.array([grant.amount for grant in grants])
        spent = granted  # unless the plugin returns
        try:
            spent = self._refine(result, granted)
        finally:
            for share, grant, amount in zip(result.shares, grants, spent, strict=True):
                share.spent += grant.amount - self.ledger.settle(grant, int(amount))
                if first:
                    share.granted += grant.amount
                else:
                    share.extra += grant.amount

    def _refine(self, result: Result, granted: np.ndarray) -> np.ndarray:
        """Refine within the granted time; return the ATP that each item spent, [B]."""
        refinement, before = result.refinement, result.refinement.spent_s.copy()
        start = time.perf_counter()
        budget_s = granted.astype(float) / atp_of(1e3)
        call = WatchedCall(lambda: refinement.run(budget_s), f'irp {result.plugin}')
        self._calls[result.plugin] = call
        granted_ms = ms_of(int(granted.sum()))
        if not call.wait(granted_ms / 1e3):
            refinement.stop()
            if not call.wait(GRACE_S):
                refinement.abandon()
                call.expire()
                result.outcome = Outcome.LATE
                result.fault = f'it did not return within {granted_ms:g} ms'
                return granted
        result.outcome = Outcome.DONE
        if call.error is not None:
            result.outcome = Outcome.FAILED
            result.fault = f'{type(call.error).__name__}: {call.error}'
            spent_s = (time.perf_counter() - start) * granted / granted.sum()
        else:
            spent_s = refinement.spent_s - before
        return np.array([atp_of(ms) for ms in spent_s * 1e3])

    def _update_trust(self, result: Result) -> None:
        """Update the trust in a plugin by how its items ended."""
        if result.outcome in (Outcome.IDLE, Outcome.BUSY):
            return
        score = 0.0
        if result.outcome == Outcome.DONE:
            reasons = [telemetry.halt_reason for telemetry in result.telemetry]
            score = float(np.mean([SCORES.get(reason, 0.0) for reason in reasons]))
        trust = self.trust[result.plugin]
        self.trust[result.plugin] = max(trust + NEW_WEIGHT * (score - trust), MIN_TRUST)
