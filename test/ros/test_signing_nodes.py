# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""What nodes do with keys that cannot be used, and with LCTs that are packed or say too much."""

import numpy as np
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from diagnostic_msgs.msg import DiagnosticArray
from hypothesis import given
from hypothesis import strategies as st
from sage_msgs.msg import Snarc

from sage_perception.codecs.packing import Encoding, Packer
from sage_perception.core.latent import Latent, ModelId
from sage_perception.core.lct import Operation, Provenance
from sage_perception.nodes.arbiter_node import ArbiterNode
from sage_perception.nodes.encoder_node import EncoderNode
from sage_perception.ros.conversions.latents import UnknownModel, unpack
from sage_perception.ros.conversions.lcts import lct_from_msg, lct_to_msg, packed_lct_from_msg
from sage_perception.ros.errors import ConfigurationError
from sage_perception.trust import LCT, TrustStore, verify
from sage_perception.trust.security.admission import explain
from sage_perception.trust.security.keys import public_bytes, save_key
from sage_perception.trust.security.rejection import RejectionReason

KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
MODEL = ModelId('m', '1', bytes(range(32)))
PACKER = Packer(np.zeros(4, np.float32), np.ones(4, np.float32))
SAID = LCT(
    'cam0',
    1,
    10**9,
    Latent(np.float32([1, 2, 0.5, -1]), model=MODEL),
    (Provenance(Operation.ENCODE, 'cam0', MODEL),),
    1.0,
)


@pytest.fixture
def keys(tmp_path):
    save_key(tmp_path, 'cam0', KEY)
    TrustStore(tmp_path).trust('cam0', public_bytes(KEY))
    return tmp_path


def refusal_of(ros, node, parameter, value, namespace='cam0'):
    """Return why a node does not start; one line."""
    with pytest.raises(ConfigurationError) as refused:
        ros.make(node, '-p', f'{parameter}:={value}', namespace=namespace)
    said = str(refused.value)
    assert said.startswith(f"parameter '{parameter}': ")
    assert '\n' not in said
    return said


def test_a_key_that_others_may_read_is_not_used(ros, keys):
    (keys / 'cam0.key').chmod(0o640)
    for place in (keys, keys / 'cam0.key'):
        said = refusal_of(ros, EncoderNode, 'key', place)
        assert f'{keys}/cam0.key has mode 0640' in said
        assert f'chmod 600 {keys}/cam0.key' in said


def test_a_key_that_is_not_there_or_of_another_is_named_with_the_fix(ros, keys):
    said = refusal_of(ros, EncoderNode, 'key', keys, namespace='cam1')
    assert f'{keys}/cam1.key is not there: sage keys create cam1' in said
    # One parameter file for two cameras, say.
    said = refusal_of(ros, EncoderNode, 'key', keys / 'cam0.key', namespace='cam1')
    assert 'is not named as the key of cam1, cam1.key: give the folder' in said
    said = refusal_of(ros, ArbiterNode, 'key', keys, namespace='')
    assert f'{keys}/under_test.key is not there: sage keys create under_test' in said
    (keys / 'under_test.key').touch(mode=0o600)
    said = refusal_of(ros, ArbiterNode, 'key', keys, namespace='')
    assert 'under_test.key is no unencrypted secret key in PEM' in said


def test_a_list_of_keys_that_cannot_be_trusted_is_refused(ros, keys):
    (keys / 'trusted.json').chmod(0o666)
    assert 'chmod go-w' in refusal_of(ros, ArbiterNode, 'keys', keys)
    (keys / 'trusted.json').chmod(0o644)
    (keys / 'trusted.json').write_text('{}')
    assert 'trusted.json is no list of trusted keys' in refusal_of(ros, ArbiterNode, 'keys', keys)


def test_an_arbiter_says_when_it_can_trust_nobody_and_when_it_cannot_know(ros, tmp_path):
    health = ros.collect(DiagnosticArray, '/diagnostics')

    def says(text):
        parts = (s for array in list(health)[-3:] for s in array.status)
        return any(text in s.message for s in parts if s.name == 'under_test: agreement')

    ros.make(ArbiterNode, '-p', f'keys:={tmp_path}', '-p', 'require_signatures:=true')
    ros.wait_for(lambda: says(f'{tmp_path}/trusted.json trusts nobody: sage keys trust'), 'a word')
    TrustStore(tmp_path).trust('cam0', public_bytes(KEY))
    ros.wait_for(lambda: not says('trusts nobody'), 'a change for the better')
    (tmp_path / 'trusted.json').write_text('{}')
    ros.wait_for(lambda: says('what was trusted before still is'), 'the fault')


# Messages


@pytest.mark.parametrize(
    'form', [Encoding.FLOAT32, Encoding.FLOAT16, Encoding.INT8, Encoding.ENTROPY_INT8]
)
def test_a_message_is_signed_as_it_travels_and_judged_before_it_is_unpacked(keys, form):
    message = lct_to_msg(SAID, form, PACKER, KEY)
    lct, wire = packed_lct_from_msg(message)
    assert verify(lct, TrustStore(keys), wire=wire) is None
    assert lct.latent.dim == (0 if form else 4)
    whole = lct_from_msg(message, {MODEL.fingerprint: PACKER}).latent.mean
    assert np.array_equal(unpack(lct.latent, wire, {MODEL.fingerprint: PACKER}).mean, whole)
    assert np.abs(whole - SAID.latent.mean).max() < 0.2
    if form:
        with pytest.raises(UnknownModel):
            unpack(lct.latent, wire, {})
        message.latent.payload[1] ^= 1
        lct, wire = packed_lct_from_msg(message)
        assert verify(lct, TrustStore(keys), wire=wire) is RejectionReason.BAD_SIGNATURE


def test_what_no_signature_covers_is_refused():
    message = lct_to_msg(SAID)
    message.latent.snarc = [Snarc(surprise=1.0)]
    with pytest.raises(ValueError, match='snarc is given: no signature covers it'):
        packed_lct_from_msg(message)


# What is said of a refusal


@given(st.sampled_from(RejectionReason), st.text(), st.text())
def test_an_explanation_is_one_line_that_can_be_printed(reason, entity, detail):
    said = explain(reason, entity, detail)
    assert said.startswith(reason.value)
    assert said.isprintable()


def test_a_name_cannot_be_a_command():
    said = explain(RejectionReason.UNKNOWN_KEY, "x'; reboot\x1b[2J")
    assert said.endswith("sage keys trust 'x'\"'\"'; reboot\\x1b[2J' KEY")
    assert 'sage keys trust robot1/cam0 KEY' in explain(
        RejectionReason.BAD_SIGNATURE, 'robot1/cam0'
    )
