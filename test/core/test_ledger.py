# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""The ledger conserves the budget in any sequence of operations."""

import math
import threading
from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, rule

from sage_perception.irp.ledger import (
    AlreadySettled,
    InsufficientBudget,
    Ledger,
    apportion,
    atp_of,
    ms_of,
)

weights = st.lists(st.floats(allow_nan=True, allow_infinity=True), max_size=20)


class Accounts(RuleBasedStateMachine):
    """Applies random operations to a ledger and checks its balance."""

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
        grant = self.ledger.grant('plugin', int(self.ledger.available * share))
        self.open[id(grant)] = grant
        return grant

    @rule(more=st.integers(1, 10**9))
    def grant_too_much(self, more):
        with pytest.raises(InsufficientBudget):
            self.ledger.grant('plugin', self.ledger.available + more)

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
    def pass_an_invalid_amount(self, amount):
        for wrong in (self.ledger.deposit, lambda a: self.ledger.grant('plugin', a)):
            with pytest.raises(ValueError, match='non-negative integer'):
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


def test_one_of_several_threads_settles_a_grant():
    ledger = Ledger()
    ledger.deposit(1000)
    for _ in range(50):
        grant, won = ledger.grant('plugin', 10), []

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
def test_shares_sum_to_the_total_and_are_proportional(total, weights):
    shares = apportion(total, weights)
    valid = [w if math.isfinite(w) and w > 0 else 0.0 for w in weights]
    assert sum(shares) == (total if any(valid) else 0)
    maximum = max(valid, default=0)
    scaled = [w / maximum if maximum else 0.0 for w in valid]
    for share, weight in zip(shares, scaled, strict=True):
        exact = total * weight / sum(scaled) if weight else 0
        assert share >= 0
        assert abs(share - exact) <= 1 + 1e-9 * total
        assert weight or not share


@given(st.integers(0, 10**9))
def test_atp_and_milliseconds_convert_both_ways(atp):
    assert atp_of(ms_of(atp)) == atp
