# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Authenticity: the canonical form, signatures, screening of what outsiders and insiders send."""

import importlib.util
import json
import math
import pickle
import re
import struct
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from sage_perception.core.latent import HaltReason, Latent, LatentKind, ModelId, Roi, Telemetry
from sage_perception.core.lct import Operation, Proof, Provenance, step_from
from sage_perception.trust import LCT, TrustStore, sign, verify
from sage_perception.trust.arbiter import ATTRIBUTABLE
from sage_perception.trust.fusion.fusion import View, fuse
from sage_perception.trust.security.admission import AdmissionFilter, ReplayGuard
from sage_perception.trust.security.canonical import (
    PLAIN,
    Wire,
    canonical_form,
    latent_digest,
    latent_form,
    proven_form,
)
from sage_perception.trust.security.keys import public_bytes
from sage_perception.trust.security.rejection import RejectionReason

ROOT = Path(__file__).resolve().parents[2]
SECOND = 10**9
NOW = 100 * SECOND
MODEL = ModelId('m', '1', bytes(range(32)))
OTHER = ModelId('other', '1', bytes(range(1, 33)))
KEYS = {
    name: Ed25519PrivateKey.from_private_bytes(bytes([n]) * 32)
    for n, name in enumerate(('cam0', 'cam1', 'arbiter', 'relay', 'forger'))
}
TRUSTED = ('cam0', 'cam1', 'arbiter', 'relay')


def a_store(*entities):
    store = TrustStore()
    for entity in entities or TRUSTED:
        store.trust(entity, public_bytes(KEYS[entity]))
    return store


def spoken(entity='cam0', sequence=1, trust=0.75, stamp_ns=NOW, **latent):
    """An LCT as an encoder makes it."""
    latent = Latent(np.array([1.0, 2.0], np.float32), **{'model': MODEL, **latent})
    step = Provenance(Operation.ENCODE, entity, latent.model, trust=trust)
    return LCT(entity, sequence, stamp_ns, latent, (step,), trust)


def said(entity='cam0', sequence=1, **rest):
    return sign(spoken(entity, sequence, **rest), KEYS[entity])


def passed_on(parent, entity='relay', sequence=1, operation=Operation.RELAY, **change):
    """An LCT of `entity`, made from another, signed."""
    step = step_from(parent, operation, entity, parent.latent.model)
    steps = (*parent.provenance, step)
    lct = LCT(entity, sequence, parent.stamp_ns, parent.latent, steps, parent.trust)
    return sign(replace(lct, **change), KEYS[entity])


# The canonical form


FLOAT32 = st.floats(width=32, allow_nan=False)
MODELS = st.builds(
    ModelId, st.text(st.characters(exclude_characters='\0', codec='utf-8'), max_size=16),
    st.text('0123456789.', max_size=8), st.binary(min_size=32, max_size=32),
)  # fmt: skip
ENTITIES = st.text(st.characters(exclude_characters='\0', codec='utf-8'), max_size=16)
IDS = st.binary(min_size=16, max_size=16)
WORD = st.integers(0, 2**32 - 1)
SIDE = st.integers(1, 2**32 - 1)


@st.composite
def lcts(draw):
    mean = draw(st.lists(FLOAT32, max_size=5))
    log_var = draw(st.none() | st.lists(FLOAT32, min_size=len(mean), max_size=len(mean)))
    measured = st.just(math.nan) | FLOAT32
    latent = Latent(
        np.array(mean, np.float32),
        None if log_var is None else np.array(log_var, np.float32),
        draw(st.sampled_from(LatentKind)),
        draw(MODELS),
        draw(st.none() | st.builds(Roi, WORD, WORD, SIDE, SIDE)),
        draw(WORD),
        Telemetry(
            *(draw(each) for each in (FLOAT32, measured, measured, FLOAT32, FLOAT32)),
            draw(st.integers(0, 2**16 - 1)),
            tuple(draw(st.lists(measured, max_size=4))),
            draw(st.booleans()),
            draw(st.sampled_from(HaltReason)),
            draw(FLOAT32),
        ),
    )
    step = st.builds(Provenance, st.sampled_from(Operation), ENTITIES, MODELS, IDS, FLOAT32)
    return LCT(
        draw(ENTITIES),
        draw(st.integers(0, 2**64 - 1)),
        draw(st.integers(0, 2**62)),
        latent,
        tuple(draw(st.lists(step, max_size=3))),
        draw(FLOAT32),
        draw(IDS),
    )


class Reader:
    """Reads bytes as docs/lct.md lays them out."""

    def __init__(self, data):
        self.data, self.place = data, 0

    def take(self, length):
        self.place += length
        assert self.place <= len(self.data)
        return self.data[self.place - length : self.place]

    def number(self, code):
        return struct.unpack('<' + code, self.take(struct.calcsize('<' + code)))[0]

    def text(self):
        return self.take(self.number('B')).decode()

    def model(self):
        return ModelId(self.text(), self.text(), self.take(32))

    def floats(self, count):
        return [self.number('f') for _ in range(count)]


def read_latent(data):
    r = Reader(data)
    assert r.take(12) == b'sage.Latent\x01'
    kind, encoding = r.number('B'), r.number('B')
    payload = r.take(r.number('I'))
    log_var = r.take(r.number('I'))
    x, y, width, height, track = (r.number('I') for _ in range(5))
    model = r.model()
    iterations, converged, halt = r.number('H'), r.number('B'), r.number('B')
    trust, error, kl, norm, time_s, budget = r.floats(6)
    energies = tuple(r.floats(r.number('H')))
    assert r.number('B') == 0, 'no snarc'
    assert r.place == len(data)
    telemetry = Telemetry(
        trust, error, kl, norm, time_s, iterations, energies, bool(converged), halt, budget
    )
    roi = Roi(x, y, width, height) if width and height else None
    return kind, encoding, payload, log_var, roi, track, model, telemetry


def read_lct(data):
    r = Reader(data)
    assert r.take(9) == b'sage.LCT\x01'
    lct_id, entity = r.take(16), r.text()
    sequence, stamp, trust = r.number('Q'), r.number('q'), r.number('f')
    steps = tuple(
        Provenance(r.number('B'), r.text(), r.model(), r.take(16), r.number('f'))
        for _ in range(r.number('B'))
    )
    digest = r.take(32)
    assert r.place == len(data)
    return lct_id, entity, sequence, stamp, trust, steps, digest


@given(lcts())
def test_everything_can_be_read_back_from_the_canonical_form(lct):
    """So no two LCTs that differ have the same."""
    form, latent = canonical_form(lct), lct.latent
    *mine, steps, digest = read_lct(form)
    assert mine == [lct.id, lct.entity_id, lct.sequence, lct.stamp_ns, lct.trust]
    assert steps == lct.provenance
    data = latent_form(latent)
    assert digest == sha256(data).digest() == latent_digest(latent)
    kind, encoding, payload, log_var, roi, track, model, telemetry = read_latent(data)
    assert (kind, encoding, track, model) == (latent.kind, 0, latent.track_id, latent.model)
    assert roi == latent.roi
    assert payload == latent.mean.astype('<f4').tobytes()
    assert log_var == (b'' if latent.log_var is None else latent.log_var.astype('<f4').tobytes())
    assert repr(telemetry.energy_trajectory) == repr(latent.telemetry.energy_trajectory)
    for name, value in vars(latent.telemetry).items():
        found = getattr(telemetry, name)
        assert found == value or repr(found) == repr(value), name


def vectors():
    document = (ROOT / 'docs' / 'lct.md').read_text()
    return json.loads(re.search(r'```json\n(\[.*?\])\n```', document, re.DOTALL)[1])


def lct_of(said):
    """The LCT that a golden vector describes, and the form in which it travels."""

    def measured(value):
        return math.nan if value is None else value

    def model(value):
        name, version, fingerprint = value
        return ModelId(name, version, bytes.fromhex(fingerprint))

    latent, telemetry = said['latent'], said['latent']['telemetry']
    log_var = latent['log_var']
    roi = latent['roi']
    value = Latent(
        np.array(latent['mean'], np.float32),
        None if log_var is None else np.array(log_var, np.float32),
        LatentKind(latent['kind']),
        model(latent['model']),
        None if roi is None else Roi(*roi),
        latent['track_id'],
        Telemetry(
            **{
                **telemetry,
                'reconstruction_error': measured(telemetry['reconstruction_error']),
                'kl_per_dim': measured(telemetry['kl_per_dim']),
                'energy_trajectory': tuple(telemetry['energy_trajectory']),
                'halt_reason': HaltReason(telemetry['halt_reason']),
            }
        ),
    )
    steps = tuple(
        Provenance(
            Operation(step['operation']),
            step['entity_id'],
            model(step['model']),
            bytes.fromhex(step['parent_id']),
            step['trust'],
            proof_of(step['proof']),
        )
        for step in said['provenance']
    )
    lct = LCT(
        said['entity_id'],
        said['sequence'],
        said['stamp_ns'],
        value,
        steps,
        said['trust'],
        bytes.fromhex(said['id']),
    )
    return lct, Wire(latent['encoding'], bytes.fromhex(latent['payload']))


def proof_of(said):
    if said is None:
        return None
    latent, signature = bytes.fromhex(said['latent']), bytes.fromhex(''.join(said['signature']))
    return Proof(said['sequence'], said['stamp_ns'], said['trust'], latent, signature)


@pytest.mark.parametrize('vector', vectors(), ids=lambda vector: vector['name'])
def test_golden_vectors(vector):
    lct, wire = lct_of(vector['lct'])
    key = Ed25519PrivateKey.from_private_bytes(bytes.fromhex(vector['secret_key']))
    assert public_bytes(key).hex() == vector['public_key']
    assert latent_digest(lct.latent, wire).hex() == vector['latent_sha256']
    assert canonical_form(lct, wire).hex() == ''.join(vector['form'])
    assert sign(lct, key, wire).signature.hex() == ''.join(vector['signature'])


def test_the_golden_proof_is_that_of_the_golden_camera():
    camera, fused = ({**vector, 'lct': lct_of(vector['lct'])[0]} for vector in vectors()[:2])
    key = Ed25519PrivateKey.from_private_bytes(bytes.fromhex(camera['secret_key']))
    said = sign(camera['lct'], key)
    first, own, other = fused['lct'].provenance
    assert first == said.provenance[0]
    proof = step_from(said, own.operation, own.entity_id, own.model).proof
    assert (own.proof, other.proof) == (proof, None)
    assert proven_form(own.parent_id, first.entity_id, (first,), proof) == canonical_form(said)
    store = TrustStore()
    for entity in (first.entity_id, own.entity_id):
        store.trust(entity, public_bytes(key))
    assert verify(sign(fused['lct'], key), store) is None


def test_numbers_are_those_of_float32_whatever_they_came_from():
    third = spoken(trust=1 / 3, telemetry=Telemetry(0.1, np.float64(0.2), np.float32(0.3)))
    rounded = replace(
        third,
        trust=float(np.float32(1 / 3)),
        provenance=(replace(third.provenance[0], trust=float(np.float32(1 / 3))),),
        latent=replace(
            third.latent, telemetry=Telemetry(*(float(np.float32(x)) for x in (0.1, 0.2, 0.3)))
        ),
    )
    assert canonical_form(third) == canonical_form(rounded)


def test_one_nan_is_as_good_as_another():
    other = struct.unpack('<f', bytes.fromhex('0100c0ff'))[0]
    energies = [Telemetry(kl_per_dim=nan, energy_trajectory=(nan,)) for nan in (math.nan, other)]
    a, b = (latent_digest(spoken(telemetry=telemetry).latent) for telemetry in energies)
    assert a == b


def test_an_empty_region_is_none():
    assert latent_digest(spoken(roi=Roi(3, 4, 0, 9)).latent) == latent_digest(spoken().latent)


@pytest.mark.parametrize(
    'unfit',
    [
        replace(spoken(), trust=1e300),
        replace(spoken(), entity_id='x' * 65),
        replace(spoken(), entity_id='ü' * 33),
        replace(spoken(), entity_id='cam0\0'),
        replace(spoken(), entity_id='\ud800'),
        replace(spoken(), sequence=-1),
        replace(spoken(), sequence=2**64),
        replace(spoken(), id=b'short'),
        spoken(roi=Roi(-1, 0, 2, 2)),
        spoken(track_id=2**32),
        spoken(telemetry=Telemetry(iterations=2**16)),
    ],
)
def test_what_no_message_can_hold_is_not_signed(unfit):
    with pytest.raises(ValueError, match=r'bytes|fits no message|surrogates'):
        sign(unfit, KEYS['cam0'])


# Signatures


def test_what_was_said_is_believed():
    assert verify(said(), a_store()) is None
    assert verify(said(), a_store(), dim=2, fingerprint=MODEL.fingerprint, now_ns=NOW) is None


def load_bench():
    spec = importlib.util.spec_from_file_location('security', ROOT / 'bench' / 'security.py')
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


security = load_bench()


@settings(max_examples=400)
@given(st.randoms(use_true_random=False), st.booleans())
def test_any_single_change_of_any_field_breaks_the_signature(random, rich):
    telemetry = Telemetry(0.5, 0.01, math.nan, 2.0, 0.1, 3, (0.3, 0.2, math.nan))
    lct = spoken(
        log_var=np.zeros(2, np.float32),
        roi=Roi(1, 2, 3, 4),
        track_id=7,
        telemetry=telemetry if rich else Telemetry(),
    )
    lct = sign(lct, KEYS['cam0'])
    lct = passed_on(lct, entity='arbiter', operation=Operation.FUSE) if rich else lct
    assert verify(lct, a_store()) is None
    assert verify(security.changed(lct, random), a_store()) is not None


@given(st.binary(min_size=1, max_size=40), st.data())
def test_what_travels_packed_is_signed_as_it_travels(payload, data):
    wire = Wire(data.draw(st.integers(1, 4)), payload)
    lct = sign(spoken(), KEYS['cam0'], wire)
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


def test_the_variance_does_not_travel_packed():
    wire = Wire(2, b'payload')
    lct = spoken(log_var=np.ones(2, np.float32))
    arrived = replace(lct, latent=replace(lct.latent, log_var=None))
    assert canonical_form(lct, wire) == canonical_form(arrived, wire)
    assert canonical_form(lct) != canonical_form(arrived)


def test_a_signature_has_one_form():
    """Adding the group's order to its second half solves the same equation (RFC 8032, 5.1.7)."""
    lct = said()
    number = int.from_bytes(lct.signature[32:], 'little') + security.ORDER
    other = replace(lct, signature=lct.signature[:32] + number.to_bytes(32, 'little'))
    assert verify(other, a_store()) is RejectionReason.BAD_SIGNATURE


def spoilt(**change):
    return sign(replace(spoken(), **change), KEYS['cam0'])


STEP = spoken().provenance[0]
ID = b'i' * 16
REFUSED = {
    'nobody trusts the key': (RejectionReason.UNKNOWN_KEY, said('forger')),
    'nobody trusts the key, and it is unsigned': (RejectionReason.UNKNOWN_KEY, spoken('forger')),
    'no signature': (RejectionReason.UNSIGNED, spoken()),
    'half a signature': (RejectionReason.BAD_SIGNATURE, replace(said(), signature=b's' * 32)),
    'too long a signature': (RejectionReason.OVERSIZED, replace(said(), signature=b's' * 65)),
    "another's key": (RejectionReason.BAD_SIGNATURE, sign(spoken(), KEYS['cam1'])),
    "another's signature": (
        RejectionReason.BAD_SIGNATURE,
        replace(said(), signature=said().signature),
    ),
    'another model': (RejectionReason.WRONG_MODEL, sign(spoken(model=OTHER), KEYS['cam0'])),
    'late': (RejectionReason.STAMP, said(stamp_ns=NOW - 6 * SECOND)),
    'early': (RejectionReason.STAMP, said(stamp_ns=NOW + 6 * SECOND)),
    'a long name of a model': (
        RejectionReason.MALFORMED,
        replace(
            said(),
            latent=replace(said().latent, model=replace(MODEL, name='m' * 65)),
        ),
    ),
    'a short id': (RejectionReason.MALFORMED, replace(said(), id=b'')),
    'no steps': (RejectionReason.BROKEN_CHAIN, spoilt(provenance=(), trust=0.0)),
    "another's step last": (
        RejectionReason.BROKEN_CHAIN,
        spoilt(provenance=(replace(STEP, entity_id='cam1'),)),
    ),
    'a beginning that has a parent': (
        RejectionReason.BROKEN_CHAIN,
        spoilt(provenance=(replace(STEP, parent_id=ID),)),
    ),
    'no beginning': (
        RejectionReason.BROKEN_CHAIN,
        spoilt(provenance=(replace(STEP, operation=Operation.RELAY),)),
    ),
    'two beginnings': (
        RejectionReason.BROKEN_CHAIN,
        spoilt(provenance=(replace(STEP, trust=1.0), replace(STEP, parent_id=ID))),
    ),
    'a step from nothing': (
        RejectionReason.BROKEN_CHAIN,
        spoilt(provenance=(STEP, Provenance(Operation.RELAY, 'cam0', MODEL))),
    ),
    'a step from itself': (
        RejectionReason.BROKEN_CHAIN,
        spoilt(provenance=(STEP, Provenance(Operation.RELAY, 'cam0', MODEL, ID)), id=ID),
    ),
    'two steps from the same': (
        RejectionReason.BROKEN_CHAIN,
        spoilt(provenance=(STEP, *[Provenance(Operation.FUSE, 'cam0', MODEL, ID)] * 2)),
    ),
    'a model that no step made': (
        RejectionReason.BROKEN_CHAIN,
        spoilt(provenance=(replace(STEP, model=OTHER),)),
    ),
    'a trust that is not the product': (RejectionReason.BROKEN_CHAIN, spoilt(trust=0.9)),
}


@pytest.mark.parametrize(('refusal', 'lct'), REFUSED.values(), ids=REFUSED)
def test_each_refusal_has_its_name_and_is_counted(refusal, lct):
    known = {'dim': 2, 'fingerprint': MODEL.fingerprint, 'now_ns': NOW}
    assert verify(lct, a_store(), **known) is refusal
    screen = AdmissionFilter(a_store())
    assert screen.judge(lct, **known) is refusal
    assert (screen.accepted, dict(screen.reasons)) == (0, {refusal: 1})


def test_time_is_the_graphs_and_only_where_it_is_known():
    old = said(stamp_ns=3 * SECOND)
    assert verify(old, a_store()) is None
    assert verify(old, a_store(), now_ns=4 * SECOND) is None
    assert verify(old, a_store(), now_ns=10 * SECOND) is RejectionReason.STAMP
    assert verify(old, a_store(), now_ns=10 * SECOND, tolerance_ns=8 * SECOND) is None


def test_keys_change_without_a_break_and_the_old_one_is_named():
    store, new = a_store('cam0'), Ed25519PrivateKey.generate()
    old_one, new_one = said(), sign(spoken(), new)
    assert verify(new_one, store) is RejectionReason.BAD_SIGNATURE
    store.trust('cam0', public_bytes(new))
    assert verify(old_one, store) is None
    assert verify(new_one, store) is None
    store.revoke('cam0', public_bytes(KEYS['cam0']))
    assert verify(old_one, store) is RejectionReason.REVOKED_KEY
    assert verify(new_one, store) is None
    store.revoke('cam0')
    assert verify(new_one, store) is RejectionReason.REVOKED_KEY
    assert verify(spoken(), store) is RejectionReason.REVOKED_KEY


# Unsigned


def test_a_robot_alone_needs_no_keys():
    screen = AdmissionFilter()
    assert not screen.require_signatures
    assert screen.judge(spoken('forger')) is None
    assert verify(spoken(), TrustStore(), require_signature=False) is None


def test_who_has_a_key_must_sign_also_where_others_need_not():
    screen = AdmissionFilter(a_store('cam0'), require_signatures=False)
    assert screen.judge(spoken('cam1')) is None
    assert screen.judge(spoken('cam0')) is RejectionReason.UNSIGNED
    assert screen.judge(said('cam0')) is None


def test_what_was_said_in_the_name_of_an_entity_before_its_key_came_does_not_silence_it():
    store = TrustStore()
    screen = AdmissionFilter(store, require_signatures=False)
    assert screen.judge(spoken('cam0', sequence=2**64 - 1)) is None
    store.trust('cam0', public_bytes(KEYS['cam0']))
    assert screen.judge(said('cam0', sequence=5)) is None


def test_a_stranger_that_no_message_can_hold_ends_nothing():
    """Even where it claims to pass on what was signed."""
    screen = AdmissionFilter(a_store('cam0'), require_signatures=False)
    first = said()
    assert screen.judge(first) is None
    long = ModelId('m' * 100, '1', MODEL.fingerprint)
    relayed = passed_on(first, entity='relay')
    stranger = replace(relayed, latent=replace(relayed.latent, model=long), signature=b'')
    assert screen.judge(stranger) is RejectionReason.MALFORMED


# Screening


def test_nothing_is_said_twice_on_any_topic_that_shares_a_history():
    history = ReplayGuard()
    first, second = (AdmissionFilter(a_store(), history=history) for _ in range(2))
    lct = said(sequence=5)
    assert first.judge(lct) is None
    assert [screen.judge(lct) for screen in (first, second)] == [RejectionReason.SEQUENCE] * 2
    assert first.judge(said(sequence=4)) is RejectionReason.SEQUENCE
    assert second.judge(said(sequence=6)) is None


def test_what_is_refused_uses_up_no_sequence_number_and_no_id():
    screen = AdmissionFilter(a_store())
    lct = said(sequence=5)
    forged = replace(lct, sequence=2**64 - 1)
    assert screen.judge(forged) is RejectionReason.BAD_SIGNATURE
    assert screen.judge(lct) is None


def test_an_id_is_used_once():
    screen = AdmissionFilter(a_store())
    lct = said('cam0')
    thief = sign(replace(spoken('cam1'), id=lct.id), KEYS['cam1'])
    assert screen.judge(lct) is None
    assert screen.judge(thief) is RejectionReason.SEQUENCE


@pytest.mark.parametrize('required', [True, False])
def test_a_flood_of_names_fills_no_memory(required):
    history = ReplayGuard()
    screen = AdmissionFilter(a_store(), require_signatures=required, history=history)
    assert screen.judge(said('cam0', sequence=7)) is None
    stranger = spoken()
    for n in range(3000):
        name = f'stranger {n:50}'
        step = replace(stranger.provenance[0], entity_id=name)
        fault = screen.judge(replace(stranger, entity_id=name, provenance=(step,)))
        assert fault is (RejectionReason.UNKNOWN_KEY if required else None)
    assert len(pickle.dumps(history)) < ReplayGuard.STRANGERS * 200
    assert screen.judge(said('cam0', sequence=7)) is RejectionReason.SEQUENCE
    assert len(screen.reasons) <= len(RejectionReason)


def test_the_history_of_those_who_are_trusted_is_bounded_too(monkeypatch):
    monkeypatch.setattr(ReplayGuard, 'RECENT', 10)
    history = ReplayGuard()
    screen = AdmissionFilter(a_store(), history=history)
    sizes = []
    for n in range(50):
        assert screen.judge(said(sequence=n)) is None
        sizes.append(len(pickle.dumps(history)))
    assert sizes[-1] <= sizes[12]


def test_what_is_packed_is_judged_before_it_is_unpacked():
    wire = Wire(3, b'packed')
    lct = sign(spoken(), KEYS['cam0'], wire)
    still_packed = replace(lct, latent=replace(lct.latent, mean=np.empty(0, np.float32)))
    screen = AdmissionFilter(a_store())
    forged = replace(still_packed, signature=b's' * 64)
    unpacked = []

    def unpack(latent):
        unpacked.append(latent)
        return lct.latent

    def broken(latent):
        raise ValueError('not of this form')

    assert screen.admit(forged, 2, wire=wire, unpack=unpack) is RejectionReason.BAD_SIGNATURE
    assert not unpacked
    assert screen.admit(still_packed, 2, wire=wire, unpack=unpack).latent is lct.latent
    assert (screen.accepted, screen.refused) == (1, 1)
    for dim, reader, reason in (
        (3, unpack, RejectionReason.DIMENSION),
        (2, broken, RejectionReason.MALFORMED),
    ):
        screen = AdmissionFilter(a_store())
        assert screen.admit(still_packed, dim, wire=wire, unpack=reader) is reason
        assert (screen.accepted, screen.refused) == (0, 1)
        assert screen.reasons[reason] == 1
    # What is not packed has its numbers.
    assert AdmissionFilter(a_store()).judge(still_packed, wire=PLAIN) is RejectionReason.DIMENSION
    big = Wire(3, bytes(16385))
    assert AdmissionFilter(a_store()).judge(still_packed, wire=big) is RejectionReason.OVERSIZED


# Provenance, step by step


def fused_of(*lcts, sequence=1):
    return fuse([View(lct) for lct in lcts], np.zeros(2), 'arbiter', sequence)


def heard_by(store, *lcts):
    screen = AdmissionFilter(store)
    for lct in lcts:
        assert screen.judge(lct) is None
    return screen


def heard(*lcts):
    return heard_by(a_store(), *lcts)


def test_a_chain_is_believed_whether_its_beginning_was_heard_or_not():
    first = said('cam0')
    relayed = passed_on(first)
    fused = sign(fused_of(relayed, said('cam1')), KEYS['arbiter'])
    fused_again = sign(fused_of(fused, said('cam1', 2), sequence=2), KEYS['arbiter'])
    assert len(fused_again.provenance) == 6
    for known in ((), (first,), (relayed,), (first, relayed), (first, relayed, fused)):
        assert heard(*known).judge(fused_again) is None


LIES = {
    'a trust that was not said': lambda lct: replace(
        lct, provenance=(replace(lct.provenance[0], trust=1.0), *lct.provenance[1:]), trust=1.0
    ),
    'another speaker': lambda lct: replace(
        lct, provenance=(replace(lct.provenance[0], entity_id='cam1'), *lct.provenance[1:])
    ),
    'another moment': lambda lct: replace(lct, stamp_ns=lct.stamp_ns + 1),
    'another latent, said to be only passed on': lambda lct: replace(
        lct, latent=replace(lct.latent, mean=-lct.latent.mean)
    ),
    'a step between that nobody took': lambda lct: replace(
        lct,
        provenance=(
            lct.provenance[0],
            Provenance(Operation.RELAY, 'cam1', MODEL, ID),
            *lct.provenance[1:],
        ),
    ),
}


@pytest.mark.parametrize('lie', LIES.values(), ids=LIES)
def test_an_insider_who_lies_about_others_is_refused(lie):
    """Whether what they said was heard or not."""
    first = said('cam0')
    relayed = passed_on(first)
    lying = sign(lie(relayed), KEYS['relay'])
    for known in ((), (first,)):
        assert heard(*known).judge(lying) in (RejectionReason.BAD_PROOF, RejectionReason.UNPROVEN)
        assert heard(*known).judge(relayed) is None
    # Of an entity without a key nothing can be proven: what it did is the insider's word.
    assert verify(lying, a_store('relay')) is None
    assert heard_by(a_store('relay')).judge(lying) is RejectionReason.UNKNOWN_STEP


def test_a_lie_about_the_primary_parent_of_a_fusion_is_found():
    a, b = said('cam0'), said('cam1')
    fused = fused_of(a, b)
    better = replace(fused.provenance[0], trust=1.0)
    lying = resigned(fused, provenance=(better, *fused.provenance[1:]))
    assert heard().judge(lying) is RejectionReason.BAD_PROOF
    assert heard().judge(sign(fused, KEYS['arbiter'])) is None


OPERATIONS = [op for op in Operation if op not in (Operation.UNKNOWN, Operation.ENCODE)]
HOPS = st.lists(
    st.tuples(st.sampled_from(TRUSTED), st.sampled_from(OPERATIONS)), min_size=1, max_size=5
)


def chain_of(hops, sequence):
    """An LCT of the camera cam0 that went through these hands, all of whom signed."""
    lct = said('cam0', sequence)
    for n, (entity, operation) in enumerate(hops, 1):
        lct = passed_on(lct, entity, sequence + n, operation)
    return lct


def resigned(lct, **change):
    lct = replace(lct, **change)
    trust = math.prod(step.trust for step in lct.provenance)
    return sign(replace(lct, trust=trust), KEYS[lct.entity_id])


@settings(max_examples=40)
@given(HOPS, st.data())
def test_nothing_that_others_said_can_be_changed_in_a_chain_and_their_own_word_only_by_themselves(
    hops, data
):
    lct = chain_of(hops, 1)
    assert verify(lct, a_store()) is None
    steps = lct.provenance
    place = data.draw(st.integers(0, len(steps) - 1))
    raised = (*steps[:place], replace(steps[place], trust=0.5), *steps[place + 1 :])
    own = all(step.entity_id == lct.entity_id for step in steps[place:])
    assert verify(resigned(lct, provenance=raised), a_store()) is (
        None if own else RejectionReason.BAD_PROOF
    )


@settings(max_examples=40)
@given(HOPS, st.data())
def test_no_step_or_proof_of_one_chain_fits_into_another(hops, data):
    lct, other = chain_of(hops, 1), chain_of(hops, 10)
    steps, foreign = lct.provenance, other.provenance
    hands = [n for n in range(1, len(steps)) if steps[n].entity_id != steps[n - 1].entity_id]
    assume(hands)
    place = data.draw(st.sampled_from(hands))

    def verdict(*mixed):
        return verify(resigned(lct, provenance=mixed), a_store())

    before, step, after = steps[:place], steps[place], steps[place + 1 :]
    proof = foreign[place].proof
    assert verdict(*before, replace(step, proof=proof), *after) is RejectionReason.BAD_PROOF
    assert verdict(*before, replace(step, proof=None), *after) is RejectionReason.UNPROVEN
    if before != foreign[:place]:
        assert verdict(*foreign[:place], step, *after) is RejectionReason.BAD_PROOF


def test_a_proof_where_none_is_wanted_is_refused_and_blamed_on_nobody():
    """It is not signed: anybody could have put it there."""
    first = said('cam0')
    proof = passed_on(first).provenance[1].proof
    for lct in (first, passed_on(first, 'cam0', 2)):
        *before, last = lct.provenance
        added = replace(lct, provenance=(*before, replace(last, proof=proof)))
        assert verify(added, a_store()) is RejectionReason.BAD_PROOF
    assert RejectionReason.BAD_PROOF not in ATTRIBUTABLE
    assert RejectionReason.UNPROVEN not in ATTRIBUTABLE


def test_a_step_that_was_signed_with_a_key_revoked_since_is_refused():
    store, lct = a_store(), passed_on(said('cam0'))
    store.revoke('cam0')
    assert verify(lct, store) is RejectionReason.REVOKED_KEY


def test_what_is_compressed_is_of_several_moments_and_what_was_relayed_before_is_not():
    relayed = passed_on(said('cam0'))
    code = passed_on(relayed, 'arbiter', operation=Operation.COMPRESS, stamp_ns=NOW + 5)
    assert verify(code, a_store()) is None
    later = passed_on(said('cam0'), stamp_ns=NOW + 1)
    code = passed_on(later, 'arbiter', operation=Operation.COMPRESS, stamp_ns=NOW + 5)
    assert verify(code, a_store()) is RejectionReason.BAD_PROOF


def test_what_travelled_packed_is_proven_as_it_travelled():
    wire = Wire(2, b'payload')
    packed = sign(spoken(), KEYS['cam0'], wire)
    unpacked = replace(packed, latent=replace(packed.latent, mean=np.ones(2, np.float32)))
    fused = fused_of(unpacked)
    assert verify(sign(fused, KEYS['arbiter']), a_store()) is None


def test_a_stranger_speaks_for_nobody_who_has_a_key():
    """Also where strangers are believed."""
    store, first = a_store('cam0'), said('cam0')
    relayed = replace(passed_on(first, 'forger'), signature=b'')
    assert verify(relayed, store, require_signature=False) is None
    raised = replace(first.provenance[0], trust=1.0)
    lying = replace(relayed, provenance=(raised, relayed.provenance[1]), trust=1.0)
    assert verify(lying, store, require_signature=False) is RejectionReason.BAD_PROOF
    borrowed = replace(relayed, provenance=first.provenance)
    assert verify(borrowed, store, require_signature=False) is RejectionReason.UNPROVEN
    garbled = replace(relayed.provenance[1], proof=Proof(-1, NOW, 2e300, b'', b's'))
    lying = replace(relayed, provenance=(first.provenance[0], garbled))
    assert verify(lying, store, require_signature=False) is RejectionReason.BAD_PROOF


def test_a_translation_changes_the_latent_and_its_model():
    first = said('cam0')
    step = step_from(first, Operation.TRANSLATE, 'relay', OTHER, 0.9)
    latent = replace(first.latent, mean=-first.latent.mean, model=OTHER)
    steps = (*first.provenance, step)
    lct = LCT('relay', 1, first.stamp_ns, latent, steps, first.trust * 0.9)
    assert heard(first).judge(sign(lct, KEYS['relay'])) is None


# The bench


def test_the_bench_attacks_in_every_way_and_nothing_passes():
    result = security.attack(mutations=600, seed=1, honest=10)
    assert (result['accepted'], result['crashes']) == (0, 0)
    assert result['honest'] == result['honest_accepted'] == 20
    assert sum(sum(v.values()) for v in result['verdicts'].values()) == result['mutated'] == 600
    assert set(result['verdicts']) == {way.__name__ for way in security.ATTACKS}
