# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Count random schedules of faulty plugins that conserve their budget; called by bench/irp.py."""

from __future__ import annotations

import numpy as np

from sage_perception.irp import IRPPlugin, Orchestrator, Work


class RandomPlugin(IRPPlugin):
    """Chooses at random for each step: work, raise, return NaN, diverge, or never return."""

    def __init__(self, rng: np.random.Generator, probabilities: np.ndarray):
        self.rng, self.probabilities = rng, probabilities

    def init_state(self, x):
        """Return the first energies."""
        return np.ones(len(x))

    def step(self, state, active):
        """Return the next energies, unless the random action is another."""
        action = self.rng.choice(len(self.probabilities), p=self.probabilities)
        if action == 1:
            raise RuntimeError('random')
        if action == 2:
            return np.full(len(state), np.nan)
        if action == 3:
            return state * 5
        while action == 4:
            pass
        return state * self.rng.uniform(0.3, 1, len(state))

    def energy(self, state):
        """Return the energies, which are the state."""
        return state

    output = energy


def schedules(count: int) -> dict:
    """Return in how many of `count` random schedules the budget was conserved."""
    rng = np.random.default_rng(0)
    conserved, ends = 0, {}
    for _ in range(count):
        endless = 0.3 if rng.random() < 0.003 else 0.0
        probabilities = rng.dirichlet((8, 0.5, 0.5, 0.5)) * (1 - endless)
        names = [f'plugin{i}' for i in range(rng.integers(1, 4))]
        orchestrator = Orchestrator(
            {name: RandomPlugin(rng, np.append(probabilities, endless)) for name in names}
        )
        sound, deposited = True, 0
        for _ in range(rng.integers(1, 3)):
            budget = int(rng.integers(0, 60))
            deposited += budget
            work = {}
            for name in names:
                need = rng.exponential(size=rng.integers(0, 5))
                need[rng.random(len(need)) < 0.1] = rng.choice([0.0, -1.0, np.nan, np.inf])
                work[name] = Work(np.zeros(len(need)), list(need))
            results = orchestrator.run(work, budget)
            shares = [share for result in results.values() for share in result.shares]
            ledger = orchestrator.ledger
            granted = sum(share.granted for share in shares)
            sound &= granted <= budget
            sound &= sum(share.extra for share in shares) <= granted
            sound &= sum(share.spent for share in shares) <= budget
            sound &= all(0 <= share.spent <= share.granted + share.extra for share in shares)
            sound &= ledger.available == ledger.reserved == 0
            sound &= ledger.spent + ledger.expired == ledger.deposited == deposited
            for result in results.values():
                ends[result.outcome.name.lower()] = ends.get(result.outcome.name.lower(), 0) + 1
        conserved += bool(sound)
    return {'atp_conserved_schedules': conserved, 'schedules': count, 'outcomes': ends}
