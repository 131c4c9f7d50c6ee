# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Verification of LCTs: signatures, keys, time stamps, and proofs of earlier steps."""

import importlib.util
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from signed_lcts import (
    KEYS,
    MODEL,
    NOW,
    OTHER_MODEL,
    SECOND,
    TRUSTED,
    a_store,
    an_lct,
    derived,
    signed,
)

from sage_perception.core.latent import Roi, Telemetry
from sage_perception.core.lct import LCT, Operation, Proof, Provenance, step_from
from sage_perception.trust import TrustStore, sign, verify
from sage_perception.trust.fusion.fusion import View, fuse
from sage_perception.trust.security.admission import AdmissionFilter, Expected
from sage_perception.trust.security.canonical import PLAIN, Wire
from sage_perception.trust.security.keys import public_bytes
from sage_perception.trust.security.rejection import RejectionReason
from sage_perception.trust.security.verification import ATTRIBUTABLE, SignatureStatus, check

ROOT = Path(__file__).resolve().parents[2]


def load_bench():
    spec = importlib.util.spec_from_file_location('security', ROOT / 'bench' / 'security.py')
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


security = load_bench()


# Signatures


def test_signed_lct_passes():
    assert verify(signed(), a_store()) is None
    assert verify(signed(), a_store(), dim=2, fingerprint=MODEL.fingerprint, now_ns=NOW) is None


@settings(max_examples=400)
@given(st.randoms(use_true_random=False), st.booleans())
def test_any_change_of_any_field_is_rejected(random, rich):
    telemetry = Telemetry(0.5, 0.01, math.nan, 2.0, 0.1, 3, (0.3, 0.2, math.nan))
    lct = an_lct(
        log_var=np.zeros(2, np.float32),
        roi=Roi(1, 2, 3, 4),
        track_id=7,
        telemetry=telemetry if rich else Telemetry(),
    )
    lct = sign(lct, KEYS['cam0'])
    lct = derived(lct, entity='arbiter', operation=Operation.FUSE) if rich else lct
    assert verify(lct, a_store()) is None
    assert verify(security.changed(lct, random), a_store()) is not None


@given(st.binary(min_size=1, max_size=40), st.data())
def test_signature_covers_the_packed_payload(payload, data):
    wire = Wire(data.draw(st.integers(1, 4)), payload)
    lct = sign(an_lct(), KEYS['cam0'], wire)
    assert verify(lct, a_store(), wire=wire) is None
    place = data.draw(st.integers(0, len(payload) - 1))
    flipped = payload[:place] + bytes([payload[place] ^ 1]) + payload[place + 1 :]
    for other in (
        Wire(wire.encoding, flipped),
        Wire(wire.encoding, payload[:-1]),
        Wire(wire.encoding, payload + b'\0'),
        Wire(wire.encoding % 4 + 1, payload),
        PLAIN,
    ):
        assert verify(lct, a_store(), wire=other) is RejectionReason.BAD_SIGNATURE


def test_signature_is_not_malleable():
    """Adding the group order to its second half satisfies the same equation (RFC 8032, 5.1.7)."""
    lct = signed()
    number = int.from_bytes(lct.signature[32:], 'little') + security.ORDER
    other = replace(lct, signature=lct.signature[:32] + number.to_bytes(32, 'little'))
    assert verify(other, a_store()) is RejectionReason.BAD_SIGNATURE


def changed(**change):
    return sign(replace(an_lct(), **change), KEYS['cam0'])


STEP = an_lct().provenance[0]
ID = b'i' * 16
REJECTED = {
    'untrusted key': (RejectionReason.UNKNOWN_KEY, signed('forger')),
    'untrusted key, unsigned': (RejectionReason.UNKNOWN_KEY, an_lct('forger')),
    'no signature': (RejectionReason.UNSIGNED, an_lct()),
    'half a signature': (RejectionReason.BAD_SIGNATURE, replace(signed(), signature=b's' * 32)),
    'long signature': (RejectionReason.OVERSIZED, replace(signed(), signature=b's' * 65)),
    'key of another entity': (RejectionReason.BAD_SIGNATURE, sign(an_lct(), KEYS['cam1'])),
    'signature of another LCT': (
        RejectionReason.BAD_SIGNATURE,
        replace(signed(), signature=signed(sequence=2).signature),
    ),
    'another model': (
        RejectionReason.WRONG_MODEL,
        sign(an_lct(model=OTHER_MODEL), KEYS['cam0']),
    ),
    'old stamp': (RejectionReason.STAMP, signed(stamp_ns=NOW - 6 * SECOND)),
    'future stamp': (RejectionReason.STAMP, signed(stamp_ns=NOW + 6 * SECOND)),
    'long model name': (
        RejectionReason.MALFORMED,
        replace(signed(), latent=replace(signed().latent, model=replace(MODEL, name='m' * 65))),
    ),
    'short id': (RejectionReason.MALFORMED, replace(signed(), id=b'')),
    'no steps': (RejectionReason.BROKEN_CHAIN, changed(provenance=(), trust=0.0)),
    'last step of another entity': (
        RejectionReason.BROKEN_CHAIN,
        changed(provenance=(replace(STEP, entity_id='cam1'),)),
    ),
    'first step with a parent': (
        RejectionReason.BROKEN_CHAIN,
        changed(provenance=(replace(STEP, parent_id=ID),)),
    ),
    'first step is not ENCODE': (
        RejectionReason.BROKEN_CHAIN,
        changed(provenance=(replace(STEP, operation=Operation.RELAY),)),
    ),
    'second ENCODE': (
        RejectionReason.BROKEN_CHAIN,
        changed(provenance=(replace(STEP, trust=1.0), replace(STEP, parent_id=ID))),
    ),
    'later step without a parent': (
        RejectionReason.BROKEN_CHAIN,
        changed(provenance=(STEP, Provenance(Operation.RELAY, 'cam0', MODEL))),
    ),
    'step from itself': (
        RejectionReason.BROKEN_CHAIN,
        changed(provenance=(STEP, Provenance(Operation.RELAY, 'cam0', MODEL, ID)), id=ID),
    ),
    'two steps with the same parent': (
        RejectionReason.BROKEN_CHAIN,
        changed(provenance=(STEP, *[Provenance(Operation.FUSE, 'cam0', MODEL, ID)] * 2)),
    ),
    'model of no step': (
        RejectionReason.BROKEN_CHAIN,
        changed(provenance=(replace(STEP, model=OTHER_MODEL),)),
    ),
    'trust is not the product': (RejectionReason.BROKEN_CHAIN, changed(trust=0.9)),
}


@pytest.mark.parametrize(('reason', 'lct'), REJECTED.values(), ids=REJECTED)
def test_rejection_has_its_reason_and_is_counted(reason, lct):
    assert verify(lct, a_store(), dim=2, fingerprint=MODEL.fingerprint, now_ns=NOW) is reason
    admission = AdmissionFilter(a_store())
    verdict = admission.admit(lct, Expected(2, MODEL.fingerprint), now_ns=NOW)
    assert (verdict.accepted, verdict.reason) == (None, reason)
    assert (admission.accepted, dict(admission.reasons)) == (0, {reason: 1})


def test_time_stamp_is_checked_against_a_given_clock():
    old = signed(stamp_ns=3 * SECOND)
    assert verify(old, a_store()) is None
    assert verify(old, a_store(), now_ns=4 * SECOND) is None
    assert verify(old, a_store(), now_ns=10 * SECOND) is RejectionReason.STAMP
    assert verify(old, a_store(), now_ns=10 * SECOND, tolerance_ns=8 * SECOND) is None


def test_keys_are_rotated_and_revoked():
    store, new = a_store('cam0'), Ed25519PrivateKey.generate()
    with_old, with_new = signed(), sign(an_lct(), new)
    assert verify(with_new, store) is RejectionReason.BAD_SIGNATURE
    store.trust('cam0', public_bytes(new))
    assert verify(with_old, store) is None
    assert verify(with_new, store) is None
    store.revoke('cam0', public_bytes(KEYS['cam0']))
    assert verify(with_old, store) is RejectionReason.REVOKED_KEY
    assert verify(with_new, store) is None
    store.revoke('cam0')
    assert verify(with_new, store) is RejectionReason.REVOKED_KEY
    assert verify(an_lct(), store) is RejectionReason.REVOKED_KEY


# The signature status


NOT_FINITE = replace(an_lct(), latent=replace(an_lct().latent, mean=np.float32([np.nan, 0])))


@pytest.mark.parametrize(
    ('lct', 'reason', 'status'),
    [
        (signed(), None, SignatureStatus.VALID),
        (sign(an_lct(), KEYS['forger']), RejectionReason.BAD_SIGNATURE, SignatureStatus.INVALID),
        (sign(NOT_FINITE, KEYS['cam0']), RejectionReason.NOT_FINITE, SignatureStatus.VALID),
        (sign(NOT_FINITE, KEYS['forger']), RejectionReason.NOT_FINITE, SignatureStatus.INVALID),
        (signed('forger'), RejectionReason.UNKNOWN_KEY, SignatureStatus.UNCHECKED),
        (replace(signed(), stamp_ns=0), RejectionReason.NO_STAMP, SignatureStatus.UNCHECKED),
    ],
)
def test_signature_status_tells_whether_a_fault_is_the_entitys_own(lct, reason, status):
    assert check(lct, a_store())[:2] == (reason, status)


def test_signature_is_checked_once(monkeypatch):
    keys, checks = a_store('cam0').keys_of('cam0'), []
    verifies = type(keys[0]).verifies
    monkeypatch.setattr(
        type(keys[0]), 'verifies', lambda *args: checks.append(args) or verifies(*args)
    )
    for lct in (signed(), sign(NOT_FINITE, KEYS['cam0'])):
        checks.clear()
        AdmissionFilter(a_store()).admit(lct)
        assert len(checks) == 1


# Entities without a key


def test_unsigned_lct_passes_if_signatures_are_not_required():
    assert verify(an_lct(), TrustStore(), require_signature=False) is None
    status = check(an_lct(), TrustStore(), require_signature=False).signature
    assert status is SignatureStatus.NO_KEY


def test_unsigned_lct_that_no_message_can_hold_is_malformed():
    lct = replace(an_lct(), provenance=(replace(STEP, entity_id='ü' * 40),))
    reason = verify(lct, TrustStore(), require_signature=False)
    assert reason is RejectionReason.MALFORMED


# Proofs


def fused_of(*lcts, sequence=1):
    return fuse([View(lct) for lct in lcts], np.zeros(2), 'arbiter', sequence)


def admitting(store, *lcts):
    """Return an admission filter that has accepted these LCTs."""
    admission = AdmissionFilter(store)
    for lct in lcts:
        assert admission.admit(lct).reason is None
    return admission


def reason_after(*lcts, of, store=None):
    return admitting(store or a_store(), *lcts).admit(of).reason


def test_chain_passes_whether_its_earlier_lcts_were_received_or_not():
    first = signed('cam0')
    relayed = derived(first)
    fused = sign(fused_of(relayed, signed('cam1')), KEYS['arbiter'])
    fused_again = sign(fused_of(fused, signed('cam1', 2), sequence=2), KEYS['arbiter'])
    assert len(fused_again.provenance) == 6
    for received in ((), (first,), (relayed,), (first, relayed), (first, relayed, fused)):
        assert reason_after(*received, of=fused_again) is None


LIES = {
    'higher trust': lambda lct: replace(
        lct, provenance=(replace(lct.provenance[0], trust=1.0), *lct.provenance[1:]), trust=1.0
    ),
    'another entity': lambda lct: replace(
        lct, provenance=(replace(lct.provenance[0], entity_id='cam1'), *lct.provenance[1:])
    ),
    'another time stamp': lambda lct: replace(lct, stamp_ns=lct.stamp_ns + 1),
    'another latent, claimed to be relayed': lambda lct: replace(
        lct, latent=replace(lct.latent, mean=-lct.latent.mean)
    ),
    'an invented step in between': lambda lct: replace(
        lct,
        provenance=(
            lct.provenance[0],
            Provenance(Operation.RELAY, 'cam1', MODEL, ID),
            *lct.provenance[1:],
        ),
    ),
}


@pytest.mark.parametrize('lie', LIES.values(), ids=LIES)
def test_trusted_entity_cannot_lie_about_another_one(lie):
    first = signed('cam0')
    relayed = derived(first)
    lying = sign(lie(relayed), KEYS['relay'])
    for received in ((), (first,)):
        reason = reason_after(*received, of=lying)
        assert reason in (RejectionReason.BAD_PROOF, RejectionReason.MISSING_PROOF)
        assert reason_after(*received, of=relayed) is None


@pytest.mark.parametrize('lie', LIES.values(), ids=LIES)
def test_steps_of_an_entity_without_a_key_cannot_be_verified(lie):
    lying = sign(lie(derived(signed('cam0'))), KEYS['relay'])
    assert verify(lying, a_store('relay')) is None
    reason = reason_after(of=lying, store=a_store('relay'))
    assert reason is RejectionReason.UNKNOWN_STEP


def test_lie_about_the_primary_parent_of_a_fusion_is_rejected():
    fused = fused_of(signed('cam0'), signed('cam1'))
    better = replace(fused.provenance[0], trust=1.0)
    lying = signed_again(fused, provenance=(better, *fused.provenance[1:]))
    assert reason_after(of=lying) is RejectionReason.BAD_PROOF
    assert reason_after(of=sign(fused, KEYS['arbiter'])) is None


OPERATIONS = [op for op in Operation if op not in (Operation.UNKNOWN, Operation.ENCODE)]
HOPS = st.lists(
    st.tuples(st.sampled_from(TRUSTED), st.sampled_from(OPERATIONS)), min_size=1, max_size=5
)


def chain_of(hops, sequence):
    """Return an LCT of cam0 that these entities derived from each other, all signed."""
    lct = signed('cam0', sequence)
    for n, (entity, operation) in enumerate(hops, 1):
        lct = derived(lct, entity, sequence + n, operation)
    return lct


def signed_again(lct, **change):
    lct = replace(lct, **change)
    trust = math.prod(step.trust for step in lct.provenance)
    return sign(replace(lct, trust=trust), KEYS[lct.entity_id])


@settings(max_examples=40)
@given(HOPS, st.data())
def test_only_the_last_entity_can_change_its_own_last_steps(hops, data):
    lct = chain_of(hops, 1)
    assert verify(lct, a_store()) is None
    steps = lct.provenance
    place = data.draw(st.integers(0, len(steps) - 1))
    raised = (*steps[:place], replace(steps[place], trust=0.5), *steps[place + 1 :])
    own = all(step.entity_id == lct.entity_id for step in steps[place:])
    expected = None if own else RejectionReason.BAD_PROOF
    assert verify(signed_again(lct, provenance=raised), a_store()) is expected


@settings(max_examples=40)
@given(HOPS, st.data())
def test_steps_and_proofs_cannot_be_moved_to_another_chain(hops, data):
    lct, other = chain_of(hops, 1), chain_of(hops, 10)
    steps, foreign = lct.provenance, other.provenance
    transfers = [n for n in range(1, len(steps)) if steps[n].entity_id != steps[n - 1].entity_id]
    assume(transfers)
    place = data.draw(st.sampled_from(transfers))

    def reason(*mixed):
        return verify(signed_again(lct, provenance=mixed), a_store())

    before, step, after = steps[:place], steps[place], steps[place + 1 :]
    proof = foreign[place].proof
    assert reason(*before, replace(step, proof=proof), *after) is RejectionReason.BAD_PROOF
    assert reason(*before, replace(step, proof=None), *after) is RejectionReason.MISSING_PROOF
    if before != foreign[:place]:
        assert reason(*foreign[:place], step, *after) is RejectionReason.BAD_PROOF


def test_superfluous_proof_is_rejected():
    first = signed('cam0')
    proof = derived(first).provenance[1].proof
    for lct in (first, derived(first, 'cam0', 2)):
        *before, last = lct.provenance
        added = replace(lct, provenance=(*before, replace(last, proof=proof)))
        assert verify(added, a_store()) is RejectionReason.BAD_PROOF


def test_proof_faults_are_not_attributable():
    """Proofs are not signed: a third party may have changed them."""
    assert not {RejectionReason.BAD_PROOF, RejectionReason.MISSING_PROOF} & ATTRIBUTABLE


def test_step_signed_with_a_revoked_key_is_rejected():
    store, lct = a_store(), derived(signed('cam0'))
    store.revoke('cam0')
    assert verify(lct, store) is RejectionReason.REVOKED_KEY


def test_compression_may_change_the_time_stamp_and_a_relay_may_not():
    relayed = derived(signed('cam0'))
    code = derived(relayed, 'arbiter', operation=Operation.COMPRESS, stamp_ns=NOW + 5)
    assert verify(code, a_store()) is None
    later = derived(signed('cam0'), stamp_ns=NOW + 1)
    code = derived(later, 'arbiter', operation=Operation.COMPRESS, stamp_ns=NOW + 5)
    assert verify(code, a_store()) is RejectionReason.BAD_PROOF


def test_proof_of_a_packed_latent_stays_valid_after_unpacking():
    packed = sign(an_lct(), KEYS['cam0'], Wire(2, b'payload'))
    unpacked = replace(packed, latent=replace(packed.latent, mean=np.ones(2, np.float32)))
    fused = fused_of(unpacked)
    assert verify(sign(fused, KEYS['arbiter']), a_store()) is None


def test_entity_without_a_key_cannot_lie_about_one_that_has_a_key():
    store, first = a_store('cam0'), signed('cam0')
    relayed = replace(derived(first, 'forger'), signature=b'')
    raised = replace(first.provenance[0], trust=1.0)
    garbled = replace(relayed.provenance[1], proof=Proof(-1, NOW, 2e300, b'', b's'))

    def reason(**change):
        return verify(replace(relayed, **change), store, require_signature=False)

    assert reason() is None
    lie = (raised, relayed.provenance[1])
    assert reason(provenance=lie, trust=1.0) is RejectionReason.BAD_PROOF
    assert reason(provenance=first.provenance) is RejectionReason.MISSING_PROOF
    assert reason(provenance=(first.provenance[0], garbled)) is RejectionReason.BAD_PROOF


def test_translation_may_change_the_latent_and_its_model():
    first = signed('cam0')
    step = step_from(first, Operation.TRANSLATE, 'relay', OTHER_MODEL, 0.9)
    latent = replace(first.latent, mean=-first.latent.mean, model=OTHER_MODEL)
    lct = LCT.derived(
        latent,
        (*first.provenance, step),
        entity_id='relay',
        sequence=1,
        stamp_ns=first.stamp_ns,
    )
    assert reason_after(first, of=sign(lct, KEYS['relay'])) is None


# The bench


def test_bench_finds_no_accepted_attack():
    result = security.attack(mutations=600, seed=1, honest=10)
    assert (result['accepted'], result['crashes']) == (0, 0)
    assert result['honest'] == result['honest_accepted'] == 20
    assert sum(sum(v.values()) for v in result['verdicts'].values()) == result['mutated'] == 600
    assert set(result['verdicts']) == {attack.__name__ for attack in security.ATTACKS}
