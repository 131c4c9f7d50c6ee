# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Token buckets per publisher, which bound the work that one publisher can cause."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable

Clock = Callable[[], float]


class TokenBucket:
    """A token bucket: holds at most `burst` tokens and gains `rate` tokens per second.

    `clock` returns seconds and never goes back.
    """

    RATE, BURST = 50.0, 100.0

    def __init__(
        self, clock: Clock = time.monotonic, rate: float = RATE, burst: float = BURST
    ) -> None:
        self._clock = clock
        self._rate, self._burst = rate, burst
        self._tokens = burst
        self._last = clock()

    def take(self) -> None:
        """Take one token, if there is one."""
        self._refill()
        self._tokens = max(self._tokens - 1, 0.0)

    @property
    def full(self) -> bool:
        """Whether the bucket holds `burst` tokens."""
        self._refill()
        return self._tokens == self._burst

    @property
    def empty(self) -> bool:
        """Whether the bucket holds less than one token."""
        self._refill()
        return self._tokens < 1

    def _refill(self) -> None:
        now = self._clock()
        self._tokens = min(self._tokens + (now - self._last) * self._rate, self._burst)
        self._last = now


class PublisherRateLimiter:
    """Limits the rejected LCTs, or other signed messages, of each publisher on a topic.

    Each rejected one takes a token: an honest publisher has almost none rejected, and a forged
    signature is as expensive to check as a valid one. Each publisher with an accepted LCT has its
    own bucket. All others share one, so that many publishers gain nothing over one, and a flood
    does not affect accepted publishers.

    Publishers are identified by the middleware (`publisher_gid`). If the middleware does not
    provide it, all publishers count as one.
    """

    MAX_ACCEPTED = 16  # publishers with their own bucket

    def __init__(self, clock: Clock = time.monotonic) -> None:
        self._clock = clock
        self._shared = TokenBucket(clock)
        self._accepted: OrderedDict[bytes, TokenBucket] = OrderedDict()

    def admits(self, publisher: bytes) -> bool:
        """Return whether to read a message of `publisher`."""
        return not self._bucket(publisher).empty

    def has_accepted(self, publisher: bytes) -> bool:
        """Return whether an LCT of `publisher` was accepted."""
        return publisher in self._accepted

    def note(self, publisher: bytes, accepted: bool) -> None:
        """Take account of the verdict on one LCT of `publisher`."""
        if not accepted:
            self._bucket(publisher).take()
            return
        if publisher not in self._accepted:
            self._accepted[publisher] = TokenBucket(self._clock)
        self._accepted.move_to_end(publisher)
        if len(self._accepted) > self.MAX_ACCEPTED:
            self._accepted.popitem(last=False)

    def _bucket(self, publisher: bytes) -> TokenBucket:
        return self._accepted.get(publisher, self._shared)


class PublisherQuota:
    """Limits the messages of each publisher on a latched topic, valid or not.

    A latched message is published once, so it must not be dropped because of other publishers:
    each publisher gets its own bucket immediately. Valid messages take a token too, because
    evaluating them is expensive. More than `max_publishers` publishers share one bucket. `rate` is
    in messages per second, `burst` in messages.
    """

    RATE, BURST = 0.2, 8.0
    MAX_PUBLISHERS = 64

    def __init__(
        self,
        clock: Clock = time.monotonic,
        rate: float = RATE,
        burst: float = BURST,
        max_publishers: int = MAX_PUBLISHERS,
    ) -> None:
        self._clock, self._rate, self._burst = clock, rate, burst
        self._max_publishers = max_publishers
        self._buckets: dict[bytes, TokenBucket] = {}
        self._shared = self._new_bucket()

    def admits(self, publisher: bytes) -> bool:
        """Return whether to read a message of `publisher`, and take the token for it."""
        bucket = self._buckets.get(publisher) or self._add(publisher)
        if bucket.empty:
            return False
        bucket.take()
        return True

    def _new_bucket(self) -> TokenBucket:
        return TokenBucket(self._clock, self._rate, self._burst)

    def _add(self, publisher: bytes) -> TokenBucket:
        """Return a bucket for a publisher without one; full buckets of others are dropped."""
        if len(self._buckets) >= self._max_publishers:
            self._buckets = {p: b for p, b in self._buckets.items() if not b.full}
        if len(self._buckets) >= self._max_publishers:
            return self._shared
        return self._buckets.setdefault(publisher, self._new_bucket())
