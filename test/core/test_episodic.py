# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Episodic memory: which observations are stored, and which records are recalled."""

from dataclasses import replace

import numpy as np
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from memories import DIM, OTHER, SECOND, SPACE, START, lct, memory_record, numbers

from sage_perception.core.lct import Operation, Provenance, step_from
from sage_perception.memory import (
    EpisodicMemory,
    MemoryRecord,
    Query,
    Snarc,
    open_store,
    recalled_lct,
)
from sage_perception.trust import TrustStore, sign, verify
from sage_perception.trust.security.keys import public_bytes
from sage_perception.trust.security.rejection import RejectionReason
from sage_perception.trust.security.validation import find_chain_fault, find_fault


@pytest.fixture
def store(tmp_path):
    with open_store(tmp_path / 'memory.db', SPACE) as store:
        yield store


@pytest.fixture
def memory(store):
    return EpisodicMemory(store, threshold=0.5, min_novelty=0.1)


def test_stores_a_novel_observation(memory):
    [observation] = memory.observe([lct(1)])
    assert observation.stored
    assert observation.snarc.novelty == 1


def test_does_not_store_a_known_observation_regardless_of_its_salience(memory):
    memory.observe([lct(1)])
    memory.reward(1.0, START)
    known, other = memory.observe([lct(2, lct(1).latent.mean), lct(3)])
    assert (known.stored, other.stored) == (False, True)
    assert known.snarc.reward == 1


def test_stores_one_of_two_similar_observations_in_a_frame(memory):
    observations = memory.observe([lct(1), lct(2, lct(1).latent.mean), lct(3)])
    assert [each.stored for each in observations] == [True, False, True]


def test_does_not_store_an_observation_below_the_threshold(store):
    memory = EpisodicMemory(store, threshold=0.99, min_novelty=0.0)
    memory.observe([lct(0)])
    for n in range(1, 60):  # the scale of novelty adapts to constant novelty
        z = lct(0).latent.mean + 0.2 * np.random.default_rng(n).standard_normal(DIM)
        observations = memory.observe([lct(n, z, at_s=n, track=0)])
    assert not observations[0].stored
    assert memory.observe([lct(99, at_s=60)], {lct(99).id: -1.0})[0].stored


INVALID = [
    (lct(1, np.full(DIM, np.nan)), 'value not finite'),
    (lct(1, model=OTHER), 'another model'),
    (lct(1, trust=0.1), 'invalid provenance'),
    (lct(1, np.zeros(3)), 'latent dimension mismatch'),
    (lct(1, entity='ü' * 40), 'malformed message'),
    (lct(1, provenance=lct(1).provenance * 14, trust=0.9**14), 'chain too long'),
]


@pytest.mark.parametrize(('invalid', 'reason'), INVALID)
def test_rejects_an_invalid_lct_and_stores_the_others_of_its_frame(memory, invalid, reason):
    observations = memory.observe([invalid, lct(2)])
    assert [each.rejection for each in observations] == [reason, '']
    assert [each.stored for each in observations] == [False, True]
    assert observations[0].snarc == Snarc()


@pytest.mark.parametrize(('invalid', 'reason'), INVALID)
def test_remember_rejects_an_invalid_lct(memory, invalid, reason):
    with pytest.raises(ValueError, match=reason):
        memory.remember(invalid)
    assert memory.remember(lct(2))


def test_remember_stores_an_lct_once_with_full_salience(memory):
    assert memory.remember(lct(1))
    assert not memory.remember(lct(1))
    [hit] = memory.store.find(Query())
    assert hit.record.snarc.salience == 1


@pytest.fixture
def past(memory):
    """Give a memory of records similar to `lct(1)`, of three tracks and of none."""
    z = lct(1).latent.mean
    near, nearer = z + np.eye(DIM)[0] * 0.5, z + np.eye(DIM)[0] * 0.1
    memory.store.add(
        [
            memory_record(10, near, at_s=0, track=5),
            memory_record(11, nearer, at_s=1, track=5),
            memory_record(12, z, at_s=99, track=6),
            memory_record(13, near, at_s=2, track=5, entity='cam1'),
            memory_record(14, at_s=2, track=0),
            memory_record(15, at_s=2, track=0),
        ]
    )
    return memory


def test_recalls_past_records_by_similarity_and_a_track_once(past):
    hits = past.recall([lct(1), lct(2)], START + 50 * SECOND, 4)
    assert numbers(hits)[:2] == [11, 13]
    assert sorted(numbers(hits)[2:]) == [14, 15]
    similarities = [hit.similarity for hit in hits]
    assert similarities == sorted(similarities, reverse=True)


def test_recalls_at_most_count_records(past):
    assert len(past.recall([lct(1)], START + 50 * SECOND, 1)) == 1


@pytest.mark.parametrize(
    ('lcts', 'before_ns'),
    [
        ([lct(1)], START - SECOND),
        ([], START + 50 * SECOND),
        ([lct(1, np.full(DIM, np.nan))], START + 50 * SECOND),
    ],
)
def test_recalls_nothing_without_a_past_or_a_valid_latent(past, lcts, before_ns):
    assert past.recall(lcts, before_ns, 4) == []


def test_a_recalled_lct_is_valid_and_names_its_parent():
    record = memory_record(1)
    now = recalled_lct(record, 'robot1/memory', 77)
    assert (find_fault(now, DIM), find_chain_fault(now)) == (None, None)
    assert now.provenance[-1] == Provenance(
        Operation.RECALL, 'robot1/memory', SPACE.model, record.lct.id, 1.0
    )
    assert (now.stamp_ns, now.trust) == (record.lct.stamp_ns, record.lct.trust)
    assert now.latent is record.lct.latent


@pytest.fixture
def keys():
    return {name: Ed25519PrivateKey.generate() for name in ('cam0', 'arbiter', 'memory')}


def signed_chain(keys):
    """Return an LCT signed by cam0, and its translation signed by the arbiter."""
    plain = lct(1)
    with_variance = replace(plain.latent, log_var=np.zeros(DIM, np.float32))
    seen = sign(replace(plain, latent=with_variance), keys['cam0'])
    steps = (*seen.provenance, step_from(seen, Operation.TRANSLATE, 'arbiter', SPACE.model))
    translated = replace(seen, entity_id='arbiter', provenance=steps, id=bytes(16 * [2]))
    return seen, sign(translated, keys['arbiter'])


def test_a_recalled_lct_proves_who_signed_the_stored_one(store, keys):
    trusted = TrustStore()
    for name, key in keys.items():
        trusted.trust(name, public_bytes(key))
    store.add([MemoryRecord(each, Snarc()) for each in signed_chain(keys)])
    hits = store.find(Query())
    assert len(hits) == 2
    for hit in hits:
        recalled = sign(recalled_lct(hit.record, 'memory', 1), keys['memory'])
        assert verify(recalled, trusted) is None
        forged = replace(recalled, stamp_ns=recalled.stamp_ns + 1)
        assert verify(sign(forged, keys['memory']), trusted) is RejectionReason.BAD_PROOF
