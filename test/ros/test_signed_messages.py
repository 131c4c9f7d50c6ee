# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Signed LCTs as they travel: a message keeps the signature, and nothing that was changed."""

import math

import numpy as np
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given, settings
from hypothesis import strategies as st
from rclpy.serialization import deserialize_message, serialize_message
from sage_msgs import msg as sage

from sage_perception.codecs.packing import Encoding, Packer
from sage_perception.core.latent import Latent, LatentKind, ModelId, Roi, Telemetry
from sage_perception.core.lct import Operation, Provenance, chain_trust, step_from
from sage_perception.ros.conversions.lcts import lct_from_msg, lct_to_msg
from sage_perception.trust import LCT, TrustStore, sign, verify
from sage_perception.trust.security.canonical import Wire, canonical_form
from sage_perception.trust.security.keys import public_bytes

KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
MODEL = ModelId('m', '1', bytes(range(32)))
DIM = 8
PACKER = Packer(np.zeros(DIM, np.float32), np.ones(DIM, np.float32))
UNIT = st.floats(0, 1)
MEASURED = st.just(math.nan) | st.floats(0, 1e6)
NUMBERS = st.lists(st.floats(-5, 5), min_size=DIM, max_size=DIM).map(
    lambda values: np.array(values, np.float32)
)


def a_store():
    store = TrustStore()
    store.trust('cam0', public_bytes(KEY))
    return store


def wire_of(message):
    return Wire(message.latent.encoding, bytes(message.latent.payload))


def signed(lct, form):
    """An LCT as it is sent: signed for the form in which it travels."""
    return sign(lct, KEY, wire_of(lct_to_msg(lct, form, PACKER)))


@st.composite
def lcts(draw):
    """LCTs with numbers of Python's precision."""
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
        draw(NUMBERS),
        draw(st.none() | NUMBERS),
        LatentKind.VISION,
        MODEL,
        draw(st.none() | st.builds(Roi, *[st.integers(0, 2**32 - 1)] * 4)),
        telemetry=telemetry,
    )
    stamp = draw(st.integers(1, 2**31 * 10**9 - 1))
    sequence = draw(st.integers(0, 2**64 - 1))
    return LCT('cam0', sequence, stamp, latent, tuple(steps), chain_trust(steps))


@settings(max_examples=50)
@given(lcts(), st.sampled_from([form for form in Encoding if form != Encoding.VQ]))
def test_to_travel_changes_no_byte_of_what_is_signed(lct, form):
    sent = lct_to_msg(signed(lct, form), form, PACKER)
    message = deserialize_message(serialize_message(sent), sage.LCT)
    arrived = lct_from_msg(message, {MODEL.fingerprint: PACKER})
    assert canonical_form(arrived, wire_of(message)) == canonical_form(lct, wire_of(sent))
    assert verify(arrived, a_store(), wire=wire_of(message)) is None


@pytest.mark.parametrize('form', [Encoding.FLOAT32, Encoding.INT8])
def test_any_byte_that_changes_on_the_way_is_noticed_or_says_nothing(form):
    """Padding says nothing, nor does which NaN or which true it is, or `do_rectify`."""
    latent = Latent(
        np.arange(DIM, dtype=np.float32) / 4,
        np.full(DIM, -1, np.float32),
        LatentKind.VISION,
        MODEL,
        Roi(1, 2, 3, 4),
        track_id=5,
    )
    first = Provenance(Operation.ENCODE, 'cam1', MODEL, trust=0.5)
    parent = signed(LCT('cam1', 9, 10**9, latent, (first,), 0.5), form)
    steps = (first, step_from(parent, Operation.FUSE, 'cam0', MODEL))
    lct = signed(LCT('cam0', 1, 10**9, latent, steps, 0.5), form)
    data, store = bytes(serialize_message(lct_to_msg(lct, form, PACKER))), a_store()
    store.trust('cam1', public_bytes(KEY))

    def arriving(data):
        message = deserialize_message(data, sage.LCT)
        return lct_from_msg(message, {MODEL.fingerprint: PACKER}), wire_of(message)

    sent, wire = arriving(data)
    assert verify(sent, store, wire=wire) is None
    accepted = 0
    for place in range(4, len(data)):  # after CDR's own header
        changed = data[:place] + bytes([data[place] ^ 0x55]) + data[place + 1 :]
        try:
            arrived, wire = arriving(changed)
        except (ValueError, RuntimeError, MemoryError):
            continue
        if verify(arrived, store, wire=wire) is None:
            accepted += 1
            assert repr(arrived) == repr(sent), place
    assert accepted < len(data) / 4
