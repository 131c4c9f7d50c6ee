# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""The budget is conserved, whatever plugins do with it."""

import math
import threading
import time
from contextlib import suppress

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, rule

from sage_perception.core.latent import HaltReason
from sage_perception.irp import IRPPlugin, Orchestrator, Work
from sage_perception.irp.ledger import AlreadySettled, Ledger, Overdrawn, apportion, atp_of, ms_of
from sage_perception.irp.orchestrator import Outcome

weights = st.lists(st.floats(allow_nan=True, allow_infinity=True), max_size=20)


# The ledger


class Accounts(RuleBasedStateMachine):
    """Whatever is done to a ledger, in whatever order, nothing appears and nothing vanishes."""

    def __init__(self):
        super().__init__()
        self.ledger = Ledger()
        self.given = 0
        self.open = {}
        self.spent = 0

    grants = Bundle('grants')
    settled = Bundle('settled')

    @rule(amount=st.integers(0, 10**6))
    def deposit(self, amount):
        self.ledger.deposit(amount)
        self.given += amount

    @rule(target=grants, share=st.floats(0, 1))
    def grant(self, share):
        grant = self.ledger.grant('somebody', int(self.ledger.available * share))
        self.open[id(grant)] = grant
        return grant

    @rule(more=st.integers(1, 10**9))
    def ask_for_too_much(self, more):
        with pytest.raises(Overdrawn):
            self.ledger.grant('somebody', self.ledger.available + more)

    @rule(target=settled, grant=consumes(grants), spent=st.integers(0, 10**7))
    def settle(self, grant, spent):
        back = self.ledger.settle(grant, spent)
        assert back == max(grant.amount - spent, 0)
        self.spent += grant.amount - back
        del self.open[id(grant)]
        return grant

    @rule(grant=settled, spent=st.integers(0, 10))
    def settle_twice(self, grant, spent):
        with pytest.raises(AlreadySettled):
            self.ledger.settle(grant, spent)

    @rule(amount=st.integers(-(10**6), -1) | st.just(0.5))
    def say_nonsense(self, amount):
        for wrong in (self.ledger.deposit, lambda a: self.ledger.grant('somebody', a)):
            with pytest.raises(ValueError, match='whole number'):
                wrong(amount)

    @rule()
    def expire(self):
        available = self.ledger.available
        assert self.ledger.expire() == available

    @invariant()
    def conserved(self):
        ledger = self.ledger
        parts = (ledger.available, ledger.reserved, ledger.spent, ledger.expired)
        assert min(parts) >= 0
        assert sum(parts) == ledger.deposited == self.given
        assert ledger.reserved == sum(grant.amount for grant in self.open.values())
        assert ledger.spent == self.spent


TestAccounts = Accounts.TestCase
TestAccounts.settings = settings(max_examples=40, stateful_step_count=30)


def test_a_grant_is_settled_once_however_many_threads_try():
    ledger = Ledger()
    ledger.deposit(1000)
    for _ in range(50):
        grant, won = ledger.grant('somebody', 10), []

        def settle(grant=grant, won=won):
            with suppress(AlreadySettled):
                won.append(ledger.settle(grant, 3))

        threads = [threading.Thread(target=settle) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert won == [7]
    assert (ledger.spent, ledger.available, ledger.reserved) == (150, 850, 0)


@given(st.integers(0, 10**9), weights)
def test_shares_add_up_to_the_whole_and_follow_the_weights(total, weights):
    shares = apportion(total, weights)
    sane = [w if math.isfinite(w) and w > 0 else 0.0 for w in weights]
    assert sum(shares) == (total if any(sane) else 0)
    most = max(sane, default=0)
    scaled = [w / most if most else 0.0 for w in sane]
    for share, weight in zip(shares, scaled, strict=True):
        exact = total * weight / sum(scaled) if weight else 0
        assert share >= 0
        assert abs(share - exact) <= 1 + 1e-9 * total
        assert weight or not share


@given(st.integers(0, 10**9))
def test_atp_and_milliseconds_are_two_names_of_one_thing(atp):
    assert atp_of(ms_of(atp)) == atp


# Plugins, good and bad


class Halving(IRPPlugin):
    """Halves a number a step; a step takes `step_ms` an item."""

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


class Silent(Halving):
    """Refines, and cannot say how."""

    def describe(self, state, item, output, told):
        raise KeyError('nothing')


class Endless(Halving):
    """Never returns from its second step, as a loop in Python does."""

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
    """Catches even what should end it."""

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


POISON = [Raising, NotFinite, Silent, Endless, Stuck, Stubborn]


def conserved(ledger):
    assert ledger.reserved == ledger.available == 0
    assert ledger.spent + ledger.expired == ledger.deposited


@pytest.mark.parametrize('poison', POISON)
def test_a_poisoned_plugin_costs_its_own_share_only(poison):
    bad, good = poison(), Greedy()
    orchestrator = Orchestrator({'bad': bad, 'good': good})
    work = {'bad': Work([1.0, 1.0], [1, 1]), 'good': Work([4.0, 4.0], [1, 1])}
    first = orchestrator.run(work, atp_of(240))
    conserved(orchestrator.ledger)
    for share in first['bad'].shares:
        assert share.granted == atp_of(60)
        assert share.spent <= share.granted
    assert first['good'].outcome == Outcome.DONE
    assert all(share.granted == atp_of(60) for share in first['good'].shares)
    assert max(first['good'].outputs) < 4
    assert orchestrator.trust['bad'] < orchestrator.trust['good'] == 1
    # The next time others get what it is no longer trusted with.
    second = orchestrator.run(work, atp_of(240))
    conserved(orchestrator.ledger)
    assert all(share.granted > atp_of(60) for share in second['good'].shares)
    if poison in (Stuck, Stubborn):
        assert second['bad'].outcome == Outcome.BUSY
        assert sum(share.granted for share in second['bad'].shares) == 0
        bad.free.set() if poison is Stuck else None
    if poison is Raising:
        assert first['bad'].outcome == Outcome.FAILED
        assert 'SystemExit: no' in first['bad'].fault
    if poison is NotFinite:
        assert {t.halt_reason for t in first['bad'].telemetry} == {HaltReason.NOT_FINITE}


def test_what_an_endless_plugin_had_found_before_is_its_result_and_its_thread_ends():
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


def test_a_plugin_that_returned_after_all_is_asked_again():
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
    conserved(orchestrator.ledger)


def test_what_a_plugin_leaves_is_shared_out_again():
    quick, greedy = Halving(0.01), Greedy(0.5)
    orchestrator = Orchestrator({'quick': quick, 'greedy': greedy})
    work = {'quick': Work([0.0], [3]), 'greedy': Work([1.0], [1])}
    result = orchestrator.run(work, atp_of(100))
    left, taken = result['quick'].shares[0], result['greedy'].shares[0]
    assert left.granted == atp_of(75)
    assert left.extra == 0
    assert taken.granted == atp_of(25)
    assert taken.extra >= left.granted - left.spent
    assert left.spent + taken.spent <= atp_of(100)
    assert result['quick'].telemetry[0].halt_reason == HaltReason.CONVERGED
    conserved(orchestrator.ledger)


def test_need_says_who_gets_more_and_nonsense_gets_nothing():
    orchestrator = Orchestrator({'a': Halving(), 'b': Halving()})
    work = {
        'a': Work([1.0] * 4, [1, 2, math.nan, -1]),
        'b': Work([1.0] * 3, [5, math.inf, 0]),
    }
    result = orchestrator.run(work, 800)
    assert [share.granted for share in result['a'].shares] == [100, 200, 0, 0]
    assert [share.granted for share in result['b'].shares] == [500, 0, 0]
    assert [share.spent for share in result['a'].shares[2:]] == [0, 0]
    empty = orchestrator.run({'a': Work([1.0], [0]), 'b': Work([], [])}, 800)
    assert empty['a'].outcome == empty['b'].outcome == Outcome.IDLE
    conserved(orchestrator.ledger)
    with pytest.raises(ValueError, match='2 needs for 1 items'):
        Work([1.0], [1, 2])


class Whim(Halving):
    """Does in each call what is next on a list."""

    def __init__(self, moods):
        super().__init__(0.0)
        self.moods = moods

    def step(self, state, active):
        mood = self.moods.pop() if self.moods else 'work'
        if mood == 'raise':
            raise RuntimeError('a whim')
        if mood == 'nan':
            return np.full_like(state, np.nan)
        if mood == 'rise':
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
def test_never_is_more_granted_or_spent_than_there_is(plugins, budgets):
    orchestrator = Orchestrator({str(i): Whim(moods) for i, (moods, _) in enumerate(plugins)})
    for budget in budgets:
        work = {str(i): Work([1.0] * len(need), need) for i, (_, need) in enumerate(plugins)}
        results = orchestrator.run(work, budget)
        shares = [share for result in results.values() for share in result.shares]
        granted, spent = (sum(getattr(s, f) for s in shares) for f in ('granted', 'spent'))
        assert granted in (0, budget)
        assert spent <= budget
        assert all(0 <= s.spent <= s.granted + s.extra for s in shares)
        assert sum(s.extra for s in shares) <= granted
        conserved(orchestrator.ledger)
        assert all(0 < trust <= 1 for trust in orchestrator.trust.values())
    assert orchestrator.ledger.deposited == sum(budgets)
