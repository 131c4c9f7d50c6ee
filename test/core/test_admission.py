# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Admission: one verdict per LCT, counted once; replay protection in bounded memory."""

import pickle
from dataclasses import replace

import numpy as np
import pytest
from signed_lcts import KEYS, MODEL, a_store, an_lct, derived, signed

from sage_perception.core.latent import ModelId
from sage_perception.trust import TrustStore, sign
from sage_perception.trust.security.admission import AdmissionFilter, Expected, Verdict
from sage_perception.trust.security.canonical import PLAIN, Wire
from sage_perception.trust.security.keys import public_bytes
from sage_perception.trust.security.rejection import RejectionReason
from sage_perception.trust.security.replay import CLOCK_MARGIN_NS, ReplayGuard

WIRE = Wire(3, b'packed')


def reasons_of(admission, *lcts):
    return [admission.admit(lct).reason for lct in lcts]


# Verdicts


def test_judging_changes_nothing():
    admission, lct = AdmissionFilter(a_store()), signed()
    for _ in range(2):
        assert admission.judge(lct).accepted is lct
        assert admission.judge(an_lct()).reason is RejectionReason.UNSIGNED
    assert (admission.accepted, admission.rejected) == (0, 0)


def test_recorded_verdict_is_counted_once():
    admission = AdmissionFilter(a_store())
    admission.record(admission.judge(signed()))
    admission.record(admission.judge(an_lct(sequence=2)))
    assert (admission.accepted, admission.rejected) == (1, 1)
    assert admission.reasons == {RejectionReason.UNSIGNED: 1}


def test_verdict_on_an_accepted_lct_can_become_a_rejection():
    verdict = AdmissionFilter(a_store()).judge(signed())
    rejected = verdict.rejected(RejectionReason.INCOMPATIBLE, 'detail')
    assert (rejected.accepted, rejected.received) == (None, verdict.received)
    assert (rejected.reason, rejected.detail) == (RejectionReason.INCOMPATIBLE, 'detail')
    assert not rejected.attributable
    assert verdict.rejected(RejectionReason.OUT_OF_RANGE).attributable


@pytest.mark.parametrize(
    ('key', 'attributable'), [('cam0', True), ('forger', False)], ids=['own', 'forged']
)
def test_fault_is_attributable_only_with_the_entitys_signature(key, attributable):
    spoiled = sign(replace(an_lct(), trust=7.0), KEYS[key])
    verdict = AdmissionFilter(a_store()).judge(spoiled)
    assert verdict.reason is RejectionReason.OUT_OF_RANGE
    assert verdict.attributable is attributable


def test_replay_is_not_attributable():
    admission, lct = AdmissionFilter(a_store()), signed()
    admission.admit(lct)
    verdict = admission.admit(lct)
    assert (verdict.reason, verdict.attributable) == (RejectionReason.REPLAYED, False)


def test_verdict_on_a_message_that_is_no_lct_is_counted():
    admission = AdmissionFilter()
    admission.record(Verdict(reason=RejectionReason.MALFORMED))
    assert (admission.accepted, admission.rejected) == (0, 1)


# Entities without a key


def test_without_a_store_signatures_are_not_required():
    admission = AdmissionFilter()
    assert not admission.require_signatures
    assert admission.admit(an_lct('forger')).reason is None


def test_entity_with_a_key_must_sign_even_if_signatures_are_not_required():
    admission = AdmissionFilter(a_store('cam0'), require_signatures=False)
    assert reasons_of(admission, an_lct('cam1'), an_lct('cam0'), signed('cam0')) == [
        None,
        RejectionReason.UNSIGNED,
        None,
    ]


def test_unsigned_sequences_do_not_block_an_entity_that_gets_a_key():
    store = TrustStore()
    admission = AdmissionFilter(store, require_signatures=False)
    assert admission.admit(an_lct('cam0', sequence=2**64 - 1)).reason is None
    store.trust('cam0', public_bytes(KEYS['cam0']))
    assert admission.admit(signed('cam0', sequence=5)).reason is None


def test_unsigned_lct_that_no_message_can_hold_is_malformed():
    admission = AdmissionFilter(a_store('cam0'), require_signatures=False)
    first = signed()
    relayed = derived(first, entity='relay')
    long = ModelId('m' * 100, '1', MODEL.fingerprint)
    bad = replace(relayed, latent=replace(relayed.latent, model=long), signature=b'')
    assert reasons_of(admission, first, bad) == [None, RejectionReason.MALFORMED]


# Replay


def test_sequence_must_increase():
    admission = AdmissionFilter()
    order = [5, 5, 4, 6, 10**18, 7]
    replayed = RejectionReason.REPLAYED
    reasons = reasons_of(admission, *(an_lct(sequence=n) for n in order))
    assert reasons == [None, replayed, replayed, None, None, replayed]
    assert (admission.accepted, admission.rejected) == (3, 3)
    assert admission.reasons == {replayed: 3}


def test_an_entity_goes_on_after_the_clock_was_set_back():
    hour = 3600 * 10**9
    now = [1_000 * hour]
    guard = ReplayGuard(lambda: now[0])
    admission = AdmissionFilter(a_store(), replay_guard=guard)
    before = [signed(sequence=now[0] - 10**9 + n) for n in range(3)]
    assert reasons_of(admission, *before) == [None] * 3
    now[0] -= hour
    after = [signed(sequence=now[0] + n) for n in range(3)]  # the entity was started again
    assert reasons_of(admission, *after) == [None] * 3
    assert set(reasons_of(admission, *after, *before)) == {RejectionReason.REPLAYED}
    assert admission.admit(signed(sequence=now[0] + 1)).reason is RejectionReason.REPLAYED


def test_lcts_of_before_stay_rejected_after_the_clock_was_set_back():
    hour = 3600 * 10**9
    now = [1_000 * hour]
    guard = ReplayGuard(lambda: now[0])
    store = a_store()
    start = now[0] - 10 * hour
    recorded = [signed(sequence=start + n) for n in range(4)]
    assert AdmissionFilter(store, replay_guard=guard).admit(recorded[3]).reason is None
    guard.MAX_IDS = 0
    newest = signed(sequence=now[0])
    assert AdmissionFilter(store, replay_guard=guard).admit(newest).reason is None
    now[0] -= hour  # their stamps are valid again
    admission = AdmissionFilter(store, replay_guard=guard)
    assert set(reasons_of(admission, *recorded[:3])) == {RejectionReason.REPLAYED}
    now[0] += hour // 2  # the entity was started right after the change and sends its first LCT
    late = signed(sequence=now[0] - hour // 2)
    assert reasons_of(admission, recorded[0], late) == [RejectionReason.REPLAYED, None]


def test_an_unsigned_lct_does_not_lock_out_an_entity():
    start = 10**18
    admission = AdmissionFilter(replay_guard=ReplayGuard(lambda: start + 10**13))
    order = [start, 2**64 - 1, start + 1, start + 1]
    replayed = RejectionReason.REPLAYED
    reasons = reasons_of(admission, *(an_lct(sequence=n) for n in order))
    assert reasons == [None, None, None, replayed]


def test_a_sequence_near_the_time_is_a_bound():
    now = 10**18
    guard = ReplayGuard(lambda: now)
    admission = AdmissionFilter(a_store(), replay_guard=guard)
    assert admission.admit(signed(sequence=now + CLOCK_MARGIN_NS)).reason is None
    assert admission.admit(signed(sequence=now)).reason is RejectionReason.REPLAYED


def test_entities_have_separate_sequences():
    admission = AdmissionFilter()
    assert reasons_of(admission, an_lct('a', 9), an_lct('b', 0)) == [None, None]


def test_shared_replay_guard_rejects_an_lct_on_every_topic():
    guard = ReplayGuard()
    first, second = (AdmissionFilter(a_store(), replay_guard=guard) for _ in range(2))
    lct = signed(sequence=5)
    assert first.admit(lct).reason is None
    for admission in (first, second):
        assert admission.admit(lct).reason is RejectionReason.REPLAYED
    assert first.admit(signed(sequence=4)).reason is RejectionReason.REPLAYED
    assert second.admit(signed(sequence=6)).reason is None


@pytest.mark.parametrize(
    ('bad', 'reason'),
    [
        ({'sequence': 2**64 - 1}, RejectionReason.BAD_SIGNATURE),
        ({'stamp_ns': 0}, RejectionReason.NO_STAMP),
    ],
)
def test_rejected_lct_uses_up_no_sequence_and_no_id(bad, reason):
    admission, lct = AdmissionFilter(a_store()), signed(sequence=5)
    assert reasons_of(admission, replace(lct, **bad), lct) == [reason, None]


def test_id_is_accepted_once():
    admission = AdmissionFilter(a_store())
    lct = signed('cam0')
    thief = sign(replace(an_lct('cam1'), id=lct.id), KEYS['cam1'])
    assert reasons_of(admission, lct, thief) == [None, RejectionReason.REPLAYED]


@pytest.mark.parametrize('required', [True, False])
def test_many_entities_without_a_key_take_bounded_memory(required):
    guard = ReplayGuard()
    admission = AdmissionFilter(a_store(), require_signatures=required, replay_guard=guard)
    assert admission.admit(signed('cam0', sequence=7)).reason is None
    for n in range(3000):
        reason = admission.admit(an_lct(f'entity/{n:050}')).reason
        assert reason is (RejectionReason.UNKNOWN_KEY if required else None)
    assert len(pickle.dumps(guard)) < ReplayGuard.MAX_UNSIGNED * 200
    assert admission.admit(signed('cam0', sequence=7)).reason is RejectionReason.REPLAYED
    assert len(admission.reasons) <= len(RejectionReason)


def test_many_ids_take_bounded_memory(monkeypatch):
    monkeypatch.setattr(ReplayGuard, 'MAX_IDS', 10)
    guard = ReplayGuard()
    admission = AdmissionFilter(a_store(), replay_guard=guard)
    sizes = []
    for n in range(50):
        assert admission.admit(signed(sequence=n)).reason is None
        sizes.append(len(pickle.dumps(guard)))
    assert sizes[-1] <= sizes[12]


# Packed latents


@pytest.fixture
def packed():
    """Return a signed LCT whose latent is still packed."""
    lct = sign(an_lct(), KEYS['cam0'], WIRE)
    return replace(lct, latent=replace(lct.latent, mean=np.empty(0, np.float32)))


def unpack(latent):
    return replace(latent, mean=an_lct().latent.mean)


def test_accepted_latent_is_unpacked(packed):
    admission = AdmissionFilter(a_store())
    verdict = admission.admit(packed, Expected(2), wire=WIRE, unpack=unpack)
    assert np.array_equal(verdict.accepted.latent.mean, an_lct().latent.mean)
    assert verdict.received is packed
    assert (admission.accepted, admission.rejected) == (1, 0)


def test_rejected_latent_is_not_unpacked(packed):
    def fail(latent):
        raise AssertionError('unpacked')

    forged = replace(packed, signature=b's' * 64)
    verdict = AdmissionFilter(a_store()).admit(forged, Expected(2), wire=WIRE, unpack=fail)
    assert verdict.reason is RejectionReason.BAD_SIGNATURE


def test_latent_that_cannot_be_unpacked_is_rejected_and_counted_once(packed):
    def fail(latent):
        raise ValueError('bad payload')

    for expected, reason in (
        (Expected(2), RejectionReason.MALFORMED),
        (Expected(2, undecodable=RejectionReason.UNKNOWN_MODEL), RejectionReason.UNKNOWN_MODEL),
    ):
        admission = AdmissionFilter(a_store())
        verdict = admission.admit(packed, expected, wire=WIRE, unpack=fail)
        assert (verdict.reason, verdict.detail) == (reason, 'bad payload')
        assert (admission.accepted, dict(admission.reasons)) == (0, {reason: 1})
        assert admission.admit(packed, expected, wire=WIRE, unpack=unpack).reason is None


def test_unpacked_latent_must_have_the_expected_dimensions(packed):
    admission = AdmissionFilter(a_store())
    verdict = admission.admit(packed, Expected(3), wire=WIRE, unpack=unpack)
    assert verdict.reason is RejectionReason.DIMENSION
    assert verdict.attributable
    assert (admission.accepted, admission.rejected) == (0, 1)


def test_empty_latent_must_be_packed(packed):
    verdict = AdmissionFilter(a_store()).judge(packed, wire=PLAIN)
    assert verdict.reason is RejectionReason.DIMENSION


def test_payload_has_a_maximum_size(packed):
    verdict = AdmissionFilter(a_store()).judge(packed, wire=Wire(3, bytes(16385)))
    assert verdict.reason is RejectionReason.OVERSIZED
