# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Signed arrays: one signature for all LCTs, each of which can be verified alone."""

import hashlib
import json
import math
import struct
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given, settings
from hypothesis import strategies as st
from signed_lcts import KEYS, MODEL, NOW, OTHER_MODEL, a_store, an_lct, derived

from sage_perception.core.latent import Code, Latent, LatentKind, ModelId, Roi, Telemetry
from sage_perception.core.lct import LCT, Operation, Provenance, encoded_id
from sage_perception.trust import sign, verify
from sage_perception.trust.security.admission import AdmissionFilter
from sage_perception.trust.security.array_form import frame_digest, root_of, tree
from sage_perception.trust.security.canonical import (
    IN_ARRAY,
    PLAIN,
    Wire,
    canonical_form,
    latent_form,
)
from sage_perception.trust.security.keys import public_bytes
from sage_perception.trust.security.rejection import RejectionReason
from sage_perception.trust.security.signing import sign_array

VECTORS = json.loads(
    (Path(__file__).resolve().parents[1] / 'data' / 'lct_arrays.json').read_text()
)
FRAME = frame_digest('lens', 640, 480)
FLOAT32 = st.floats(width=32, allow_nan=False)
UINT32 = st.integers(0, 2**32 - 1)
MODELS = st.binary(min_size=32, max_size=32).map(lambda digest: ModelId(fingerprint=digest))
CODES = st.builds(
    Code,
    st.sampled_from(LatentKind),
    MODELS,
    st.integers(0, 4),
    st.binary(max_size=8),
    st.integers(0, 255),
)


def an_array(count=5, entity='cam0', sequence=1, key=None, **latent):
    """Return the signed LCTs of one frame."""
    lcts = []
    for index in range(count):
        values = Latent(
            np.array([index, 2.0], np.float32), **{'model': MODEL, 'track_id': index + 1, **latent}
        )
        lct = LCT.encoded(
            values,
            entity_id=entity,
            sequence=sequence,
            stamp_ns=NOW,
            trust=0.5 + index / 128,
            index=index,
        )
        lcts.append((lct, PLAIN))
    return sign_array(lcts, FRAME, key or KEYS[entity])


@st.composite
def latents(draw):
    mean = draw(st.lists(FLOAT32, max_size=4))
    telemetry = Telemetry.trust_only(0.5)
    if draw(st.booleans()):
        telemetry = Telemetry(draw(FLOAT32), energy_trajectory=tuple(draw(st.lists(FLOAT32))))
    return Latent(
        np.array(mean, np.float32),
        np.ones(len(mean), np.float32) if mean and draw(st.booleans()) else None,
        draw(st.sampled_from(LatentKind)),
        draw(MODELS),
        draw(st.none() | st.builds(Roi, UINT32, UINT32, st.just(3), st.just(4))),
        draw(UINT32),
        telemetry,
        tuple(draw(st.lists(CODES, max_size=3))),
        draw(st.none() | st.tuples(*[st.floats(0, 1, width=32)] * 5)),
    )


def read_latent(data):
    """Read a latent as docs/reference/lct_format.md lays it out, to the last byte."""
    place = 0

    def take(length):
        nonlocal place
        place += length
        assert place <= len(data)
        return data[place - length : place]

    def number(code):
        return struct.unpack('<' + code, take(struct.calcsize('<' + code)))[0]

    assert take(12) == b'sage.Latent\x02'
    kind, encoding, elements, log_var = number('B'), number('B'), take(number('I')), None
    log_var = take(number('I'))
    region = tuple(number('I') for _ in range(4))
    track, fingerprint, telemetry = number('I'), take(32), None
    if number('B'):
        telemetry = (number('H'), number('B'), number('B'), *(number('f') for _ in range(6)))
        telemetry += (tuple(number('f') for _ in range(number('H'))),)
    snarc = tuple(number('f') for _ in range(5)) if number('B') else None
    codes = [
        (number('B'), number('B'), number('B'), take(32), take(number('I')))
        for _ in range(number('B'))
    ]
    assert place == len(data)
    return kind, encoding, elements, log_var, region, track, fingerprint, telemetry, snarc, codes


@settings(max_examples=50)
@given(latents())
def test_form_of_a_latent_contains_every_field(latent):
    kind, encoding, elements, log_var, region, track, fingerprint, telemetry, snarc, codes = (
        read_latent(latent_form(latent, PLAIN, IN_ARRAY))
    )
    assert (kind, encoding, track, fingerprint) == (
        latent.kind,
        0,
        latent.track_id,
        latent.model.fingerprint,
    )
    assert elements == latent.mean.tobytes()
    assert log_var == (b'' if latent.log_var is None else latent.log_var.tobytes())
    roi = latent.roi
    assert region == ((roi.x, roi.y, 3, 4) if roi else (0, 0, 0, 0))
    if latent.telemetry.given:
        assert telemetry[3] == latent.telemetry.trust
        assert telemetry[-1] == latent.telemetry.energy_trajectory
    else:
        assert telemetry is None
    assert snarc == latent.snarc
    assert codes == [
        (c.kind, c.encoding, c.trust, c.model.fingerprint, c.payload) for c in latent.codes
    ]


@pytest.mark.parametrize('count', [*range(1, 10), 31, 32, 33, 63, 64])
def test_paths_lead_from_every_leaf_to_the_root(count):
    leaves = [bytes([n]) * 32 for n in range(count)]
    root, paths = tree(leaves)
    for index, (leaf, path) in enumerate(zip(leaves, paths, strict=True)):
        assert root_of(leaf, index, count, path) == root
        assert len(path) <= math.ceil(math.log2(count))
        if count > 1:
            assert root_of(leaf, (index + 1) % count, count, paths[(index + 1) % count]) != root
        with pytest.raises(ValueError, match='does not fit'):
            root_of(leaf, index, count, (*path, leaf))


def test_tree_is_that_of_rfc_9162():
    a, b, c = (hashlib.sha256(b'\0' + text).digest() for text in (b'a', b'b', b'c'))
    both = hashlib.sha256(b'\1' + a + b).digest()
    assert tree([a, b, c])[0] == hashlib.sha256(b'\1' + both + c).digest()
    assert tree([a, b, c])[1] == [(b, c), (a, c), (both,)]


@pytest.mark.parametrize('count', [1, 2, 5, 64])
def test_every_lct_of_an_array_verifies_alone(count):
    lcts = an_array(count)
    assert len({lct.signature for lct in lcts}) == 1
    assert len({lct.id for lct in lcts}) == count
    assert {verify(lct, a_store()) for lct in lcts} == {None}


def test_ids_are_those_of_entity_sequence_and_index():
    lcts = an_array(3, sequence=7)
    assert [lct.id for lct in lcts] == [encoded_id('cam0', 7, n) for n in range(3)]
    others = [encoded_id('cam0', 8, 0), encoded_id('cam1', 7, 0), *(lct.id for lct in lcts)]
    assert len(set(others)) == 5
    assert {(lct_id[6] >> 4, lct_id[8] >> 6) for lct_id in others} == {(8, 2)}


def changes():
    """Return changes of an LCT of an array of five, each with its name."""
    lct = an_array()[2]
    other = an_array(sequence=2)[2]
    latent, member, step = lct.latent, lct.membership, lct.provenance[0]
    code = Code(LatentKind.IDENTITY, OTHER_MODEL, 2, b'x')
    second = Provenance(Operation.RELAY, 'cam0', MODEL, lct.id)
    yield 'value', {'latent': replace(latent, mean=latent.mean + 1)}
    yield 'variance', {'latent': replace(latent, log_var=np.zeros(2, np.float32))}
    yield 'region', {'latent': replace(latent, roi=Roi(1, 2, 3, 4))}
    yield 'track', {'latent': replace(latent, track_id=9)}
    yield 'kind', {'latent': replace(latent, kind=LatentKind.AUDIO)}
    yield 'code', {'latent': replace(latent, codes=(code,))}
    yield 'trust of a code', {'latent': replace(latent, codes=(replace(code, trust=1),))}
    yield 'scores', {'latent': replace(latent, snarc=(0.1,) * 5)}
    yield 'telemetry', {'latent': replace(latent, telemetry=Telemetry.trust_only(0.5))}
    yield 'model of the latent', {'latent': replace(latent, model=OTHER_MODEL)}
    yield 'model of the step', {'provenance': (replace(step, model=OTHER_MODEL),)}
    yield 'trust', {'trust': 0.9, 'provenance': (replace(step, trust=0.9),)}
    yield 'trust of the step', {'provenance': (replace(step, trust=step.trust + 5e-4),)}
    yield 'operation', {'provenance': (replace(step, operation=Operation.FUSE),)}
    yield 'another step', {'provenance': (step, second)}
    yield 'stamp', {'stamp_ns': NOW + 1}
    yield 'sequence', {'sequence': 2}
    yield 'sequence and id', {'sequence': 2, 'id': encoded_id('cam0', 2, 2)}
    yield 'id', {'id': encoded_id('cam0', 1, 3)}
    yield 'index', {'membership': replace(member, index=3)}
    yield (
        'index and id',
        {
            'membership': replace(member, index=3),
            'id': encoded_id('cam0', 1, 3),
        },
    )
    yield 'count', {'membership': replace(member, count=6)}
    yield 'count 0', {'membership': replace(member, count=0)}
    yield 'frame', {'membership': replace(member, frame=frame_digest('lens', 640, 481))}
    yield 'path', {'membership': replace(member, path=member.path[::-1])}
    yield 'short path', {'membership': replace(member, path=member.path[:-1])}
    yield 'no membership', {'membership': None}
    yield 'signature', {'signature': other.signature}
    yield 'entity', {'entity_id': 'cam1'}


@pytest.mark.parametrize('change', [pytest.param(change, id=name) for name, change in changes()])
def test_changed_lct_is_rejected(change):
    lct = an_array()[2]
    assert verify(lct, a_store()) is None
    assert verify(replace(lct, **change), a_store()) is not None


def test_array_signed_by_another_key_is_rejected():
    lcts = an_array(key=KEYS['forger'])
    assert {verify(lct, a_store()) for lct in lcts} == {RejectionReason.BAD_SIGNATURE}


def test_one_array_is_not_a_replay_of_itself():
    admission = AdmissionFilter(a_store())
    first, second = an_array(3, sequence=1), an_array(3, sequence=2)
    replayed = RejectionReason.REPLAYED
    reasons = [admission.admit(lct).reason for lct in (*first, *second)]
    assert reasons == [None] * 6
    assert [admission.admit(lct).reason for lct in (*first, *second)] == [replayed] * 6


@pytest.mark.parametrize('operation', [Operation.RELAY, Operation.FUSE, Operation.RECALL])
def test_lct_of_an_array_is_the_proof_of_later_ones(operation):
    parent = an_array()[3]
    relayed = derived(parent, operation=operation)
    assert relayed.provenance[1].proof.membership == parent.membership
    assert verify(relayed, a_store()) is None
    again = derived(relayed, 'arbiter', operation=operation)
    assert verify(again, a_store()) is None
    step = again.provenance[0]
    for change in (
        replace(step, trust=step.trust / 2),
        replace(step, model=OTHER_MODEL),
        replace(step, entity_id='cam1'),
    ):
        forged = replace(relayed, provenance=(change, relayed.provenance[1]))
        forged = replace(forged, trust=math.prod(s.trust for s in forged.provenance))
        assert verify(sign(forged, KEYS['relay']), a_store()) is not None


def test_relayed_latent_of_an_array_must_be_the_same():
    relayed = derived(an_array()[0])
    latent = replace(relayed.latent, mean=relayed.latent.mean + 1)
    assert verify(sign(replace(relayed, latent=latent), KEYS['relay']), a_store()) is (
        RejectionReason.BAD_PROOF
    )


def test_lct_with_codes_can_be_signed_alone():
    code = Code(LatentKind.SEMANTIC, OTHER_MODEL, 2, b'meaning')
    lct = sign(an_lct(codes=(code,), snarc=(0.5,) * 5), KEYS['cam0'])
    assert verify(lct, a_store()) is None
    changed = replace(lct.latent, codes=(replace(code, payload=b'meanings'),))
    assert verify(replace(lct, latent=changed), a_store()) is RejectionReason.BAD_SIGNATURE


def test_scores_out_of_range_are_rejected():
    lct = sign(an_lct(snarc=(0.5, 0.5, 2.0, 0.5, 0.5)), KEYS['cam0'])
    assert verify(lct, a_store()) is RejectionReason.OUT_OF_RANGE


@pytest.mark.parametrize(
    ('frame_id', 'width', 'height'),
    [('x' * 256, 1, 1), ('a\0b', 1, 1), ('a', 65536, 1), ('a', 1, -1)],
)
def test_frame_that_no_message_can_hold_raises(frame_id, width, height):
    with pytest.raises(ValueError, match=r'bytes|pixels'):
        frame_digest(frame_id, width, height)


def vector_lcts(vector):
    """Return the LCTs of a golden vector and their wire encodings."""
    for index, crop in enumerate(vector['crops']):
        models = [ModelId(fingerprint=bytes.fromhex(m)) for m in vector['models']]
        first, *others = crop['codes']
        payload = bytes.fromhex(first['payload'])
        plain = first['encoding'] == 0
        log_var = None
        if others and others[0]['kind'] == LatentKind.VARIANCE:
            log_var = np.frombuffer(bytes.fromhex(others.pop(0)['payload']), '<f4')
        codes = [
            Code(
                LatentKind(code['kind']),
                models[code['model']],
                code['encoding'],
                bytes.fromhex(code['payload']),
                code['trust'],
            )
            for code in others
        ]
        snarc = crop['snarc']
        latent = Latent(
            np.frombuffer(payload if plain else b'', '<f4'),
            log_var,
            LatentKind(first['kind']),
            models[first['model']],
            Roi(*crop['region']) if crop['region'][2] else None,
            crop['track_id'],
            Telemetry(**crop['telemetry'])
            if crop['telemetry']
            else Telemetry.trust_only(crop['trust']),
            tuple(codes),
            None if snarc is None else tuple(snarc),
        )
        lct = LCT.encoded(
            latent,
            entity_id=vector['camera'],
            sequence=vector['sequence'],
            stamp_ns=vector['stamp_ns'],
            trust=crop['trust'],
            index=index,
        )
        yield lct, PLAIN if plain else Wire(first['encoding'], payload)


@pytest.mark.parametrize('vector', VECTORS, ids=lambda vector: vector['name'])
def test_golden_vectors(vector):
    key = Ed25519PrivateKey.from_private_bytes(bytes.fromhex(vector['secret_key']))
    assert public_bytes(key).hex() == vector['public_key']
    frame = frame_digest(vector['frame_id'], *vector['size'])
    assert frame.hex() == vector['frame']
    pairs = list(vector_lcts(vector))
    signed = sign_array(pairs, frame, key)
    for lct, (_, wire), crop in zip(signed, pairs, vector['crops'], strict=True):
        assert lct.id.hex() == crop['id']
        assert latent_form(lct.latent, wire, IN_ARRAY).hex() == crop['latent_form']
        assert lct.digest.hex() == crop['latent_sha256']
        assert [digest.hex() for digest in lct.membership.path] == crop['path']
        assert canonical_form(lct, wire).hex() == vector['form']
        assert lct.signature.hex() == vector['signature']


def test_golden_vectors_have_every_kind_of_code():
    kinds = {code['kind'] for vector in VECTORS for c in vector['crops'] for code in c['codes']}
    assert kinds >= {kind for kind in LatentKind if kind.name not in ('UNKNOWN', 'FUSED')} - {
        LatentKind.H_CONTEXT,
        LatentKind.L_CONTEXT,
    }
