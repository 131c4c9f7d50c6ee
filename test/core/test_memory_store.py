# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""The memory of one robot: what goes in is found again, and survives whatever happens."""

import contextlib
import json
import math
import os
import signal
import sqlite3
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given, settings
from hypothesis import strategies as st
from memories import DIM, OTHER, SECOND, SPACE, START, entry, lct, numbers

from sage_perception.core.latent import Latent, Telemetry
from sage_perception.core.lct import Operation, Provenance, step_from
from sage_perception.memory import (
    EpisodicMemory,
    MemoryRecord,
    Query,
    Snarc,
    StoreFault,
    default_place,
    open_store,
    recalled,
)
from sage_perception.memory.index import Index
from sage_perception.memory.sql_store import LATEST_NS
from sage_perception.trust import TrustStore, sign, verify
from sage_perception.trust.security.keys import public_bytes
from sage_perception.trust.security.rejection import RejectionReason, find_break, find_fault


@pytest.fixture
def path(tmp_path):
    return tmp_path / 'memory.db'


@pytest.fixture
def store(path):
    with open_store(path, SPACE) as store:
        yield store


def test_what_is_remembered_comes_back_as_it_was(path):
    sent = entry(7, at_s=1.5, entity='robot1/cam0', track=2**32 - 1)
    relay = Provenance(Operation.RELAY, 'arbiter', sent.lct.latent.model, sent.lct.id, 0.5)
    sent = replace(sent, lct=replace(sent.lct, provenance=(*sent.lct.provenance, relay)))
    with open_store(path, SPACE) as store:
        assert store.add([sent]) == 1
        store.commit()
    with open_store(path) as store:
        [hit] = store.find(Query())
    was, now = sent.lct, hit.entry.lct
    assert hit.entry.snarc == sent.snarc
    assert hit.entry.entity == 'robot1/cam0'
    assert now.latent.mean.tobytes() == was.latent.mean.tobytes()
    for name in ('entity_id', 'sequence', 'stamp_ns', 'trust', 'provenance', 'id'):
        assert getattr(now, name) == getattr(was, name)
    for name in ('kind', 'roi', 'track_id', 'model'):
        assert getattr(now.latent, name) == getattr(was.latent, name)
    measured = ('trust', 'latent_norm', 'iterations', 'converged', 'halt_reason')
    for name in measured:
        assert getattr(now.latent.telemetry, name) == getattr(was.latent.telemetry, name)
    assert math.isnan(now.latent.telemetry.reconstruction_error)


def test_an_lct_is_remembered_once(store):
    assert store.add([entry(1), entry(1), entry(2)]) == 2
    assert store.add([entry(2)]) == 0
    assert store.commit().entries == 2


def cosines(likes, latents):
    a, b = (np.asarray(z, float) - SPACE.mean for z in (likes, latents))
    return (a @ b.T) / np.linalg.norm(a, axis=1)[:, None] / np.linalg.norm(b, axis=1)


def test_likeness_is_the_centered_cosine_exactly(store):
    latents = SPACE.mean + np.random.default_rng(1).standard_normal((500, DIM))
    store.add([entry(n, z, at_s=n) for n, z in enumerate(latents)])
    asked = SPACE.mean + np.random.default_rng(2).standard_normal((9, DIM))
    expected = cosines(asked, latents)
    for like, own in zip(asked, expected, strict=True):
        hits = store.find(Query(like=like.astype(np.float32), count=20))
        assert numbers(hits) == list(np.argsort(-own)[:20])
        assert [hit.similarity for hit in hits] == pytest.approx(np.sort(own)[::-1][:20], abs=1e-5)
    assert store.novelty(asked) == pytest.approx(1 - expected.max(1).clip(0, 1), abs=1e-5)


def test_novelty_is_one_in_an_empty_memory_and_none_of_what_it_holds(store):
    assert store.novelty(lct(3).latent.mean[None]) == [1.0]
    store.add([entry(3)])
    assert store.novelty(lct(3).latent.mean[None]) == pytest.approx([0.0], abs=1e-6)
    # The mean itself is like nothing: it has no direction.
    assert store.novelty(SPACE.mean[None]) == [1.0]


CASES = [
    (Query(), [4, 3, 2, 1, 0]),
    (Query(count=2), [4, 3]),
    (Query(since_ns=START + 2 * SECOND), [4, 3, 2]),
    (Query(since_ns=START + SECOND, until_ns=START + 3 * SECOND), [3, 2, 1]),
    (Query(entity='cam1'), [3, 1]),
    (Query(entity='cam0', track=2), [2]),
    (Query(entity="'; DROP TABLE sage_memory; --"), []),
]


@pytest.mark.parametrize(('query', 'expected'), CASES)
def test_memories_are_found_by_time_entity_and_track(store, query, expected):
    for n, (entity, track) in enumerate(
        [('cam0', 1), ('cam1', 1), ('cam0', 2), ('cam1', 2), ('cam0', 1)]
    ):
        store.add([entry(n, at_s=n, entity=entity, track=track)])
    assert numbers(store.find(query)) == expected
    # The same ones by likeness.
    like = replace(query, like=lct(9).latent.mean)
    assert sorted(numbers(store.find(like)), reverse=True)[: query.count] == sorted(
        numbers(store.find(replace(like, count=1000)))[: query.count], reverse=True
    )
    if query.count > 5:
        assert sorted(numbers(store.find(like))) == sorted(expected)


def test_latents_of_another_model_are_not_compared(path):
    with open_store(path, SPACE) as store:
        store.add([entry(1)])
        store.commit()
        with pytest.raises(ValueError, match=r'small@2.*this memory is of small@1'):
            store.add([entry(2, model=OTHER)])
    with open_store(path, replace(SPACE, model=OTHER)) as store:
        assert store.find(Query(like=lct(1).latent.mean)) == []
        assert store.novelty(lct(1).latent.mean[None]) == [1.0]
        assert numbers(store.find(Query())) == [1], 'by time they are there all the same'
    with open_store(path) as store, pytest.raises(ValueError, match='without a model'):
        store.find(Query(like=lct(1).latent.mean))


@pytest.mark.parametrize(
    ('bad', 'why'),
    [
        (entry(1, np.full(DIM, np.nan)), 'not finite'),
        (entry(1, np.full(DIM, np.inf)), 'not finite'),
        (entry(1, np.zeros(DIM + 1)), 'wrong dimension'),
        (entry(1, entity='zero\0'), 'has a zero'),
        (entry(1, entity='x' * 65), 'more than 64 bytes'),
        (entry(1, id=b'short'), '5 bytes, not 16'),
    ],
)
def test_what_no_message_can_hold_is_not_stored(store, bad, why):
    with pytest.raises(ValueError, match=why):
        store.add([entry(2), bad])
    assert store.commit().entries == 0


def test_what_cannot_be_asked_is_refused(store):
    for like, why in ((np.full(DIM, np.nan), 'not finite'), (np.zeros(3), r'not \[1, 3\]')):
        with pytest.raises(ValueError, match=why):
            store.find(Query(like=like))
    for wrong in ({'count': 0}, {'count': 10**6}):
        with pytest.raises(ValueError, match='it must be 1 to 1000'):
            Query(**wrong)
    with pytest.raises(ValueError, match='ends before it begins'):
        Query(since_ns=2, until_ns=1)
    with pytest.raises(ValueError, match='capacity is 0'):
        open_store(store._path, SPACE, capacity=0)


def test_the_least_worth_is_forgotten_beyond_the_capacity(path):
    with open_store(path, SPACE, capacity=3, half_life_s=10.0) as store:
        salience = [0.9, 0.2, 0.9, 0.5, 0.3]
        store.add([entry(n, salience=s, at_s=n) for n, s in enumerate(salience)])
        done = store.commit()
        assert (done.entries, done.forgotten) == (3, 2)
        assert sorted(numbers(store.find(Query()))) == [0, 2, 3]
        # What was very salient is worth less than what is a little so, ten half-lives later.
        store.add([entry(n, salience=0.1, at_s=100) for n in (7, 8, 9)])
        store.commit()
        for query in (Query(), Query(like=lct(0).latent.mean)):
            assert sorted(numbers(store.find(query))) == [7, 8, 9]


def test_what_was_forgotten_is_found_no_more(store):
    store.add([entry(n, at_s=n, entity=f'cam{n % 2}') for n in range(10)])
    assert store.forget(Query(entity='cam1', count=1)) == 5
    assert numbers(store.find(Query(like=lct(1).latent.mean, count=20))).count(1) == 0
    assert store.forget(Query(since_ns=START + 8 * SECOND)) == 1
    assert store.contents().entries == 4


def test_a_file_does_not_grow_once_the_memory_is_full(path):
    with open_store(path, SPACE, capacity=300) as store:
        sizes = []
        for batch in range(12):
            numbers_ = range(batch * 100, batch * 100 + 100)
            store.add([entry(n, at_s=n) for n in numbers_])
            assert store.commit().entries <= 300
            store._db.execute('PRAGMA wal_checkpoint(TRUNCATE)')
            sizes.append(store.contents().size_bytes)
    assert max(sizes[4:]) <= 1.1 * sizes[3]


def test_contents_tell_what_is_held(store):
    assert store.contents().oldest_ns is None
    store.add([entry(1, at_s=5), entry(2, at_s=3, entity='cam1')])
    store.commit()
    contents = store.contents()
    assert (contents.entries, contents.entities) == (2, {'cam0': 1, 'cam1': 1})
    assert (contents.oldest_ns, contents.newest_ns) == (START + 3 * SECOND, START + 5 * SECOND)
    assert contents.models == {SPACE.model.fingerprint.hex(): 2}
    assert contents.size_bytes > 0


def test_only_what_was_committed_stays(path):
    with open_store(path, SPACE) as store:
        store.add([entry(1)])
        store.commit()
        store.add([entry(2)])
        assert numbers(store.find(Query())) == [2, 1]
    with open_store(path, SPACE) as store:
        assert numbers(store.find(Query())) == [1]


def test_what_another_process_writes_is_seen(path):
    with open_store(path, SPACE) as node, open_store(path, SPACE) as command:
        node.add([entry(1), entry(2)])
        node.commit()
        assert len(command.find(Query(like=lct(1).latent.mean))) == 2
        command.forget(Query(until_ns=LATEST_NS))
        assert node.find(Query(like=lct(1).latent.mean)) == []
        assert node.novelty(lct(1).latent.mean[None]) == [1.0]


WRITER = """
import sys
from memories import SPACE, entry
from sage_perception.memory import open_store
with open_store(sys.argv[1], SPACE, capacity=50) as store:
    for n in range(int(sys.argv[2]), 10**9):
        store.add([entry(n, at_s=n)])
        if n % 5 == 0:
            store.commit()
            print(n, flush=True)
"""


def test_a_kill_amid_writes_loses_only_what_was_not_committed(path):
    last = -1
    for kills in range(3):
        writer = subprocess.Popen(
            [sys.executable, '-c', WRITER, path, str(last + 1)],
            stdout=subprocess.PIPE,
            env={**os.environ, 'PYTHONPATH': os.pathsep.join(sys.path)},
        )
        for _ in range(7 + 5 * kills):
            last = int(writer.stdout.readline())
        writer.send_signal(signal.SIGKILL)
        rest = writer.communicate()[0].split()
        last = int(rest[-1]) if rest else last
        check = sqlite3.connect(path)
        assert check.execute('PRAGMA integrity_check').fetchall() == [('ok',)]
        check.close()
        with open_store(path, SPACE) as store:
            held = numbers(store.find(Query(count=100)))
            # One commit more may have been made than was told of.
            newest = held[0]
            assert last <= newest <= last + 5
            assert held == list(range(newest, max(newest - 50, -1), -1))
            near = store.find(Query(like=lct(newest).latent.mean, count=1))
            assert numbers(near) == [newest]
        last = newest


@pytest.mark.parametrize(
    ('content', 'complaint'),
    [(b'no database' * 100, 'not a database'), (None, 'unable to open')],
)
def test_a_file_that_is_no_memory_is_refused_in_one_line(path, content, complaint):
    path.mkdir() if content is None else path.write_bytes(content)
    with pytest.raises(StoreFault, match=f'memory.db.*{complaint}') as refusal:
        open_store(path, SPACE)
    assert '\n' not in str(refusal.value)
    assert content is None or path.read_bytes() == content


def test_a_database_of_something_else_is_left_alone(path):
    other = sqlite3.connect(path)
    other.execute('CREATE TABLE recipes (name TEXT)')
    other.close()
    with pytest.raises(StoreFault, match='something else'):
        open_store(path, SPACE)
    with open_store(path.with_name('new.db'), SPACE) as store:
        store._db.execute('PRAGMA user_version = 99')
    with pytest.raises(StoreFault, match='version 99'):
        open_store(path.with_name('new.db'), SPACE)


def detail(store, number):
    """Return what a row holds as JSON."""
    [(text,)] = store._rows('SELECT detail FROM sage_memory WHERE id = ?', (number,))
    return json.loads(text)


def rewrite(path, number, column, value):
    """Write to a row what no store of this version does."""
    with contextlib.closing(sqlite3.connect(path)) as db, db:
        db.execute(f'UPDATE sage_memory SET {column} = ? WHERE id = ?', (value, number))


@pytest.mark.parametrize(
    ('column', 'value'),
    [
        ('detail', 'no JSON'),
        ('detail', '[]'),
        ('detail', '{}'),
        ('latent', b'odd'),
        ('latent', bytes(4 * DIM - 4)),
    ],
)
def test_rows_that_cannot_be_read_are_counted_and_passed_over(path, column, value):
    with open_store(path, SPACE) as store:
        store.add([entry(n, at_s=n) for n in range(4)])
        store.commit()
    rewrite(path, 2, column, value)
    with open_store(path, SPACE) as store:
        assert store.unreadable == 0
        for _ in range(2):
            found = numbers(store.find(Query(like=lct(1).latent.mean)))
            assert 1 not in found
            assert sorted(found) == [0, 2, 3]
            assert store.novelty(lct(3).latent.mean[None]) == pytest.approx([0], abs=1e-6)
            assert store.unreadable == 1
        if len(value) != 4 * DIM - 4:  # a latent of another length is one of another model
            assert numbers(store.find(Query())) == [3, 2, 0]


def test_what_later_versions_add_to_a_row_is_passed_over(path):
    sent = entry(1)
    with open_store(path, SPACE) as store:
        store.add([sent])
        store.commit()
        later = detail(store, 1)
    later['telemetry']['energy_per_bit'] = 0.5
    later['snarc'].append(0.25)
    later['provenance'][0].append('proof')
    rewrite(path, 1, 'detail', json.dumps(later | {'mood': 'serene'}))
    with open_store(path, SPACE) as store:
        [hit] = store.find(Query())
        assert store.unreadable == 0
    assert (hit.entry.snarc, hit.entry.lct.provenance) == (sent.snarc, sent.lct.provenance)
    assert hit.entry.lct.latent.telemetry.trust == sent.lct.latent.telemetry.trust


def test_a_memory_that_must_be_there_is_not_made(path):
    with pytest.raises(StoreFault, match='there is no memory'):
        open_store(path, create=False)
    assert not path.exists()


def test_a_write_that_fails_says_so_and_the_store_goes_on(path):
    with open_store(path, SPACE) as store:
        store.add([entry(1)])
        store.commit()
        store._db.execute('PRAGMA max_page_count = 10')
        with pytest.raises(StoreFault, match=r'memory.db: database or disk is full'):
            store.add([entry(n) for n in range(2, 500)])
        assert numbers(store.find(Query(like=lct(1).latent.mean))) == [1]


def test_the_place_is_where_the_environment_says(monkeypatch, tmp_path):
    monkeypatch.setenv('SAGE_MEMORY', str(tmp_path))
    assert default_place('robot1/memory') == tmp_path / 'robot1' / 'memory.db'
    monkeypatch.delenv('SAGE_MEMORY')
    assert default_place().name == 'memory.db'


@settings(max_examples=40)
@given(st.lists(st.tuples(st.booleans(), st.integers(0, 30)), max_size=60))
def test_the_index_holds_what_a_dictionary_would(steps):
    index, held = Index(2), {}
    for adds, number in steps:
        if not adds:
            index.remove([number])
            held.pop(number, None)
        elif number not in held:
            angle = 0.2 * number
            held[number] = np.array([math.cos(angle), math.sin(angle)], np.float32)
            index.add([number], held[number][None], [number], [number % 3], [f'e{number % 2}'])
    assert len(index) == len(held)
    like = np.array([[1, 0]], np.float32)
    [found] = index.nearest(like, 100, 5, 20, 'e1', 0)
    wanted = [n for n in held if 5 <= n <= 20 and n % 2 == 1 and n % 3 == 0]
    assert [n for n, _ in found] == sorted(wanted, key=lambda n: -held[n][0])


# What decides what goes in, and what comes to mind


@pytest.fixture
def memory(store):
    return EpisodicMemory(store, threshold=0.5, min_novelty=0.1)


def test_the_new_is_kept_and_the_known_is_not(memory):
    first, again = lct(1), lct(2, lct(1).latent.mean)
    other = lct(3)
    [seen] = memory.observe([first])
    assert seen.stored
    assert seen.snarc.novelty == 1
    memory.reward(1.0, START)
    seen = memory.observe([again, other])
    assert [each.stored for each in seen] == [False, True]
    assert seen[0].snarc.reward == 1, 'what is known is not kept twice, however salient'


def test_of_two_alike_at_one_moment_one_is_kept(memory):
    seen = memory.observe([lct(1), lct(2, lct(1).latent.mean), lct(3)])
    assert [each.stored for each in seen] == [True, False, True]


def test_what_does_not_matter_is_not_kept(store):
    memory = EpisodicMemory(store, threshold=0.99, min_novelty=0.0)
    memory.observe([lct(0)])
    for n in range(1, 60):  # what is new by as much as ever is nothing unusual
        z = lct(0).latent.mean + 0.2 * np.random.default_rng(n).standard_normal(DIM)
        seen = memory.observe([lct(n, z, at_s=n, track=0)])
    assert not seen[0].stored
    assert memory.observe([lct(99, at_s=60)], {lct(99).id: -1.0})[0].stored


@pytest.mark.parametrize(
    ('bad', 'fault'),
    [
        (lct(1, np.full(DIM, np.nan)), 'not finite'),
        (lct(1, model=OTHER), 'another model'),
        (lct(1, trust=0.1), 'broken chain'),
        (lct(1, np.zeros(3)), 'wrong dimension'),
        (lct(1, entity='ü' * 40), 'malformed'),
        (
            lct(1, provenance=lct(1).provenance * 14, trust=0.9**14),
            'chain too long',
        ),
    ],
)
def test_what_is_malformed_is_refused_and_the_rest_is_not(memory, bad, fault):
    seen = memory.observe([bad, lct(2)])
    assert [each.fault for each in seen] == [fault, '']
    assert [each.stored for each in seen] == [False, True]
    assert seen[0].snarc == Snarc()
    with pytest.raises(ValueError, match=fault):
        memory.remember(bad)


def test_what_somebody_asks_to_keep_is_kept_for_long(memory):
    assert memory.remember(lct(1))
    assert not memory.remember(lct(1))
    [hit] = memory.store.find(Query())
    assert hit.entry.snarc.salience == 1


def test_recall_is_of_the_past_most_alike_first_and_a_track_once(memory):
    z = lct(1).latent.mean
    near, nearer = z + np.eye(DIM)[0] * 0.5, z + np.eye(DIM)[0] * 0.1
    memory.store.add(
        [
            entry(10, near, at_s=0, track=5),
            entry(11, nearer, at_s=1, track=5),
            entry(12, z, at_s=99, track=6),
            entry(13, near, at_s=2, track=5, entity='cam1'),
            entry(14, at_s=2, track=0),
            entry(15, at_s=2, track=0),
        ]
    )
    hits = memory.recall([lct(1), lct(2)], START + 50 * SECOND, 4)
    assert numbers(hits)[:2] == [11, 13]
    assert sorted(numbers(hits)[2:]) == [14, 15]
    similarities = [hit.similarity for hit in hits]
    assert similarities == sorted(similarities, reverse=True)
    assert len(memory.recall([lct(1)], START + 50 * SECOND, 1)) == 1
    assert memory.recall([lct(1)], START - SECOND, 4) == []
    assert memory.recall([], START, 4) == []
    assert memory.recall([lct(1, np.full(DIM, np.nan))], START, 4) == []


def test_a_recalled_lct_hangs_together():
    was = entry(1)
    now = recalled(was, 'robot1/memory', 77)
    assert (find_fault(now, DIM), find_break(now)) == (None, None)
    assert now.provenance[-1] == Provenance(
        Operation.RECALL, 'robot1/memory', SPACE.model, was.lct.id, 1.0
    )
    assert (now.stamp_ns, now.trust) == (was.lct.stamp_ns, was.lct.trust)
    assert now.latent is was.lct.latent


def test_what_was_signed_is_proven_when_it_is_recalled(path):
    """Also what another one went on from, and though the variance of the latent is not kept."""
    keys = {name: Ed25519PrivateKey.generate() for name in ('cam0', 'arbiter', 'memory')}
    trusted = TrustStore()
    for name, key in keys.items():
        trusted.trust(name, public_bytes(key))
    plain = lct(1)
    seen = sign(
        replace(plain, latent=replace(plain.latent, log_var=np.zeros(DIM, np.float32))),
        keys['cam0'],
    )
    steps = (*seen.provenance, step_from(seen, Operation.TRANSLATE, 'arbiter', SPACE.model))
    ours = replace(seen, entity_id='arbiter', provenance=steps, id=bytes(16 * [2]))
    with open_store(path, SPACE) as store:
        store.add([MemoryRecord(said, Snarc()) for said in (seen, sign(ours, keys['arbiter']))])
        store.commit()
    with open_store(path) as store:
        for hit in store.find(Query()):
            said = sign(recalled(hit.entry, 'memory', 1), keys['memory'])
            assert verify(said, trusted) is None
            forged = replace(said, stamp_ns=said.stamp_ns + 1)
            assert verify(sign(forged, keys['memory']), trusted) is RejectionReason.BAD_PROOF


def test_the_energies_of_a_refinement_are_not_kept(store):
    telemetry = Telemetry(trust=0.9, energy_trajectory=(3.0,) * 256)
    latent = lct(1).latent
    long = Latent(latent.mean, latent.mean, model=latent.model, telemetry=telemetry)
    store.add([replace(entry(1), lct=lct(1, latent=long))])
    [hit] = store.find(Query())
    assert hit.entry.lct.latent.telemetry.energy_trajectory == ()
    assert hit.entry.lct.latent.log_var is None
