# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Identities and trusted keys of nodes: invalid keys, and diagnostics of the trust store."""

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from diagnostic_msgs.msg import DiagnosticArray

from sage_perception.nodes.arbiter_node import ArbiterNode
from sage_perception.nodes.encoder_node import EncoderNode
from sage_perception.ros.errors import ConfigurationError
from sage_perception.trust import TrustStore
from sage_perception.trust.security.keys import public_bytes, save_key

KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))


@pytest.fixture
def keys(tmp_path):
    save_key(tmp_path, 'cam0', KEY)
    TrustStore(tmp_path).trust('cam0', public_bytes(KEY))
    return tmp_path


def error_of(ros, node, parameter, value, namespace='cam0'):
    """Return the error, one line, of a node that does not start."""
    with pytest.raises(ConfigurationError) as error:
        ros.make(node, '-p', f'{parameter}:={value}', namespace=namespace)
    text = str(error.value)
    assert text.startswith(f"parameter '{parameter}': ")
    assert '\n' not in text
    return text


def test_key_that_other_users_may_read_is_rejected(ros, keys):
    (keys / 'cam0.key').chmod(0o640)
    for place in (keys, keys / 'cam0.key'):
        text = error_of(ros, EncoderNode, 'key', place)
        assert f'{keys}/cam0.key has mode 0640' in text
        assert f'chmod 600 {keys}/cam0.key' in text


def test_missing_key_is_rejected_with_the_fix(ros, keys):
    text = error_of(ros, EncoderNode, 'key', keys, namespace='cam1')
    assert f'{keys}/cam1.key does not exist: run sage keys create cam1' in text
    text = error_of(ros, ArbiterNode, 'key', keys, namespace='')
    assert f'{keys}/under_test.key does not exist: run sage keys create under_test' in text


def test_key_of_another_entity_is_rejected(ros, keys):
    """As in a parameter file for two cameras."""
    text = error_of(ros, EncoderNode, 'key', keys / 'cam0.key', namespace='cam1')
    assert 'is not named cam1.key, as the key of cam1 must be' in text


def test_invalid_key_is_rejected(ros, keys):
    (keys / 'under_test.key').touch(mode=0o600)
    text = error_of(ros, ArbiterNode, 'key', keys, namespace='')
    assert 'under_test.key is not an unencrypted secret key in PEM' in text


def test_invalid_trust_store_is_rejected(ros, keys):
    (keys / 'trusted.json').chmod(0o666)
    assert 'chmod go-w' in error_of(ros, ArbiterNode, 'keys', keys)
    (keys / 'trusted.json').chmod(0o644)
    (keys / 'trusted.json').write_text('{}')
    text = error_of(ros, ArbiterNode, 'keys', keys)
    assert 'trusted.json is not a valid list of trusted keys' in text


def test_diagnostics_warn_of_an_empty_and_of_an_invalid_trust_store(ros, tmp_path):
    health = ros.collect(DiagnosticArray, '/diagnostics')

    def reports(text):
        parts = (s for array in list(health)[-3:] for s in array.status)
        return any(text in s.message for s in parts if s.name == 'under_test: agreement')

    ros.make(ArbiterNode, '-p', f'keys:={tmp_path}', '-p', 'require_signatures:=true')
    empty = f'{tmp_path}/trusted.json has no trusted keys: run sage keys trust'
    ros.wait_for(lambda: reports(empty), 'the warning')
    TrustStore(tmp_path).trust('cam0', public_bytes(KEY))
    ros.wait_for(lambda: not reports('has no trusted keys'), 'the end of the warning')
    (tmp_path / 'trusted.json').write_text('{}')
    ros.wait_for(lambda: reports('the keys of the last valid file stay in force'), 'the fault')


def test_node_goes_on_if_the_refresh_of_the_trust_store_raises(ros, tmp_path, monkeypatch):
    refreshed = []

    def refresh(store):
        refreshed.append(store)
        if len(refreshed) == 2:  # the constructor refreshes first
            raise RuntimeError('only once')
        return False

    monkeypatch.setattr(TrustStore, 'refresh', refresh)
    node = ros.make(ArbiterNode, '-p', f'keys:={tmp_path}')
    ros.wait_for(lambda: len(refreshed) > 2, 'the next refresh')
    assert node.callback_guard.errors == {'timer _refresh': 1}
    node.callback_guard.errors.clear()
