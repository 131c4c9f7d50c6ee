# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""The canonical form: unambiguous, stable, and equal to the golden vectors of the documents."""

import json
import math
import re
import struct
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st
from signed_lcts import KEYS, an_lct

from sage_perception.core.latent import HaltReason, Latent, LatentKind, ModelId, Roi, Telemetry
from sage_perception.core.lct import LCT, Operation, Proof, Provenance, step_from
from sage_perception.trust import TrustStore, sign, verify
from sage_perception.trust.security.canonical import (
    Wire,
    canonical_form,
    latent_digest,
    latent_form,
    proven_form,
)
from sage_perception.trust.security.keys import public_bytes

ROOT = Path(__file__).resolve().parents[2]

FLOAT32 = st.floats(width=32, allow_nan=False)
TEXT = st.text(st.characters(exclude_characters='\0', codec='utf-8'), max_size=16)
MODELS = st.builds(
    ModelId, TEXT, st.text('0123456789.', max_size=8), st.binary(min_size=32, max_size=32)
)
IDS = st.binary(min_size=16, max_size=16)
UINT32 = st.integers(0, 2**32 - 1)
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
        draw(st.none() | st.builds(Roi, UINT32, UINT32, SIDE, SIDE)),
        draw(UINT32),
        Telemetry(
            *(draw(each) for each in (FLOAT32, measured, measured, FLOAT32, FLOAT32)),
            draw(st.integers(1, 2**16 - 1)),
            tuple(draw(st.lists(measured, max_size=4))),
            draw(st.booleans()),
            draw(st.sampled_from(HaltReason)),
            draw(FLOAT32),
        ),
    )
    step = st.builds(Provenance, st.sampled_from(Operation), TEXT, MODELS, IDS, FLOAT32)
    return LCT(
        draw(TEXT),
        draw(st.integers(0, 2**64 - 1)),
        draw(st.integers(0, 2**62)),
        latent,
        tuple(draw(st.lists(step, max_size=3))),
        draw(FLOAT32),
        draw(IDS),
    )


class Reader:
    """Reads bytes in the layout of docs/reference/lct_format.md."""

    def __init__(self, data):
        self.data, self.position = data, 0

    def take(self, length):
        self.position += length
        assert self.position <= len(self.data)
        return self.data[self.position - length : self.position]

    def number(self, code):
        return struct.unpack('<' + code, self.take(struct.calcsize('<' + code)))[0]

    def text(self):
        return self.take(self.number('B')).decode()

    def model(self):
        """Return name, version and fingerprint."""
        return self.text(), self.text(), self.take(32)

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
    assert r.position == len(data)
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
        Provenance(r.number('B'), r.text(), ModelId(*r.model()), r.take(16), r.number('f'))
        for _ in range(r.number('B'))
    )
    digest = r.take(32)
    assert r.position == len(data)
    return lct_id, entity, sequence, stamp, trust, steps, digest


@given(lcts())
def test_lct_form_contains_every_field(lct):
    form = canonical_form(lct)
    *fields, steps, digest = read_lct(form)
    assert fields == [lct.id, lct.entity_id, lct.sequence, lct.stamp_ns, lct.trust]
    assert steps == lct.provenance
    assert digest == sha256(latent_form(lct.latent)).digest() == latent_digest(lct.latent)


@given(lcts())
def test_latent_form_contains_every_field(lct):
    latent = lct.latent
    form = read_latent(latent_form(latent))
    kind, encoding, payload, log_var, roi, track, model, telemetry = form
    assert (kind, encoding, track) == (latent.kind, 0, latent.track_id)
    assert model == (latent.model.name, latent.model.version, latent.model.fingerprint)
    assert roi == latent.roi
    assert payload == latent.mean.astype('<f4').tobytes()
    assert log_var == (b'' if latent.log_var is None else latent.log_var.astype('<f4').tobytes())
    assert repr(telemetry.energy_trajectory) == repr(latent.telemetry.energy_trajectory)
    for name, value in vars(latent.telemetry).items():
        found = getattr(telemetry, name)
        assert found == value or repr(found) == repr(value), name


def golden_vectors():
    document = (ROOT / 'docs' / 'reference' / 'lct_format.md').read_text()
    return json.loads(re.search(r'```json\n(\[.*?\])\n```', document, re.DOTALL)[1])


def lct_of(fields):
    """Return the LCT of a golden vector, and its wire form."""

    def measured(value):
        return math.nan if value is None else value

    def model(value):
        name, version, fingerprint = value
        return ModelId(name, version, bytes.fromhex(fingerprint))

    latent, telemetry = fields['latent'], fields['latent']['telemetry']
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
        for step in fields['provenance']
    )
    lct = LCT(
        fields['entity_id'],
        fields['sequence'],
        fields['stamp_ns'],
        value,
        steps,
        fields['trust'],
        bytes.fromhex(fields['id']),
    )
    return lct, Wire(latent['encoding'], bytes.fromhex(latent['payload']))


def proof_of(fields):
    if fields is None:
        return None
    signature = bytes.fromhex(''.join(fields['signature']))
    latent = bytes.fromhex(fields['latent'])
    return Proof(fields['sequence'], fields['stamp_ns'], fields['trust'], latent, signature)


@pytest.mark.parametrize('vector', golden_vectors(), ids=lambda vector: vector['name'])
def test_golden_vectors(vector):
    lct, wire = lct_of(vector['lct'])
    key = Ed25519PrivateKey.from_private_bytes(bytes.fromhex(vector['secret_key']))
    assert public_bytes(key).hex() == vector['public_key']
    assert latent_digest(lct.latent, wire).hex() == vector['latent_sha256']
    assert canonical_form(lct, wire).hex() == ''.join(vector['form'])
    assert sign(lct, key, wire).signature.hex() == ''.join(vector['signature'])


def test_golden_proof_is_the_signature_of_the_golden_camera():
    camera, fused = (
        {**vector, 'lct': lct_of(vector['lct'])[0]} for vector in golden_vectors()[:2]
    )
    key = Ed25519PrivateKey.from_private_bytes(bytes.fromhex(camera['secret_key']))
    parent = sign(camera['lct'], key)
    first, own, other = fused['lct'].provenance
    assert first == parent.provenance[0]
    proof = step_from(parent, own.operation, own.entity_id, own.model).proof
    assert (own.proof, other.proof) == (proof, None)
    form = proven_form(own.parent_id, first.entity_id, (first,), proof)
    assert form == canonical_form(parent)
    store = TrustStore()
    for entity in (first.entity_id, own.entity_id):
        store.trust(entity, public_bytes(key))
    assert verify(sign(fused['lct'], key), store) is None


def test_float64_values_are_rounded_to_float32():
    third = an_lct(trust=1 / 3, telemetry=Telemetry(0.1, np.float64(0.2), np.float32(0.3)))
    rounded = replace(
        third,
        trust=float(np.float32(1 / 3)),
        provenance=(replace(third.provenance[0], trust=float(np.float32(1 / 3))),),
        latent=replace(
            third.latent, telemetry=Telemetry(*(float(np.float32(x)) for x in (0.1, 0.2, 0.3)))
        ),
    )
    assert canonical_form(third) == canonical_form(rounded)


def test_all_nan_values_have_the_same_form():
    other = struct.unpack('<f', bytes.fromhex('0100c0ff'))[0]
    values = [Telemetry(kl_per_dim=nan, energy_trajectory=(nan,)) for nan in (math.nan, other)]
    a, b = (latent_digest(an_lct(telemetry=telemetry).latent) for telemetry in values)
    assert a == b


def test_empty_region_has_the_form_of_no_region():
    assert latent_digest(an_lct(roi=Roi(3, 4, 0, 9)).latent) == latent_digest(an_lct().latent)


def test_packed_form_omits_the_variance():
    wire = Wire(2, b'payload')
    lct = an_lct(log_var=np.ones(2, np.float32))
    received = replace(lct, latent=replace(lct.latent, log_var=None))
    assert canonical_form(lct, wire) == canonical_form(received, wire)
    assert canonical_form(lct) != canonical_form(received)


@pytest.mark.parametrize(
    'lct',
    [
        replace(an_lct(), trust=1e300),
        replace(an_lct(), entity_id='x' * 65),
        replace(an_lct(), entity_id='ü' * 33),
        replace(an_lct(), entity_id='cam0\0'),
        replace(an_lct(), entity_id='\ud800'),
        replace(an_lct(), sequence=-1),
        replace(an_lct(), sequence=2**64),
        replace(an_lct(), id=b'short'),
        an_lct(roi=Roi(-1, 0, 2, 2)),
        an_lct(track_id=2**32),
        an_lct(telemetry=Telemetry(iterations=2**16)),
    ],
)
def test_value_that_no_message_can_hold_raises(lct):
    with pytest.raises(ValueError, match=r'bytes|does not fit in a message|surrogates'):
        sign(lct, KEYS['cam0'])
