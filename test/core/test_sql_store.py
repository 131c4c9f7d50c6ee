# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""The memory store interface, on an SQLite file."""

import math
from dataclasses import replace

import numpy as np
import pytest
from memories import DIM, OTHER, SECOND, SPACE, START, lct, memory_record, numbers

from sage_perception.core.lct import Operation, Provenance
from sage_perception.memory import Query, open_store


@pytest.fixture
def path(tmp_path):
    return tmp_path / 'memory.db'


@pytest.fixture
def store(path):
    with open_store(path, SPACE) as store:
        yield store


def test_returns_a_record_unchanged_after_reopening(path):
    sent = memory_record(7, at_s=1.5, entity='robot1/cam0', track=2**32 - 1)
    relay = Provenance(Operation.RELAY, 'arbiter', sent.lct.latent.model, sent.lct.id, 0.5)
    sent = replace(sent, lct=replace(sent.lct, provenance=(*sent.lct.provenance, relay)))
    with open_store(path, SPACE) as store:
        assert store.add([sent]) == 1
        store.commit()
    with open_store(path) as store:
        [hit] = store.find(Query())
    was, now = sent.lct, hit.record.lct
    assert hit.record.snarc == sent.snarc
    assert hit.record.entity == 'robot1/cam0'
    assert now.latent.mean.tobytes() == was.latent.mean.tobytes()
    for name in ('entity_id', 'sequence', 'stamp_ns', 'trust', 'provenance', 'id'):
        assert getattr(now, name) == getattr(was, name)
    for name in ('kind', 'roi', 'track_id', 'model'):
        assert getattr(now.latent, name) == getattr(was.latent, name)
    for name in ('trust', 'latent_norm', 'iterations', 'converged', 'halt_reason'):
        assert getattr(now.latent.telemetry, name) == getattr(was.latent.telemetry, name)
    assert math.isnan(now.latent.telemetry.reconstruction_error)


def test_adds_each_lct_once(store):
    assert store.add([memory_record(1), memory_record(1), memory_record(2)]) == 2
    assert store.add([memory_record(2)]) == 0
    assert store.commit().records == 2


def centered_cosines(a, b):
    a, b = (np.asarray(z, float) - SPACE.mean for z in (a, b))
    return (a @ b.T) / np.linalg.norm(a, axis=1)[:, None] / np.linalg.norm(b, axis=1)


def test_similarity_is_the_exact_centered_cosine(store):
    latents = SPACE.mean + np.random.default_rng(1).standard_normal((500, DIM))
    store.add([memory_record(n, z, at_s=n) for n, z in enumerate(latents)])
    queries = SPACE.mean + np.random.default_rng(2).standard_normal((9, DIM))
    expected = centered_cosines(queries, latents)
    for like, cosines in zip(queries, expected, strict=True):
        hits = store.find(Query(like=like.astype(np.float32), count=20))
        assert numbers(hits) == list(np.argsort(-cosines)[:20])
        similarities = [hit.similarity for hit in hits]
        assert similarities == pytest.approx(np.sort(cosines)[::-1][:20], abs=1e-5)
    assert store.novelty(queries) == pytest.approx(1 - expected.max(1).clip(0, 1), abs=1e-5)


def test_novelty_is_1_in_an_empty_store_and_0_of_a_stored_latent(store):
    assert store.novelty(lct(3).latent.mean[None]) == [1.0]
    store.add([memory_record(3)])
    assert store.novelty(lct(3).latent.mean[None]) == pytest.approx([0.0], abs=1e-6)


def test_novelty_of_the_mean_latent_is_1_because_it_has_no_direction(store):
    store.add([memory_record(3)])
    assert store.novelty(SPACE.mean[None]) == [1.0]


QUERIES = [
    (Query(), [4, 3, 2, 1, 0]),
    (Query(count=2), [4, 3]),
    (Query(since_ns=START + 2 * SECOND), [4, 3, 2]),
    (Query(since_ns=START + SECOND, until_ns=START + 3 * SECOND), [3, 2, 1]),
    (Query(entity='cam1'), [3, 1]),
    (Query(entity='cam0', track=2), [2]),
    (Query(entity="'; DROP TABLE sage_memory; --"), []),
]


@pytest.fixture
def two_cameras(store):
    """Give a store of five records of two cameras and two tracks, one second apart."""
    seen = [('cam0', 1), ('cam1', 1), ('cam0', 2), ('cam1', 2), ('cam0', 1)]
    for n, (entity, track) in enumerate(seen):
        store.add([memory_record(n, at_s=n, entity=entity, track=track)])
    return store


@pytest.mark.parametrize(('query', 'expected'), QUERIES)
def test_finds_the_newest_records_by_time_entity_and_track(two_cameras, query, expected):
    assert numbers(two_cameras.find(query)) == expected


@pytest.mark.parametrize(('query', 'expected'), QUERIES)
def test_similarity_search_applies_the_same_filters(two_cameras, query, expected):
    like = replace(query, like=lct(9).latent.mean)
    every_hit = numbers(two_cameras.find(replace(like, count=1000)))
    assert numbers(two_cameras.find(like)) == every_hit[: query.count]
    if query.count > 5:
        assert sorted(every_hit) == sorted(expected)


def test_rejects_a_latent_of_another_model(store):
    with pytest.raises(ValueError, match=r'small@2.*this memory is of small@1'):
        store.add([memory_record(2, model=OTHER)])
    assert store.add([memory_record(1)]) == 1


def test_does_not_compare_latents_of_different_models(path):
    with open_store(path, SPACE) as store:
        store.add([memory_record(1)])
        store.commit()
    with open_store(path, replace(SPACE, model=OTHER)) as store:
        assert store.find(Query(like=lct(1).latent.mean)) == []
        assert store.novelty(lct(1).latent.mean[None]) == [1.0]
        assert numbers(store.find(Query())) == [1], 'a search by time covers all models'


def test_similarity_search_needs_a_space(path):
    with open_store(path) as store, pytest.raises(ValueError, match='without a model'):
        store.find(Query(like=lct(1).latent.mean))


@pytest.mark.parametrize(
    ('record', 'reason'),
    [
        (memory_record(1, np.full(DIM, np.nan)), 'value not finite'),
        (memory_record(1, np.full(DIM, np.inf)), 'value not finite'),
        (memory_record(1, np.zeros(DIM + 1)), 'latent dimension mismatch'),
        (memory_record(1, entity='zero\0'), r'zero\\x00'),
        (memory_record(1, entity='x' * 65), '64 bytes'),
        (memory_record(1, id=b'short'), '5 bytes, not 16'),
        (memory_record(1, at_s=10**9), 'stamp is .* expected a time from 1970 to 2038'),
    ],
)
def test_rejects_a_record_that_no_message_can_hold(store, record, reason):
    with pytest.raises(ValueError, match=reason):
        store.add([memory_record(2), record])
    assert store.commit().records == 0
    assert store.add([memory_record(2)]) == 1


@pytest.mark.parametrize(
    ('like', 'reason'),
    [(np.full(DIM, np.nan), 'not finite'), (np.zeros(3), r'not \[1, 3\]')],
)
def test_rejects_a_query_by_an_invalid_latent(store, like, reason):
    with pytest.raises(ValueError, match=reason):
        store.find(Query(like=like))


def test_commit_deletes_the_lowest_retention_above_the_capacity(path):
    with open_store(path, SPACE, capacity=3, half_life_s=10.0) as store:
        salience = [0.9, 0.2, 0.9, 0.5, 0.3]
        store.add([memory_record(n, salience=s, at_s=n) for n, s in enumerate(salience)])
        done = store.commit()
        assert (done.records, done.forgotten) == (3, 2)
        assert sorted(numbers(store.find(Query()))) == [0, 2, 3]


def test_retention_of_a_salient_record_falls_below_that_of_a_newer_one(path):
    with open_store(path, SPACE, capacity=3, half_life_s=10.0) as store:
        store.add([memory_record(n, salience=0.9, at_s=n) for n in range(3)])
        store.commit()
        # Ten half-lives later.
        store.add([memory_record(n, salience=0.1, at_s=100) for n in (7, 8, 9)])
        store.commit()
        for query in (Query(), Query(like=lct(0).latent.mean)):
            assert sorted(numbers(store.find(query))) == [7, 8, 9]


def test_forget_deletes_all_matching_records(store):
    store.add([memory_record(n, at_s=n, entity=f'cam{n % 2}') for n in range(10)])
    assert store.forget(Query(entity='cam1', count=1)) == 5
    assert 1 not in numbers(store.find(Query(like=lct(1).latent.mean, count=20)))
    assert store.forget(Query(since_ns=START + 8 * SECOND)) == 1
    assert store.contents().records == 4


def test_contents_summarize_the_records(store):
    assert store.contents().oldest_ns is None
    store.add([memory_record(1, at_s=5), memory_record(2, at_s=3, entity='cam1')])
    store.commit()
    contents = store.contents()
    assert (contents.records, contents.entities) == (2, {'cam0': 1, 'cam1': 1})
    assert (contents.oldest_ns, contents.newest_ns) == (START + 3 * SECOND, START + 5 * SECOND)
    assert contents.models == {SPACE.model.fingerprint.hex(): 2}
    assert contents.model_names == {SPACE.model.fingerprint.hex(): 'small@1'}
    assert contents.size_bytes > 0


def test_discards_what_was_not_committed(path):
    with open_store(path, SPACE) as store:
        store.add([memory_record(1)])
        store.commit()
        store.add([memory_record(2)])
        assert numbers(store.find(Query())) == [2, 1]
    with open_store(path, SPACE) as store:
        assert numbers(store.find(Query())) == [1]
