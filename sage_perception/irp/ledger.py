# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""The budget: integers, so that not a unit of it appears or vanishes by rounding."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from threading import Lock

ATP_PER_MS = 100  # one ATP is ten microseconds of one thread


def ms_of(atp: int) -> float:
    """Return the milliseconds that an amount pays for."""
    return atp / ATP_PER_MS


def atp_of(ms: float) -> int:
    """Return the amount that pays for some milliseconds, rounded up."""
    return math.ceil(round(ms * ATP_PER_MS, 6))  # 4.23 ms are 423, and not a hair more


class Overdrawn(ValueError):
    """More was asked for than there is."""


class AlreadySettled(ValueError):
    """A grant was to be settled twice."""


@dataclass(frozen=True, eq=False)
class Grant:
    """An amount that was set aside for one holder, before it begins."""

    holder: str
    amount: int


class Ledger:
    """Conserves a budget: `available` + `reserved` + `spent` + `expired` is what was `deposited`.

    An amount is reserved by `grant`, and each grant is settled exactly once: what was not spent
    of it is available again. Amounts are integers, in ATP. Threads may share a ledger.
    """

    def __init__(self):
        self.deposited = self.available = self.spent = self.expired = 0
        self._open: dict[int, Grant] = {}
        self._lock = Lock()

    @property
    def reserved(self) -> int:
        """Return what open grants hold."""
        return sum(grant.amount for grant in self._open.values())

    def deposit(self, amount: int) -> None:
        """Add to the budget."""
        with self._lock:
            amount = _amount(amount)
            self.deposited += amount
            self.available += amount

    def expire(self) -> int:
        """Give up what is available, as a frame's time that has passed; return how much it was."""
        with self._lock:
            amount, self.available = self.available, 0
            self.expired += amount
            return amount

    def grant(self, holder: str, amount: int) -> Grant:
        """Set an amount aside; raises `Overdrawn` when there is less."""
        with self._lock:
            if _amount(amount) > self.available:
                raise Overdrawn(f'{holder} asks for {amount} ATP of {self.available}')
            self.available -= amount
            grant = Grant(holder, amount)
            self._open[id(grant)] = grant
            return grant

    def settle(self, grant: Grant, spent: int) -> int:
        """Close a grant and return what comes back of it.

        Nobody can spend more than was granted: an overrun is charged as the whole grant. Raises
        `AlreadySettled` the second time.
        """
        with self._lock:
            if self._open.get(id(grant)) is not grant:
                raise AlreadySettled(f'the grant of {grant.amount} ATP to {grant.holder}')
            charged = min(_amount(spent), grant.amount)
            del self._open[id(grant)]
            self.spent += charged
            self.available += grant.amount - charged
            return grant.amount - charged


def _amount(amount: int) -> int:
    if amount < 0 or amount != int(amount):
        raise ValueError(f'an amount of ATP is a whole number from 0, not {amount}')
    return int(amount)


def apportion(total: int, weights: Sequence[float]) -> list[int]:
    """Share `total` out in proportion to weights, in integers whose sum is `total`.

    By the largest remainder (Hamilton's method); of equal remainders the first one gets it. What
    is negative or not finite weighs nothing; where nothing weighs anything, all get nothing.
    """
    sane = [w if math.isfinite(w) and w > 0 else 0.0 for w in weights]
    most = max(sane, default=0.0)
    if not most:
        return [0] * len(sane)
    # In integers too: the products of floats may add up to more than there is.
    exact = [int(math.ldexp(w / most, 40)) for w in sane]
    whole = sum(exact)
    shares = [total * w // whole for w in exact]
    remainders = [total * w % whole for w in exact]
    order = sorted(range(len(sane)), key=lambda i: -remainders[i])
    for i in order[: total - sum(shares)]:
        shares[i] += 1
    return shares
