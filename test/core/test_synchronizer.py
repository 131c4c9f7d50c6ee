# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Pairing of two streams by stamp, and synchronization of several cameras."""

import weakref

from hypothesis import given
from hypothesis import strategies as st

from sage_perception.trust.fusion.synchronizer import (
    FrameSynchronizer,
    Partner,
    StampPair,
    StampPairing,
)

END = 10**15


@st.composite
def two_streams(draw):
    """Return stamps of two increasing streams, in an order in which they arrive."""
    stamps = st.lists(st.integers(1, 10_000), unique=True, max_size=20).map(sorted)
    primary, other = draw(stamps), draw(stamps)
    turns = draw(st.permutations([True] * len(primary) + [False] * len(other)))
    rest = {True: iter(primary), False: iter(other)}
    return [(next(rest[turn]), turn) for turn in turns]


def add(pairing, stamp, item, primary):
    return (pairing.add_primary if primary else pairing.add_other)(stamp, item)


def feed(pairing, arrivals):
    """Add items that are their own stamps; return all pairs, those that time out included."""
    pairs = []
    for stamp, primary in arrivals:
        pairs += add(pairing, stamp, stamp, primary)
    return pairs + pairing.expire(END)


@given(two_streams(), st.integers(0, 300), st.integers(0, 3000))
def test_returns_each_primary_item_once_in_order_with_a_partner_within_slop(
    arrivals, slop, timeout
):
    # An item that is later than the timeout counts as a jump, which another test covers.
    newest = {True: 0, False: 0}
    kept = []
    for stamp, primary in arrivals:
        if stamp >= max(newest.values()) - timeout:
            kept.append((stamp, primary))
            newest[primary] = stamp
    pairs = feed(StampPairing(slop, timeout), kept)
    assert [pair.item for pair in pairs] == [stamp for stamp, primary in kept if primary]
    partners = [pair.partner for pair in pairs if pair.partner is not None]
    assert len(set(partners)) == len(partners)
    assert set(partners) <= {stamp for stamp, primary in kept if not primary}
    for pair in pairs:
        assert pair.delta_ns == (0 if pair.partner is None else pair.partner - pair.item)
        assert abs(pair.delta_ns) <= slop


@given(two_streams(), st.integers(0, 300), st.integers(0, 3000))
def test_loses_and_repeats_no_item_whatever_the_stamps(arrivals, slop, timeout):
    stamps = [(stamp, primary) for stamp, primary in reversed(arrivals)]
    pairs = feed(StampPairing(slop, timeout), stamps)
    assert [pair.item for pair in pairs] == [stamp for stamp, primary in stamps if primary]


@given(
    st.integers(20, 60),
    st.integers(0, 15),
    st.lists(st.integers(-2, 2), min_size=12, max_size=12),
    st.randoms(use_true_random=False),
)
def test_pairs_synchronous_cameras_frame_by_frame_in_any_order(period, offset, jitter, random):
    slop = offset + 4
    primary = [1000 + n * period for n in range(12)]
    other = [stamp + offset + j for stamp, j in zip(primary, jitter, strict=True)]
    arrivals = []
    for both in zip(primary, other, strict=True):
        moment = list(zip(both, (True, False), strict=True))
        random.shuffle(moment)
        arrivals += moment
    pairs = feed(StampPairing(slop, 10 * period), arrivals)
    if slop < period - slop:
        expected = list(zip(primary, other, strict=True))
        assert [(pair.item, pair.partner) for pair in pairs] == expected


def test_returns_a_pair_as_soon_as_no_nearer_partner_is_possible():
    pairing = StampPairing(slop_ns=20, timeout_ns=1000)
    assert pairing.add_primary(100, 'p') == []
    assert pairing.add_other(100, 'o') == [StampPair('p', 'o', 0)]


def test_returns_a_primary_item_alone_after_the_timeout():
    pairing = StampPairing(slop_ns=20, timeout_ns=150)
    assert pairing.add_primary(1000, 'p') == []
    assert pairing.expire(1149) == []
    assert pairing.expire(1150) == [StampPair('p', None, 0)]
    assert pairing.add_other(1000, 'late') == []
    assert pairing.expire(END) == []


def test_stamps_of_either_stream_advance_the_time():
    pairing = StampPairing(slop_ns=20, timeout_ns=150)
    assert pairing.add_primary(1000, 'p') == []
    assert pairing.add_other(1021, 'too late') == [StampPair('p', None, 0)]
    assert pairing.add_primary(2000, 'q') == []
    assert pairing.add_primary(2150, 'r') == [StampPair('q', None, 0)]


def test_a_jump_back_resets_both_streams():
    pairing = StampPairing(slop_ns=20, timeout_ns=150)
    for stamp in range(5000, 5200, 33):
        pairing.add_primary(stamp, stamp)
        pairing.add_other(stamp, stamp)
    assert pairing.add_primary(5231, 'waiting') == []
    assert pairing.add_primary(100, 'p') == [StampPair('waiting', None, 0)]
    pairs = pairing.add_other(103, 'o') + pairing.add_other(140, 'o2')
    assert pairs == [StampPair('p', 'o', 3)]


def test_drops_items_of_the_other_stream_without_a_primary_stream():
    class Item:
        pass

    alive = weakref.WeakSet()
    pairing = StampPairing(slop_ns=20, timeout_ns=150)
    for stamp in range(1000, 100_000, 33):
        item = Item()
        alive.add(item)
        assert pairing.add_other(stamp, item) == []
    assert len(alive) < 10


@given(two_streams(), two_streams(), st.integers(0, 300), st.integers(0, 3000))
def test_synchronizes_each_camera_with_the_primary_one_independently(one, two, slop, timeout):
    arrivals = [(stamp, 'b') for stamp, primary in one if not primary]
    arrivals += [(stamp, 'c') for stamp, primary in two if not primary]
    arrivals += [(stamp, 'a') for stamp, primary in one if primary]
    arrivals.sort()
    synchronizer = FrameSynchronizer(('a', 'b', 'c'), slop, timeout)
    complete = []
    for stamp, camera in arrivals:
        complete += synchronizer.add(camera, stamp, (camera, stamp))
    complete += synchronizer.expire(END)
    assert [item for item, _ in complete] == [('a', s) for s, camera in arrivals if camera == 'a']
    for other in 'bc':
        pairs = feed(
            StampPairing(slop, timeout),
            [(s, camera == 'a') for s, camera in arrivals if camera in ('a', other)],
        )
        expected = {pair.item: (pair.partner, pair.delta_ns) for pair in pairs if pair.partner}
        found = {
            item[1]: (partners[other].item[1], partners[other].delta_ns)
            for item, partners in complete
            if other in partners
        }
        assert found == expected


def test_a_single_camera_is_complete_immediately():
    assert FrameSynchronizer(('a',), 20, 150).add('a', 100, 'frame') == [('frame', {})]


def test_a_silent_camera_does_not_keep_the_others_apart():
    synchronizer = FrameSynchronizer(('a', 'b', 'c'), 20, 150)
    assert synchronizer.add('a', 1000, 'x') == []
    assert synchronizer.add('b', 1000, 'y') == []
    assert synchronizer.expire(1150) == [('x', {'b': Partner('y', 0)})]
