# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""What entities sign of their models: every bit counts, and what cannot be is named."""

import struct
from dataclasses import replace

import numpy as np
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from sage_perception.core.latent import ModelId
from sage_perception.trust import TrustStore
from sage_perception.trust.compatibility import probe_set as probes
from sage_perception.trust.security.announcements import (
    ModelAnnouncement,
    ProbeSet,
    sign_announcement,
    verify_announcement,
)
from sage_perception.trust.security.keys import public_bytes
from sage_perception.trust.security.rejection import MAX_ABS, RejectionReason

KEY, OTHER = (Ed25519PrivateKey.from_private_bytes(bytes([n]) * 32) for n in (1, 2))
MODEL = ModelId('m', '1', bytes(range(32)))
STORE = TrustStore()
STORE.trust('cam0', public_bytes(KEY))
STATISTICS = ModelAnnouncement('cam0', 7, MODEL, np.zeros(4, np.float32), np.ones(4, np.float32))
LATENTS = np.random.default_rng(0).standard_normal((probes.COUNT, 4)).astype(np.float32)
PROBES = ProbeSet('cam0', 8, MODEL, LATENTS)
BOTH = pytest.mark.parametrize('said', [STATISTICS, PROBES], ids=['statistics', 'probes'])


def refusal(statement, **options):
    return verify_announcement(statement, STORE, **options)


def another(array):
    array = array.copy()
    array.ravel()[-1] += 0.5
    return array


@BOTH
def test_what_its_entity_signed_is_believed(said):
    assert refusal(sign_announcement(said, KEY)) is None


@BOTH
def test_what_somebody_else_signed_is_not(said):
    assert refusal(sign_announcement(said, OTHER)) is RejectionReason.BAD_SIGNATURE
    assert refusal(said) is RejectionReason.UNSIGNED
    assert refusal(said, require_signature=False) is RejectionReason.UNSIGNED
    stranger = replace(said, entity_id='stranger')
    assert refusal(sign_announcement(stranger, OTHER)) is RejectionReason.UNKNOWN_KEY
    assert refusal(stranger, require_signature=False) is None


@pytest.mark.parametrize(
    ('said', 'change'),
    [
        (said, change)
        for said in (STATISTICS, PROBES)
        for change in ({'sequence': 9}, {'model': replace(MODEL, version='2')})
    ]
    + [
        (STATISTICS, {'mean': another(STATISTICS.mean)}),
        (STATISTICS, {'std': another(STATISTICS.std)}),
        (PROBES, {'latents': another(LATENTS)}),
        (PROBES, {'latents': LATENTS[:, ::-1]}),
    ],
)
def test_any_change_breaks_the_signature(said, change):
    changed = replace(sign_announcement(said, KEY), **change)
    assert refusal(changed) is RejectionReason.BAD_SIGNATURE


@given(st.integers(1, 4), st.integers(1, 4), st.integers(1, 4), st.integers(1, 4))
def test_what_is_said_is_in_the_bytes_and_nothing_can_be_shifted(a, b, c, d):
    """Statistics of other lengths are other bytes, even where the numbers are the same."""
    forms = [
        replace(STATISTICS, mean=np.ones(n, np.float32), std=np.ones(m, np.float32)).form()
        for n, m in ((a, b), (c, d))
    ]
    assert (forms[0] == forms[1]) == ((a, b) == (c, d))


def test_the_bytes_are_those_of_the_documentation():
    model = b'\x01m\x011' + bytes(range(32))
    head = b'\x04cam0' + struct.pack('<Q', 7) + model
    numbers = struct.pack('<BI4f', 1, 4, 0, 0, 0, 0) + struct.pack('<BI4f', 1, 4, 1, 1, 1, 1)
    assert STATISTICS.form() == b'sage.Model\x01' + head + numbers
    head = b'\x04cam0' + struct.pack('<Q', 8) + model
    numbers = struct.pack('<BII', 2, probes.COUNT, 4) + LATENTS.tobytes()
    assert PROBES.form() == b'sage.Probes\x01' + head + numbers + bytes.fromhex(probes.SHA256)


@BOTH
def test_one_kind_of_statement_is_never_taken_for_another(said):
    assert said.form().startswith(said.TAG)
    assert not STATISTICS.form().startswith(PROBES.form()[:10])


def spoilt(array, value):
    array = array.copy()
    array.ravel()[0] = value
    return array


FAULTS = [
    (STATISTICS, {'std': np.zeros(4, np.float32)}, RejectionReason.OUT_OF_RANGE),
    (STATISTICS, {'std': np.ones(3, np.float32)}, RejectionReason.DIMENSION),
    (STATISTICS, {'mean': spoilt(STATISTICS.mean, np.nan)}, RejectionReason.NOT_FINITE),
    (STATISTICS, {'model': ModelId()}, RejectionReason.UNKNOWN_MODEL),
    (PROBES, {'latents': LATENTS[1:]}, RejectionReason.DIMENSION),
    (PROBES, {'latents': LATENTS[:, :0]}, RejectionReason.DIMENSION),
    (PROBES, {'latents': spoilt(LATENTS, np.inf)}, RejectionReason.NOT_FINITE),
    (PROBES, {'latents': spoilt(LATENTS, 2 * MAX_ABS)}, RejectionReason.OUT_OF_RANGE),
    (PROBES, {'images': bytes(32)}, RejectionReason.OTHER_PROBES),
]


@pytest.mark.parametrize(('said', 'change', 'fault'), FAULTS)
def test_what_cannot_be_is_named(said, change, fault):
    assert refusal(sign_announcement(replace(said, **change), KEY)) is fault


@BOTH
def test_without_a_name_nothing_is_believed_where_names_count(said):
    assert refusal(replace(said, entity_id='')) is RejectionReason.NO_ENTITY


@BOTH
@pytest.mark.parametrize(
    'change', [{'entity_id': 'x' * 65}, {'sequence': -1}, {'sequence': 2**64}]
)
def test_what_no_message_can_hold_is_a_value_error(said, change):
    with pytest.raises(ValueError, match=r'message|64 bytes'):
        replace(said, **change).form()
