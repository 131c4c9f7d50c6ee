# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Rate limits: a flood costs bounded work and memory, and blocks no honest publisher."""

import pickle

from sage_perception.trust.security.rate_limit import (
    PublisherQuota,
    PublisherRateLimiter,
    TokenBucket,
)


class Clock:
    """A clock that the test advances."""

    now = 0.0

    def __call__(self):
        return self.now


def flood(limiter, publisher, count=1000):
    """Return the number of messages that are read of a publisher whose LCTs are all rejected."""
    read = 0
    for _ in range(count):
        if limiter.admits(publisher):
            read += 1
            limiter.note(publisher, accepted=False)
    return read


def test_many_publishers_share_one_bucket():
    clock = Clock()
    limiter = PublisherRateLimiter(clock)
    read = sum(flood(limiter, bytes([n]), 50) for n in range(100))
    assert read == TokenBucket.BURST
    clock.now += 1.0
    assert flood(limiter, b'another') == TokenBucket.RATE


def test_flood_does_not_limit_an_accepted_publisher():
    limiter = PublisherRateLimiter(Clock())
    limiter.note(b'honest', accepted=True)
    flood(limiter, b'hostile')
    assert limiter.admits(b'honest')
    assert not limiter.admits(b'hostile')
    assert not limiter.admits(b'new'), 'until the shared bucket has a token again'


def test_accepted_publisher_is_limited_too():
    limiter = PublisherRateLimiter(Clock())
    limiter.note(b'honest', accepted=True)
    assert flood(limiter, b'honest') == TokenBucket.BURST


def test_only_the_last_accepted_publishers_are_remembered():
    limiter = PublisherRateLimiter(Clock())
    publishers = [n.to_bytes(2, 'big') for n in range(1000)]
    for publisher in publishers:
        limiter.note(publisher, accepted=True)
    remembered = [publisher for publisher in publishers if limiter.has_accepted(publisher)]
    assert remembered == publishers[-PublisherRateLimiter.MAX_ACCEPTED :]


def read_of(quota, publisher, count=100):
    """Return the number of messages that are read of a publisher."""
    return sum(quota.admits(publisher) for _ in range(count))


def test_quota_of_a_publisher_is_independent_of_the_others():
    clock = Clock()
    quota = PublisherQuota(clock)
    assert read_of(quota, b'hostile') == PublisherQuota.BURST
    assert quota.admits(b'honest')
    clock.now += 10
    assert read_of(quota, b'hostile') == PublisherQuota.RATE * 10
    assert read_of(quota, b'honest') == PublisherQuota.BURST


def test_too_many_publishers_share_one_quota_in_bounded_memory():
    clock = Clock()
    quota = PublisherQuota(clock)
    read = sum(read_of(quota, n.to_bytes(2, 'big')) for n in range(1000))
    assert read == (PublisherQuota.MAX_PUBLISHERS + 1) * PublisherQuota.BURST
    assert len(pickle.dumps(quota)) < PublisherQuota.MAX_PUBLISHERS * 200


def test_silent_publishers_make_room_for_new_ones():
    clock = Clock()
    quota = PublisherQuota(clock)
    for n in range(PublisherQuota.MAX_PUBLISHERS):
        read_of(quota, n.to_bytes(2, 'big'))
    assert read_of(quota, b'first') == read_of(quota, b'shared') + PublisherQuota.BURST
    clock.now += PublisherQuota.BURST / PublisherQuota.RATE
    for name in (b'first', b'second'):
        assert read_of(quota, name) == PublisherQuota.BURST
