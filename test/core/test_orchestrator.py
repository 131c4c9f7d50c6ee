# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""The orchestrator: a faulty plugin costs only its own share, and the budget is conserved."""

import math
import threading
import time
from contextlib import suppress

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sage_perception.core.latent import HaltReason
from sage_perception.irp import IRPPlugin, Orchestrator, Work
from sage_perception.irp.ledger import atp_of
from sage_perception.irp.orchestrator import Outcome


class Halving(IRPPlugin):
    """Halves a number in each step, which takes `step_ms` for each item."""

    def __init__(self, step_ms=0.1):
        self.step_ms = step_ms

    def init_state(self, x):
        time.sleep(self.step_ms * len(x) / 1e3)
        return np.array(x, float)

    def step(self, state, active):
        time.sleep(self.step_ms * active.sum() / 1e3)
        return np.where(active, state / 2, state)

    def energy(self, state):
        return state

    def output(self, state):
        return state


class Raising(Halving):
    def step(self, state, active):
        raise SystemExit('no')


class NotFinite(Halving):
    def energy(self, state):
        return np.full(len(state), np.nan)


class FailsAtEnd(Halving):
    """Raises when its telemetry is requested."""

    def describe(self, state, item, output, telemetry):
        raise KeyError('nothing')


class Endless(Halving):
    """Never returns from its second step: a loop in Python."""

    def step(self, state, active):
        if (state < 1).any():
            while True:
                pass
        return super().step(state, active)


class Stuck(Halving):
    """Never returns from a call into C, until `free` is set."""

    def __init__(self):
        super().__init__()
        self.free = threading.Event()

    def step(self, state, active):
        while not self.free.wait(10):
            pass
        return state


class Stubborn(Halving):
    """Catches the exception that should end it."""

    def __init__(self):
        super().__init__()
        self.ends = time.monotonic() + 1.5

    def step(self, state, active):
        while time.monotonic() < self.ends:
            with suppress(BaseException):
                time.sleep(0.01)
        return state


class Greedy(Halving):
    """Never converges."""

    def halt(self, energies):
        return None


def assert_conserved(ledger):
    assert ledger.reserved == ledger.available == 0
    assert ledger.spent + ledger.expired == ledger.deposited


class Rounds:
    """Two rounds of a faulty and a greedy plugin, with equal work and 240 ms each."""

    def __init__(self, faulty):
        self.faulty = faulty
        self.orchestrator = Orchestrator({'faulty': faulty, 'greedy': Greedy()})
        work = {'faulty': Work([1.0, 1.0], [1, 1]), 'greedy': Work([4.0, 4.0], [1, 1])}
        self.rounds = []
        for _ in range(2):
            self.rounds.append(self.orchestrator.run(work, atp_of(240)))
            assert_conserved(self.orchestrator.ledger)


FAULTY = [Raising, NotFinite, FailsAtEnd, Endless, Stuck, Stubborn]


@pytest.mark.parametrize('faulty', FAULTY)
def test_a_faulty_plugin_costs_only_its_own_share(faulty):
    played = Rounds(faulty())
    first, second = played.rounds
    for share in first['faulty'].shares:
        assert share.granted == atp_of(60)
        assert share.spent <= share.granted
    assert first['greedy'].outcome == Outcome.DONE
    assert all(share.granted == atp_of(60) for share in first['greedy'].shares)
    assert max(first['greedy'].outputs) < 4
    trust = played.orchestrator.trust
    assert trust['faulty'] < trust['greedy'] == 1
    # In the next round the trusted plugin gets more.
    assert all(share.granted > atp_of(60) for share in second['greedy'].shares)
    if faulty is Stuck:
        played.faulty.free.set()


@pytest.mark.parametrize('faulty', [Stuck, Stubborn])
def test_a_plugin_that_has_not_returned_gets_no_budget(faulty):
    plugin = faulty()
    result = Rounds(plugin).rounds[1]['faulty']
    assert result.outcome == Outcome.BUSY
    assert sum(share.granted for share in result.shares) == 0
    if faulty is Stuck:
        plugin.free.set()


def test_a_raising_plugin_fails_with_the_text_of_its_exception():
    result = Rounds(Raising()).rounds[0]['faulty']
    assert result.outcome == Outcome.FAILED
    assert 'SystemExit: no' in result.fault


def test_items_without_a_finite_energy_halt():
    result = Rounds(NotFinite()).rounds[0]['faulty']
    assert {each.halt_reason for each in result.telemetry} == {HaltReason.NOT_FINITE}


def test_an_endless_plugin_yields_its_best_result_and_its_thread_ends():
    orchestrator = Orchestrator({'endless': Endless()})
    before = threading.active_count()
    result = orchestrator.run({'endless': Work([1.0], [1])}, atp_of(100))['endless']
    assert result.outcome == Outcome.LATE
    assert result.outputs == [0.5]
    assert result.shares[0].spent == result.shares[0].granted == atp_of(100)
    assert 'did not return within 100 ms' in result.fault
    deadline = time.monotonic() + 10
    while threading.active_count() > before and time.monotonic() < deadline:
        time.sleep(0.01)
    assert threading.active_count() == before


def test_a_late_plugin_runs_again_after_it_has_returned():
    stuck = Stuck()
    orchestrator = Orchestrator({'stuck': stuck})
    work = {'stuck': Work([1.0], [1])}
    assert orchestrator.run(work, atp_of(100))['stuck'].outcome == Outcome.LATE
    assert orchestrator.run(work, atp_of(100))['stuck'].outcome == Outcome.BUSY
    stuck.free.set()
    deadline = time.monotonic() + 10
    outcome = Outcome.BUSY
    while outcome == Outcome.BUSY and time.monotonic() < deadline:
        outcome = orchestrator.run(work, atp_of(100))['stuck'].outcome
    assert outcome == Outcome.DONE
    assert_conserved(orchestrator.ledger)


def test_the_unspent_budget_of_a_plugin_goes_to_limited_items():
    quick, greedy = Halving(0.01), Greedy(0.5)
    orchestrator = Orchestrator({'quick': quick, 'greedy': greedy})
    work = {'quick': Work([0.0], [3]), 'greedy': Work([1.0], [1])}
    result = orchestrator.run(work, atp_of(100))
    giving, taking = result['quick'].shares[0], result['greedy'].shares[0]
    assert giving.granted == atp_of(75)
    assert giving.extra == 0
    assert taking.granted == atp_of(25)
    assert taking.extra >= giving.granted - giving.spent
    assert giving.spent + taking.spent <= atp_of(100)
    assert result['quick'].telemetry[0].halt_reason == HaltReason.CONVERGED
    assert_conserved(orchestrator.ledger)


def test_shares_are_proportional_to_valid_needs():
    orchestrator = Orchestrator({'a': Halving(), 'b': Halving()})
    work = {
        'a': Work([1.0] * 4, [1, 2, math.nan, -1]),
        'b': Work([1.0] * 3, [5, math.inf, 0]),
    }
    result = orchestrator.run(work, 800)
    assert [share.granted for share in result['a'].shares] == [100, 200, 0, 0]
    assert [share.granted for share in result['b'].shares] == [500, 0, 0]
    assert [share.spent for share in result['a'].shares[2:]] == [0, 0]
    assert_conserved(orchestrator.ledger)


def test_a_plugin_without_need_or_items_is_idle():
    orchestrator = Orchestrator({'a': Halving(), 'b': Halving()})
    result = orchestrator.run({'a': Work([1.0], [0]), 'b': Work([], [])}, 800)
    assert result['a'].outcome == result['b'].outcome == Outcome.IDLE
    assert_conserved(orchestrator.ledger)


def test_rejects_work_without_a_need_for_each_item():
    with pytest.raises(ValueError, match='2 needs for 1 items'):
        Work([1.0], [1, 2])


class Scripted(Halving):
    """Does in each step what is next on a list."""

    def __init__(self, actions):
        super().__init__(0.0)
        self.actions = actions

    def step(self, state, active):
        action = self.actions.pop() if self.actions else 'work'
        if action == 'raise':
            raise RuntimeError('scripted')
        if action == 'nan':
            return np.full_like(state, np.nan)
        if action == 'rise':
            return state * 3
        return super().step(state, active)


@settings(max_examples=60)
@given(
    st.lists(
        st.tuples(
            st.lists(st.sampled_from(['work', 'raise', 'nan', 'rise']), max_size=6),
            st.lists(st.floats(0, 1e6), max_size=6),
        ),
        min_size=1,
        max_size=4,
    ),
    st.lists(st.integers(0, 500), min_size=1, max_size=3),
)
def test_never_grants_or_spends_more_than_the_budget(plugins, budgets):
    orchestrator = Orchestrator(
        {str(i): Scripted(actions) for i, (actions, _) in enumerate(plugins)}
    )
    for budget in budgets:
        work = {str(i): Work([1.0] * len(need), need) for i, (_, need) in enumerate(plugins)}
        results = orchestrator.run(work, budget)
        shares = [share for result in results.values() for share in result.shares]
        granted, spent = (sum(getattr(s, f) for s in shares) for f in ('granted', 'spent'))
        assert granted in (0, budget)
        assert spent <= budget
        assert all(0 <= s.spent <= s.granted + s.extra for s in shares)
        assert sum(s.extra for s in shares) <= granted
        assert_conserved(orchestrator.ledger)
        assert all(0 < trust <= 1 for trust in orchestrator.trust.values())
    assert orchestrator.ledger.deposited == sum(budgets)
