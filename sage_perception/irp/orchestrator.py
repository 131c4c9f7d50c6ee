# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Shares a budget of compute among plugins and their items, by trust and need."""

from __future__ import annotations

import enum
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from sage_perception.core.latent import HaltReason, Telemetry
from sage_perception.irp.ledger import Ledger, apportion, atp_of, ms_of
from sage_perception.irp.plugin import IRPPlugin
from sage_perception.irp.refinement import Refinement
from sage_perception.irp.watchdog import Worker

GRACE_S = 0.05  # for the step that was under way when the time was up
LEARNING = 0.3  # weight of the newest round in a plugin's trust
MIN_TRUST = 0.05  # what lets a plugin that failed try again
# How well a refinement ended, for the trust in its plugin; what is not here is worth nothing.
CONDUCT = {
    HaltReason.SINGLE_SHOT: 1.0,
    HaltReason.CONVERGED: 1.0,
    HaltReason.BUDGET: 1.0,
    HaltReason.OSCILLATION: 0.5,
}


class Outcome(enum.IntEnum):
    """How a plugin's round ended; the values of `sage_msgs/BudgetShare`'s OUTCOME_ constants."""

    UNKNOWN = 0
    DONE = 1
    FAILED = 2  # it raised
    LATE = 3  # it did not return
    BUSY = 4  # it has not returned from an earlier round, and got nothing
    IDLE = 5  # it got nothing: there was no budget, or no need


@dataclass(frozen=True)
class Work:
    """What one plugin is to refine: inputs of B items, and how much each needs it, [B].

    Needs are of any unit that all work of a round shares, such as error times salience. What is
    negative or not finite needs nothing.
    """

    inputs: Any
    need: Sequence[float]

    def __post_init__(self):
        if len(self.need) != len(self.inputs):
            raise ValueError(f'{len(self.need)} needs for {len(self.inputs)} items')


@dataclass
class Share:
    """What one item was given and took, ATP.

    `extra` was given later, out of what other items left.
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
    """One plugin's part of a round: B best results, None of items that never began."""

    plugin: str
    refinement: Refinement
    shares: list[Share]
    outcome: Outcome = Outcome.IDLE
    fault: str = ''
    outputs: list[Any] = field(default_factory=list)
    telemetry: list[Telemetry] = field(default_factory=list)

    @property
    def budget_limited(self) -> np.ndarray:
        """Return which items more budget would help, bool [B]."""
        if self.outcome == Outcome.IDLE:
            return np.ones(len(self.shares), bool)
        return self.refinement.budget_limited & (self.outcome == Outcome.DONE)


class Orchestrator:
    """Runs plugins one after the other, each within the time that its share pays for.

    An item's share is in proportion to the trust in its plugin times the item's own need. The
    specification weighs by trust alone and also wants low trust to get more; here trust is how
    well a plugin has used what it got, and need is what there is to gain.

    Shares are reserved in the `ledger` before a plugin starts and settled when it ends, however it
    ends. What is left over is shared out once more, among items that only their budget stopped. A
    plugin that raises, or gives nothing finite, loses trust. One that does not return is left
    behind with the best that it had, is charged its whole share, and gets nothing until it has
    returned. None of this touches the shares of others.
    """

    PASSES = 2

    def __init__(self, plugins: Mapping[str, IRPPlugin]):
        self.plugins = dict(plugins)
        self.trust = dict.fromkeys(self.plugins, 1.0)
        self.ledger = Ledger()
        self._workers: dict[str, Worker] = {}

    def run(self, work: Mapping[str, Work], budget: int) -> dict[str, Result]:
        """Refine with `budget` ATP in all; what nobody takes expires.

        Raises `KeyError` for work of a plugin that is not there.
        """
        round_ = [self._begin(name, each) for name, each in work.items()]
        self.ledger.deposit(budget)
        try:
            for number in range(self.PASSES):
                self._share_out(round_, again=number > 0)
        finally:
            self.ledger.expire()
        for part in round_:
            part.outputs = list(part.refinement.outputs)
            part.telemetry = part.refinement.telemetry
            self._judge(part)
        return {part.plugin: part for part in round_}

    def _begin(self, name: str, work: Work) -> Result:
        trust, refinement = self.trust[name], Refinement(self.plugins[name], work.inputs)
        shares = [Share(name, i, trust, float(need)) for i, need in enumerate(work.need)]
        part = Result(name, refinement, shares)
        if name in self._workers and self._workers[name].alive:
            part.outcome = Outcome.BUSY
            part.fault = 'it has not returned from an earlier round'
        return part

    def _share_out(self, round_: Sequence[Result], again: bool) -> None:
        """Reserve a share of what is available for each item that wants one, and have it spent."""
        claims = [(part, i) for part in round_ for i in np.flatnonzero(part.budget_limited)]
        shares = [part.shares[i] for part, i in claims]
        amounts = apportion(self.ledger.available, [s.trust * s.need for s in shares])
        reserved = {
            part.plugin: np.zeros(len(part.shares), int) for part in round_ if len(part.shares)
        }
        for (part, i), amount in zip(claims, amounts, strict=True):
            reserved[part.plugin][i] = amount
        grants = {
            name: [self.ledger.grant(f'{name} {i}', int(a)) for i, a in enumerate(amounts)]
            for name, amounts in reserved.items()
            if amounts.any()
        }
        try:
            for part in round_:
                if part.plugin in grants:
                    self._run(part, grants.pop(part.plugin), again)
        finally:
            for each in grants.values():
                for grant in each:
                    self.ledger.settle(grant, 0)

    def _run(self, part: Result, grants: Sequence, again: bool) -> None:
        """Let one plugin spend its grants, one an item, and settle them."""
        granted = np.array([grant.amount for grant in grants])
        spent = granted  # unless it turns out to be less
        try:
            spent = self._spend(part, granted)
        finally:
            for share, grant, amount in zip(part.shares, grants, spent, strict=True):
                share.spent += grant.amount - self.ledger.settle(grant, int(amount))
                if again:
                    share.extra += grant.amount
                else:
                    share.granted += grant.amount

    def _spend(self, part: Result, granted: np.ndarray) -> np.ndarray:
        """Refine within the time that was granted; return what each item took of it, ATP [B]."""
        refinement, before = part.refinement, part.refinement.spent_s.copy()
        begun = time.perf_counter()
        budget_s = granted.astype(float) / atp_of(1e3)
        worker = Worker(lambda: refinement.run(budget_s), f'irp {part.plugin}')
        self._workers[part.plugin] = worker
        granted_ms = ms_of(int(granted.sum()))
        if not worker.wait(granted_ms / 1e3):
            refinement.stop()
            if not worker.wait(GRACE_S):
                refinement.abandon()
                worker.expire()
                part.outcome = Outcome.LATE
                part.fault = f'it did not return within {granted_ms:g} ms'
                return granted
        part.outcome = Outcome.DONE
        if worker.error is not None:
            part.outcome = Outcome.FAILED
            part.fault = f'{type(worker.error).__name__}: {worker.error}'
            took_s = (time.perf_counter() - begun) * granted / granted.sum()
        else:
            took_s = refinement.spent_s - before
        return np.array([atp_of(ms) for ms in took_s * 1e3])

    def _judge(self, part: Result) -> None:
        """Learn from how a plugin's round ended how far to trust it with the next."""
        if part.outcome in (Outcome.IDLE, Outcome.BUSY):
            return
        ends = [told.halt_reason for told in part.telemetry]
        done = part.outcome == Outcome.DONE
        conduct = float(np.mean([CONDUCT.get(end, 0.0) for end in ends])) if done else 0.0
        trust = self.trust[part.plugin]
        self.trust[part.plugin] = max(trust + LEARNING * (conduct - trust), MIN_TRUST)
