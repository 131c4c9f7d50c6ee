# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""The compute budget. Amounts are integers, so that rounding neither creates nor loses ATP."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from threading import Lock

ATP_PER_MS = 100  # one ATP is ten microseconds of one thread
WEIGHT_BITS = 40  # resolution of the weights in `apportion`


def ms_of(atp: int) -> float:
    """Return an amount of ATP in milliseconds."""
    return atp / ATP_PER_MS


def atp_of(ms: float) -> int:
    """Return milliseconds in ATP, rounded up."""
    return math.ceil(round(ms * ATP_PER_MS, 6))  # 4.23 ms is 423 ATP, in spite of binary rounding


class InsufficientBudget(ValueError):
    """A grant exceeds the available budget."""


class AlreadySettled(ValueError):
    """A grant was settled before."""


@dataclass(frozen=True, eq=False)
class Grant:
    """An amount of ATP reserved for one holder."""

    holder: str
    amount: int


class Ledger:
    """A conserved budget: `available` + `reserved` + `spent` + `expired` = `deposited`.

    `grant` reserves an amount, and `settle` closes the grant exactly once and returns the unspent
    part. Amounts are integers in ATP. A ledger is thread-safe.
    """

    def __init__(self) -> None:
        self.deposited = self.available = self.spent = self.expired = 0
        self._open: dict[int, Grant] = {}
        self._lock = Lock()

    @property
    def reserved(self) -> int:
        """Return the sum of the open grants."""
        return sum(grant.amount for grant in self._open.values())

    def deposit(self, amount: int) -> None:
        """Add an amount. Raises `ValueError` unless it is a non-negative integer."""
        with self._lock:
            amount = _checked(amount)
            self.deposited += amount
            self.available += amount

    def expire(self) -> int:
        """Discard the available amount, such as the rest of a frame's budget; return it."""
        with self._lock:
            amount, self.available = self.available, 0
            self.expired += amount
            return amount

    def grant(self, holder: str, amount: int) -> Grant:
        """Reserve an amount. Raises `InsufficientBudget`, and `ValueError` as `deposit` does."""
        with self._lock:
            if _checked(amount) > self.available:
                raise InsufficientBudget(
                    f'{holder} requests {amount} ATP, but only {self.available} are available'
                )
            self.available -= amount
            grant = Grant(holder, amount)
            self._open[id(grant)] = grant
            return grant

    def settle(self, grant: Grant, spent: int) -> int:
        """Close a grant and return its unspent part.

        An overrun is charged as the whole grant: no holder can spend more than was granted.
        Raises `AlreadySettled` the second time.
        """
        with self._lock:
            if self._open.get(id(grant)) is not grant:
                raise AlreadySettled(
                    f'the grant of {grant.amount} ATP to {grant.holder} is already settled'
                )
            charged = min(_checked(spent), grant.amount)
            del self._open[id(grant)]
            self.spent += charged
            self.available += grant.amount - charged
            return grant.amount - charged


def _checked(amount: int) -> int:
    if amount < 0 or amount != int(amount):
        raise ValueError(f'an amount of ATP must be a non-negative integer, not {amount}')
    return int(amount)


def apportion(total: int, weights: Sequence[float]) -> list[int]:
    """Divide `total` in proportion to weights into integers whose sum is `total`.

    Uses the largest remainder method (Hamilton); of equal remainders the first one is rounded up.
    A weight that is negative or not finite counts as 0. If all weights are 0, all shares are 0.
    """
    valid = [w if math.isfinite(w) and w > 0 else 0.0 for w in weights]
    maximum = max(valid, default=0.0)
    if not maximum:
        return [0] * len(valid)
    # Integer arithmetic: products of floats may add up to more than the total.
    scaled = [int(math.ldexp(w / maximum, WEIGHT_BITS)) for w in valid]
    whole = sum(scaled)
    shares = [total * w // whole for w in scaled]
    remainders = [total * w % whole for w in scaled]
    order = sorted(range(len(valid)), key=lambda i: -remainders[i])
    for i in order[: total - sum(shares)]:
        shares[i] += 1
    return shares
