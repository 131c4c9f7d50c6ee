# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""A memory session: it survives a failing store and damaged rows, and logs each once."""

import math
from dataclasses import replace

import pytest
from memories import OTHER, SPACE, START, lct, memory_record, numbers, overwrite

from sage_perception.memory import Query, StoreError, open_store
from sage_perception.memory import session as session_module
from sage_perception.memory.session import MemorySession, SessionConfig


class Log:
    """Collects the log lines of a session as (level, text)."""

    def __init__(self):
        self.lines = []

    def info(self, message):
        self.lines.append(('info', message))

    def warning(self, message):
        self.lines.append(('warning', message))

    def error(self, message):
        self.lines.append(('error', message))


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


class FailingStore:
    """A store that fails while `broken` is set, as on a full disk."""

    def __init__(self, store):
        self._store = store
        self.broken = False

    def __getattr__(self, name):
        if self.broken and name in ('commit', 'add', 'find', 'novelty', 'nearest', 'forget'):
            raise StoreError(f'{self._store}: disk full')
        return getattr(self._store, name)

    def __str__(self):
        return str(self._store)


class Setup:
    """A session on a store that can be made to fail, and to refuse to open again."""

    def __init__(self, tmp_path, monkeypatch):
        self.path = tmp_path / 'memory.db'
        self.log, self.clock = Log(), Clock()
        self.opens = True
        self.stores = []
        monkeypatch.setattr(session_module, 'open_store', self.open)
        config = SessionConfig(self.path, threshold=0.0, min_novelty=0.0)
        self.session = MemorySession(config, SPACE, self.log, self.clock)

    def open(self, *args, **options):
        if not self.opens:
            raise StoreError('no space left')
        self.stores.append(FailingStore(open_store(*args, **options)))
        return self.stores[-1]

    def break_store(self):
        self.stores[-1].broken = True
        self.opens = False


@pytest.fixture
def setup(tmp_path, monkeypatch):
    setup = Setup(tmp_path, monkeypatch)
    yield setup
    setup.session.close()


def test_counts_observed_and_stored_lcts(setup):
    session = setup.session
    observations = session.observe([lct(1), lct(2), lct(3, model=OTHER)])
    assert [each.stored for each in observations] == [True, True, False]
    session.maintain()
    assert session.counts == {'observed': 3, 'stored': 2, 'forgotten': 0, 'recalled': 0}
    assert session.records == 2
    assert session.size_bytes > 0
    assert session.forget(Query(entity='cam0')) == 2
    assert session.counts['forgotten'] == 2


def test_raises_if_the_store_cannot_be_opened_at_the_start(tmp_path):
    (tmp_path / 'memory.db').mkdir()
    with pytest.raises(StoreError, match=r'memory\.db'):
        MemorySession(SessionConfig(tmp_path / 'memory.db'), SPACE, Log())


def test_drops_observations_and_rejects_requests_while_the_store_fails(setup):
    session = setup.session
    setup.break_store()
    assert session.observe([lct(1)]) is None
    assert session.fault == f'{setup.path}: disk full'
    assert session.recall([lct(1)], START, 1) is None
    session.reward(1.0, START)
    for request in (
        lambda: session.find(Query()),
        lambda: session.remember(lct(1)),
        lambda: session.forget(Query()),
    ):
        with pytest.raises(StoreError, match='disk full'):
            request()
    assert session.counts['observed'] == 0
    assert setup.log.lines == [('error', f'{setup.path}: disk full; the memory retries every 5 s')]


def test_reopens_the_store_after_the_retry_period(setup):
    session = setup.session
    setup.break_store()
    session.maintain()
    assert session.fault
    setup.opens = True
    setup.clock.now += 4.9
    session.maintain()
    assert session.fault, 'the retry period has not ended'
    setup.clock.now += 0.2
    session.maintain()
    assert session.fault == ''
    assert setup.log.lines[-1] == ('info', f'{setup.path} is open again')
    assert session.observe([lct(1)])[0].stored


def test_reports_why_it_cannot_reopen_the_store(setup):
    session = setup.session
    setup.break_store()
    session.maintain()
    setup.clock.now += 6
    session.maintain()
    assert session.fault == 'no space left'


def test_a_reopened_store_has_the_current_thresholds(setup):
    session = setup.session
    setup.break_store()
    session.maintain()
    session.set_thresholds(1.0, 0.5)
    setup.opens = True
    setup.clock.now += 6
    session.maintain()
    assert session.observe([lct(1)])[0].stored
    assert not session.observe([lct(2, lct(1).latent.mean)])[0].stored


def test_the_lowest_of_several_agreements_counts(setup):
    session = setup.session
    session.add_agreement([lct(1).id, lct(2).id], 1.0)
    session.add_agreement([lct(1).id], -1.0)
    session.add_agreement([lct(1).id], 0.9)
    first, second, third = session.observe([lct(1), lct(2), lct(3)])
    assert (first.snarc.conflict, second.snarc.conflict, third.snarc.conflict) == (1, 0, 0)


def test_keeps_a_bounded_number_of_agreements(setup):
    session = setup.session
    session.add_agreement([lct(1).id], math.nan)
    for number in range(2, 2000):
        session.add_agreement([lct(number).id], 1.0)
    assert session.observe([lct(1)])[0].snarc.conflict == 0


def damaged_memory(path):
    with open_store(path, SPACE) as store:
        store.add([memory_record(n, at_s=n) for n in range(4)])
        store.commit()
    overwrite(path, 2, detail='{}')
    overwrite(path, 3, latent=b'odd')


def test_skips_damaged_rows_and_logs_each_once(tmp_path):
    path = tmp_path / 'memory.db'
    damaged_memory(path)
    log = Log()
    session = MemorySession(SessionConfig(path), SPACE, log)
    for _ in range(3):
        assert numbers(session.find(Query())) == [3, 0]
        assert numbers(session.find(replace(Query(), like=lct(3).latent.mean)))[0] == 3
    assert session.unreadable == 2
    skipped = f'{path}: skipped rows that are damaged or of a later version: 1'
    assert log.lines == [
        ('warning', f'{skipped} (row 3: latent is not 64 bytes)'),
        ('warning', f'{skipped} (row 2: model is missing)'),
    ]
    assert session.remember(lct(9))
    session.close()
