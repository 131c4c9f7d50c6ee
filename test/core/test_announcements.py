# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Announcements: signatures cover every bit, and each fault has its rejection reason."""

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
from sage_perception.trust.security.limits import MAX_ABS
from sage_perception.trust.security.rejection import RejectionReason

KEY, OTHER = (Ed25519PrivateKey.from_private_bytes(bytes([n]) * 32) for n in (1, 2))
MODEL = ModelId('m', '1', bytes(range(32)))
STORE = TrustStore()
STORE.trust('cam0', public_bytes(KEY))
STATISTICS = ModelAnnouncement('cam0', 7, MODEL, np.zeros(4, np.float32), np.ones(4, np.float32))
LATENTS = np.random.default_rng(0).standard_normal((probes.COUNT, 4)).astype(np.float32)
PROBES = ProbeSet('cam0', 8, MODEL, LATENTS)
BOTH = pytest.mark.parametrize('announcement', [STATISTICS, PROBES], ids=['model', 'probes'])


def reason_for(announcement, **options):
    return verify_announcement(announcement, STORE, **options).fault


def changed(array, value):
    """Return a copy with another first element."""
    array = array.copy()
    array.ravel()[0] = value
    return array


@BOTH
def test_signed_announcement_passes(announcement):
    assert reason_for(sign_announcement(announcement, KEY)) is None


@BOTH
def test_entity_with_a_key_must_sign(announcement):
    signed_by_other = sign_announcement(announcement, OTHER)
    assert reason_for(signed_by_other) is RejectionReason.BAD_SIGNATURE
    assert reason_for(announcement) is RejectionReason.UNSIGNED
    assert reason_for(announcement, require_signature=False) is RejectionReason.UNSIGNED


@BOTH
def test_entity_without_a_key_passes_only_if_signatures_are_not_required(announcement):
    unknown = replace(announcement, entity_id='unknown')
    assert reason_for(sign_announcement(unknown, OTHER)) is RejectionReason.UNKNOWN_KEY
    assert reason_for(unknown, require_signature=False) is None


@pytest.mark.parametrize(
    ('announcement', 'change'),
    [
        (announcement, change)
        for announcement in (STATISTICS, PROBES)
        for change in ({'sequence': 9}, {'model': replace(MODEL, version='2')})
    ]
    + [
        (STATISTICS, {'mean': changed(STATISTICS.mean, 0.5)}),
        (STATISTICS, {'std': changed(STATISTICS.std, 1.5)}),
        (PROBES, {'latents': changed(LATENTS, 0.5)}),
        (PROBES, {'latents': LATENTS[:, ::-1]}),
    ],
)
def test_any_change_invalidates_the_signature(announcement, change):
    other = replace(sign_announcement(announcement, KEY), **change)
    assert reason_for(other) is RejectionReason.BAD_SIGNATURE


@given(st.integers(1, 4), st.integers(1, 4), st.integers(1, 4), st.integers(1, 4))
def test_form_contains_the_shapes(a, b, c, d):
    forms = [
        replace(STATISTICS, mean=np.ones(n, np.float32), std=np.ones(m, np.float32)).form()
        for n, m in ((a, b), (c, d))
    ]
    assert (forms[0] == forms[1]) == ((a, b) == (c, d))


def test_form_is_the_documented_one():
    model = b'\x01m\x011' + bytes(range(32))
    head = b'\x04cam0' + struct.pack('<Q', 7) + model
    values = struct.pack('<BI4f', 1, 4, 0, 0, 0, 0) + struct.pack('<BI4f', 1, 4, 1, 1, 1, 1)
    assert STATISTICS.form() == b'sage.Model\x01' + head + values
    head = b'\x04cam0' + struct.pack('<Q', 8) + model
    values = struct.pack('<BII', 2, probes.COUNT, 4) + LATENTS.tobytes()
    assert PROBES.form() == b'sage.Probes\x01' + head + values + bytes.fromhex(probes.SHA256)


def test_forms_of_both_kinds_differ_in_their_tag():
    assert STATISTICS.form().startswith(STATISTICS.TAG)
    assert PROBES.form().startswith(PROBES.TAG)
    assert not STATISTICS.form().startswith(PROBES.TAG)


FAULTS = [
    (STATISTICS, {'std': np.zeros(4, np.float32)}, RejectionReason.OUT_OF_RANGE),
    (STATISTICS, {'std': np.ones(3, np.float32)}, RejectionReason.DIMENSION),
    (STATISTICS, {'mean': changed(STATISTICS.mean, np.nan)}, RejectionReason.NOT_FINITE),
    (STATISTICS, {'model': ModelId()}, RejectionReason.UNKNOWN_MODEL),
    (PROBES, {'latents': LATENTS[1:]}, RejectionReason.DIMENSION),
    (PROBES, {'latents': LATENTS[:, :0]}, RejectionReason.DIMENSION),
    (PROBES, {'latents': changed(LATENTS, np.inf)}, RejectionReason.NOT_FINITE),
    (PROBES, {'latents': changed(LATENTS, 2 * MAX_ABS)}, RejectionReason.OUT_OF_RANGE),
    (PROBES, {'images': bytes(32)}, RejectionReason.PROBE_SET_MISMATCH),
]


@pytest.mark.parametrize(('announcement', 'change', 'reason'), FAULTS)
def test_each_fault_has_its_reason(announcement, change, reason):
    assert reason_for(sign_announcement(replace(announcement, **change), KEY)) is reason


@BOTH
def test_entity_id_is_required_with_signatures(announcement):
    assert reason_for(replace(announcement, entity_id='')) is RejectionReason.NO_ENTITY


@BOTH
@pytest.mark.parametrize(
    'change', [{'entity_id': 'x' * 65}, {'sequence': -1}, {'sequence': 2**64}]
)
def test_value_that_no_message_can_hold_raises(announcement, change):
    with pytest.raises(ValueError, match=r'message|64 bytes'):
        replace(announcement, **change).form()
