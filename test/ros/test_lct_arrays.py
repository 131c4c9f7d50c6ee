# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Arrays of LCTs as messages: small, equal after transport, and any change is rejected."""

from dataclasses import replace

import numpy as np
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given, settings
from hypothesis import strategies as st
from rclpy.serialization import deserialize_message, serialize_message
from sage_msgs.msg import Code as CodeMessage
from sage_msgs.msg import LCTArray
from std_msgs.msg import Header

from sage_perception.codecs.packing import Encoding, Packer
from sage_perception.core.latent import Code, Latent, LatentKind, ModelId, Roi, Telemetry
from sage_perception.core.lct import LCT
from sage_perception.ros.conversions.latents import pack
from sage_perception.ros.conversions.lct_arrays import (
    lct_array_to_msg,
    lct_messages,
    received_lcts,
)
from sage_perception.ros.conversions.lcts import packed_lct_from_msg
from sage_perception.ros.conversions.stamps import stamp_to_msg
from sage_perception.trust import TrustStore, verify
from sage_perception.trust.security.canonical import IN_ARRAY, canonical_form, latent_form
from sage_perception.trust.security.keys import public_bytes

KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
MODEL, OTHER = (ModelId(fingerprint=bytes(range(n, n + 32))) for n in range(2))
DIM, STAMP_NS = 64, 17 * 10**17
PACKER = Packer(np.zeros(DIM, np.float32), np.ones(DIM, np.float32))
STORE = TrustStore()
STORE.trust('cam0', public_bytes(KEY))


def an_array(count=5, encoding=Encoding.INT8, key=KEY, sequence=10**18, **latent):
    """Return the message of an array, and its LCTs with their wire encodings."""
    header = Header(stamp=stamp_to_msg(STAMP_NS), frame_id='cam0_optical_frame')
    rng = np.random.default_rng(count)
    packed = []
    for index in range(count):
        values = {
            'model': MODEL,
            'roi': Roi(100, 50 + index, 64, 48),
            'track_id': index + 1,
            'telemetry': Telemetry.trust_only(0.75),
            **latent,
        }
        value = Latent(rng.standard_normal(DIM).astype(np.float32), **values)
        lct = LCT.encoded(
            value, entity_id='cam0', sequence=sequence, stamp_ns=STAMP_NS, index=index
        )
        packed.append((lct, pack(value, encoding, PACKER)))
    return lct_array_to_msg(header, (640, 480), 'cam0', packed, key), packed


def through_bytes(message):
    return deserialize_message(serialize_message(message), type(message))


def accepted(message, store=STORE):
    """Return the LCTs of a message that verify, with their wire encodings."""
    found = []
    for received in received_lcts(message):
        try:
            lct, wire = received.read()
        except ValueError:
            continue
        if verify(lct, store, wire=wire) is None:
            found.append((lct, wire))
    return found


def content(found):
    """Return all of LCTs that has a meaning."""
    return {
        (lct.id, lct.entity_id, lct.sequence, lct.stamp_ns, lct.trust)
        + (latent_form(lct.latent, wire, IN_ARRAY),)
        for lct, wire in found
    }


RICH = {
    'log_var': np.zeros(DIM, np.float32),
    'telemetry': Telemetry(0.75, 0.125, 0.25, 3.0, 0.5, 2, (0.5, 0.25)),
    'codes': (
        Code(LatentKind.IDENTITY, OTHER, int(Encoding.INT8), b'who'),
        Code(LatentKind.SEMANTIC, MODEL, int(Encoding.INT8), b'what', 170),
    ),
    'snarc': (0.0, 0.25, 0.5, 0.75, 1.0),
}


@pytest.mark.parametrize('fields', [{}, RICH], ids=['lean', 'rich'])
@pytest.mark.parametrize('encoding', [e for e in Encoding if e != Encoding.VQ])
@pytest.mark.parametrize('count', [1, 5, 64])
def test_transport_changes_no_signed_byte(fields, encoding, count):
    message, packed = an_array(count, encoding, **fields)
    found = accepted(through_bytes(message))
    assert len(found) == count
    for (lct, wire), (sent, sent_wire) in zip(found, packed, strict=True):
        assert wire == sent_wire
        assert (lct.id, lct.trust, lct.latent.roi) == (sent.id, sent.trust, sent.latent.roi)
        assert (lct.latent.codes, lct.latent.snarc) == (sent.latent.codes, sent.latent.snarc)
        assert lct.latent.telemetry == sent.latent.telemetry
        assert canonical_form(lct, wire) == canonical_form(found[0][0], found[0][1])


@pytest.mark.parametrize('encoding', [Encoding.FLOAT32, Encoding.ENTROPY_INT8])
def test_every_lct_can_be_forwarded_alone(encoding):
    message, _ = an_array(5, encoding, **RICH)
    for alone in lct_messages(through_bytes(message)):
        lct, wire = packed_lct_from_msg(through_bytes(alone))
        assert verify(lct, STORE, wire=wire) is None
        changed = through_bytes(alone)
        changed.latent.track_id += 1
        lct, wire = packed_lct_from_msg(changed)
        assert verify(lct, STORE, wire=wire) is not None


def test_arrays_hold_lcts_of_both_kinds():
    message, _ = an_array(2)
    other, _ = an_array(3, sequence=5)
    message.lcts = lct_messages(other)
    found = accepted(through_bytes(message))
    assert [lct.sequence for lct, _ in found] == [10**18] * 2 + [5] * 3


def test_unsigned_array_is_read_without_evidence():
    message, packed = an_array(key=None)
    found = [received.read()[0] for received in received_lcts(through_bytes(message))]
    assert [lct.id for lct in found] == [lct.id for lct, _ in packed]
    assert {(lct.signature, lct.digest) for lct in found} == {(b'', b'')}
    assert accepted(message) == []


@settings(max_examples=300)
@given(st.integers(0, 2**32), st.integers(1, 255), st.sampled_from(['lean', 'rich']))
def test_changed_byte_is_rejected_or_has_no_meaning(place, change, kind):
    """Padding has none, nor have the names of models or indices of equal ones."""
    message, _ = an_array(3, **(RICH if kind == 'rich' else {}))
    data = bytearray(serialize_message(message))
    place = 4 + place % (len(data) - 4)
    data[place] ^= change
    try:
        changed = deserialize_message(bytes(data), LCTArray)
    except (RuntimeError, MemoryError):
        return
    sent, found = (content(accepted(each)) for each in (through_bytes(message), changed))
    assert found <= sent, place


def test_crops_cannot_be_removed_added_or_moved():
    message, _ = an_array()
    for change in (
        lambda m: m.crops.pop(),
        lambda m: m.crops.append(m.crops[0]),
        lambda m: m.crops.reverse(),
        lambda m: setattr(m, 'source_width', 641),
        lambda m: setattr(m.header, 'frame_id', 'elsewhere'),
        lambda m: setattr(m.header, 'stamp', stamp_to_msg(STAMP_NS + 1)),
        lambda m: setattr(m, 'sequence', 1),
        lambda m: setattr(m, 'camera', 'cam1'),
    ):
        changed = through_bytes(message)
        assert len(accepted(changed)) == 5
        change(changed)
        assert accepted(changed) == []


MALFORMED = {
    'no codes': lambda m: m.crops[1].codes.clear(),
    'code of another model': lambda m: setattr(m.crops[1].codes[0], 'model', 1),
    'unknown kind': lambda m: setattr(m.crops[1].codes[0], 'kind', 99),
    'unknown encoding': lambda m: setattr(m.crops[1].codes[0], 'encoding', 99),
    'part of a float': lambda m: setattr(m.crops[1].codes[0], 'payload', b'123'),
    'variance alone': lambda m: setattr(m.crops[1].codes[0], 'kind', 10),
    'short variance': lambda m: m.crops[1].codes.append(CodeMessage(kind=10, payload=b'1234')),
    'two variances': lambda m: m.crops[1].codes.extend([CodeMessage(kind=10)] * 2),
    'telemetry of some': lambda m: m.telemetry.append(RICH_MESSAGE.telemetry[0]),
    'scores of some': lambda m: m.snarc.append(RICH_MESSAGE.snarc[0]),
    'nanoseconds': lambda m: setattr(m.header.stamp, 'nanosec', 10**9),
    'long frame id': lambda m: setattr(m.header, 'frame_id', 'x' * 10**6),
}
RICH_MESSAGE = an_array(1, **RICH)[0]


@pytest.mark.parametrize('damage', MALFORMED.values(), ids=MALFORMED.keys())
def test_malformed_array_is_a_value_error(damage):
    message, _ = an_array(3, Encoding.FLOAT32, key=None)
    damage(message)
    for received in received_lcts(through_bytes(message)):
        with pytest.raises(ValueError, match=r'.'):
            received.read()
    with pytest.raises(ValueError, match=r'.'):
        lct_messages(message)


@pytest.mark.parametrize(
    'latent', [{'roi': Roi(0, 0, 65536, 1)}, {'roi': Roi(-1, 0, 5, 5)}, {'track_id': 2**32}]
)
def test_value_that_no_array_can_hold_is_a_value_error(latent):
    with pytest.raises(ValueError, match=r'fit'):
        an_array(**latent)


def test_latents_of_two_models_are_a_value_error():
    _, packed = an_array(2)
    (lct, wire), other = packed
    mixed = [(replace(lct, latent=replace(lct.latent, model=OTHER)), wire), other]
    with pytest.raises(ValueError, match='several models'):
        lct_array_to_msg(Header(), (640, 480), 'cam0', mixed)


@pytest.mark.parametrize(
    ('encoding', 'key', 'most'),
    [(Encoding.ENTROPY_INT8, KEY, 110), (Encoding.INT8, KEY, 135), (Encoding.FLOAT32, None, 330)],
)
def test_bytes_per_crop(encoding, key, most):
    """The entropy-coded size depends on the latent; 39 bytes are typical of a crop."""
    message, _ = an_array(5, encoding, key)
    if encoding == Encoding.ENTROPY_INT8:
        for crop in message.crops:
            crop.codes[0].payload = bytes(39)
    assert len(serialize_message(message)) / 5 <= most
