# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Sequences: strictly increasing across threads, restarts and changes of the clock."""

import os
import stat
import threading

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sage_perception.trust.security.replay import CLOCK_MARGIN_NS
from sage_perception.trust.security.sequence import (
    MAX_SEQUENCE,
    RESERVED_COUNT,
    RESERVED_NS,
    Counting,
    SequenceCounter,
    sequence_path,
)

SECOND = 10**9
HOUR = 3600 * SECOND
NOW = 1_800_000_000 * SECOND


class Clock:
    """A clock that tests set."""

    def __init__(self, now_ns=NOW):
        self.now_ns = now_ns

    def __call__(self):
        return self.now_ns


def test_sequences_follow_the_clock():
    clock = Clock()
    counter = SequenceCounter(clock=clock)
    assert [counter.next(), counter.next()] == [NOW, NOW + 1]
    clock.now_ns += SECOND
    assert counter.next() == NOW + SECOND
    clock.now_ns -= HOUR
    assert counter.next() == NOW + SECOND + 1


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.tuples(st.integers(-HOUR, HOUR), st.integers(1, 4), st.booleans()),
        min_size=1,
        max_size=12,
    )
)
def test_sequences_increase_across_any_restarts_and_changes_of_the_clock(tmp_path_factory, life):
    path, clock = tmp_path_factory.mktemp('keys') / 'cam0.sequence', Clock()
    counter, last = SequenceCounter(path, clock), -1
    for change_ns, count, restart in life:
        clock.now_ns += change_ns
        if restart:  # as after kill -9: nothing is written at the end
            counter = SequenceCounter(path, clock)
        for _ in range(count):
            sequence = counter.next()
            assert sequence > last
            last = sequence


def test_a_quick_restart_stays_within_the_margin_of_receivers(tmp_path):
    clock, path = Clock(), tmp_path / 'cam0.sequence'
    for _ in range(1000):  # a node that ends right after its start
        sequence = SequenceCounter(path, clock).next()
    assert sequence <= NOW + RESERVED_NS + 1000 * (RESERVED_COUNT + 1) < NOW + CLOCK_MARGIN_NS


def test_file_is_private_and_rarely_written(tmp_path):
    clock, path = Clock(), tmp_path / 'cam0.sequence'
    counter = SequenceCounter(path, clock)
    counter.next()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    written = path.stat().st_ino
    for _ in range(9):
        clock.now_ns += SECOND
        counter.next()
    assert path.stat().st_ino == written
    clock.now_ns += SECOND
    counter.next()
    assert path.stat().st_ino != written
    assert os.listdir(tmp_path) == ['cam0.sequence'], 'no temporary files are left'


@pytest.mark.parametrize('content', ['', 'x', '-1', str(MAX_SEQUENCE), '9' * 10_000, '\0'])
def test_damaged_file_is_written_again(tmp_path, content):
    path = tmp_path / 'cam0.sequence'
    path.write_text(content)
    counter = SequenceCounter(path, Clock())
    assert f'{path} is not a sequence' in counter.fault
    assert counter.next() == NOW
    assert SequenceCounter(path, Clock(NOW - HOUR)).next() > NOW


def test_folder_that_cannot_be_written_is_reported_and_sequences_go_on(tmp_path):
    path = tmp_path / 'file' / 'cam0.sequence'
    (tmp_path / 'file').write_text('')
    counter = SequenceCounter(path, Clock())
    assert [counter.next(), counter.next()] == [NOW, NOW + 1]
    assert str(path) in counter.fault


def test_sequence_file_is_beside_the_key(tmp_path):
    assert sequence_path(tmp_path, 'robot1/cam0') == tmp_path / 'robot1%2Fcam0.sequence'


@pytest.mark.parametrize('counter', [SequenceCounter(), Counting(1)])
def test_threads_never_get_the_same_sequence(counter):
    found = []
    threads = [
        threading.Thread(target=lambda: found.extend(counter.next() for _ in range(2000)))
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(found)) == 8000
