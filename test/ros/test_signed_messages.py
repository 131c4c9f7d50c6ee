# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Signed LCTs in messages: transport keeps the signature valid, and any change is rejected."""

import math

import numpy as np
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given, settings
from hypothesis import strategies as st
from rclpy.serialization import deserialize_message, serialize_message
from sage_msgs.msg import LCT as LCTMessage
from sage_msgs.msg import Snarc

from sage_perception.codecs.packing import Encoding, Packer
from sage_perception.core.latent import Latent, LatentKind, ModelId, Roi, Telemetry
from sage_perception.core.lct import Operation, Provenance, step_from
from sage_perception.ros.conversions.latents import UnknownModel, unpack
from sage_perception.ros.conversions.lcts import lct_from_msg, lct_to_msg, packed_lct_from_msg
from sage_perception.trust import LCT, TrustStore, sign, verify
from sage_perception.trust.security.canonical import Wire, canonical_form
from sage_perception.trust.security.keys import public_bytes
from sage_perception.trust.security.rejection import RejectionReason

KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
MODEL = ModelId('m', '1', bytes(range(32)))
DIM = 8
PACKER = Packer(np.zeros(DIM, np.float32), np.ones(DIM, np.float32))
UNIT = st.floats(0, 1)
MEASURED = st.just(math.nan) | st.floats(0, 1e6)
VALUES = st.lists(st.floats(-5, 5), min_size=DIM, max_size=DIM).map(
    lambda values: np.array(values, np.float32)
)


def a_store():
    store = TrustStore()
    store.trust('cam0', public_bytes(KEY))
    return store


def wire_of(message):
    return Wire(message.latent.encoding, bytes(message.latent.payload))


def signed(lct, encoding):
    """Return an LCT signed for an encoding."""
    return sign(lct, KEY, wire_of(lct_to_msg(lct, encoding, PACKER)))


@st.composite
def lcts(draw):
    """LCTs with values in double precision."""
    hops = draw(st.lists(UNIT, min_size=1, max_size=4))
    steps = [Provenance(Operation.ENCODE, 'cam0', MODEL, trust=hops[0])]
    for n, trust in enumerate(hops[1:], 1):
        steps.append(Provenance(Operation.RELAY, 'cam0', MODEL, bytes([n]) * 16, trust))
    telemetry = Telemetry(
        draw(UNIT),
        draw(MEASURED),
        draw(MEASURED),
        draw(st.floats(0, 100)),
        draw(UNIT),
        energy_trajectory=tuple(draw(st.lists(MEASURED, max_size=3))),
    )
    latent = Latent(
        draw(VALUES),
        draw(st.none() | VALUES),
        LatentKind.VISION,
        MODEL,
        draw(st.none() | st.builds(Roi, *[st.integers(0, 2**32 - 1)] * 4)),
        telemetry=telemetry,
    )
    return LCT.derived(
        latent,
        steps,
        entity_id='cam0',
        sequence=draw(st.integers(0, 2**64 - 1)),
        stamp_ns=draw(st.integers(1, 2**31 * 10**9 - 1)),
    )


@settings(max_examples=50)
@given(lcts(), st.sampled_from([form for form in Encoding if form != Encoding.VQ]))
def test_transport_changes_no_signed_byte(lct, encoding):
    sent = lct_to_msg(signed(lct, encoding), encoding, PACKER)
    message = deserialize_message(serialize_message(sent), LCTMessage)
    received = lct_from_msg(message, {MODEL.fingerprint: PACKER})
    assert canonical_form(received, wire_of(message)) == canonical_form(lct, wire_of(sent))
    assert verify(received, a_store(), wire=wire_of(message)) is None


@pytest.mark.parametrize('encoding', [Encoding.FLOAT32, Encoding.INT8])
def test_changed_byte_is_rejected_or_has_no_meaning(encoding):
    """Padding has none, nor have the bits of NaN and true, or `do_rectify`."""
    latent = Latent(
        np.arange(DIM, dtype=np.float32) / 4,
        np.full(DIM, -1, np.float32),
        LatentKind.VISION,
        MODEL,
        Roi(1, 2, 3, 4),
        track_id=5,
    )
    parent = LCT.encoded(latent, entity_id='cam1', sequence=9, stamp_ns=10**9, trust=0.5)
    parent = signed(parent, encoding)
    step = step_from(parent, Operation.FUSE, 'cam0', MODEL)
    lct = LCT.derived(
        latent, (*parent.provenance, step), entity_id='cam0', sequence=1, stamp_ns=10**9
    )
    message = lct_to_msg(signed(lct, encoding), encoding, PACKER)
    data, store = bytes(serialize_message(message)), a_store()
    store.trust('cam1', public_bytes(KEY))

    def receive(data):
        message = deserialize_message(data, LCTMessage)
        return lct_from_msg(message, {MODEL.fingerprint: PACKER}), wire_of(message)

    sent, wire = receive(data)
    assert verify(sent, store, wire=wire) is None
    accepted = 0
    for place in range(4, len(data)):  # after the header of CDR
        changed = data[:place] + bytes([data[place] ^ 0x55]) + data[place + 1 :]
        try:
            received, wire = receive(changed)
        except (ValueError, RuntimeError, MemoryError):
            continue
        if verify(received, store, wire=wire) is None:
            accepted += 1
            assert repr(received) == repr(sent), place
    assert accepted < len(data) / 4


PACKED = [Encoding.FLOAT16, Encoding.INT8, Encoding.ENTROPY_INT8]


def a_message(encoding):
    latent = Latent(np.linspace(-1, 2, DIM, dtype=np.float32), model=MODEL)
    lct = LCT.encoded(latent, entity_id='cam0', sequence=1, stamp_ns=10**9, trust=1.0)
    return lct, lct_to_msg(lct, encoding, PACKER, KEY)


@pytest.mark.parametrize('encoding', [Encoding.FLOAT32, *PACKED])
def test_message_is_signed_for_its_encoding(encoding):
    lct, message = a_message(encoding)
    received, wire = packed_lct_from_msg(message)
    assert verify(received, a_store(), wire=wire) is None
    mean = unpack(received.latent, wire, {MODEL.fingerprint: PACKER}).mean
    assert np.array_equal(mean, lct_from_msg(message, {MODEL.fingerprint: PACKER}).latent.mean)
    assert np.abs(mean - lct.latent.mean).max() < 0.2


@pytest.mark.parametrize('encoding', PACKED)
def test_packed_message_is_verified_before_it_is_unpacked(encoding):
    _, message = a_message(encoding)
    received, wire = packed_lct_from_msg(message)
    assert received.latent.dim == 0
    with pytest.raises(UnknownModel):
        unpack(received.latent, wire, {})
    message.latent.payload[1] ^= 1
    received, wire = packed_lct_from_msg(message)
    assert verify(received, a_store(), wire=wire) is RejectionReason.BAD_SIGNATURE


def test_added_scores_are_rejected():
    _, message = a_message(Encoding.FLOAT32)
    message.latent.snarc = [Snarc(surprise=1.0)]
    received, wire = packed_lct_from_msg(message)
    assert verify(received, a_store(), wire=wire) is RejectionReason.BAD_SIGNATURE
