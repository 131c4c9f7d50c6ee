# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Key files: names, permissions and formats."""

import os

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from hypothesis import given
from hypothesis import strategies as st
from key_files import a_key, a_public, mode_of

from sage_perception.trust.security.keys import (
    KeyFault,
    check_entity,
    key_folder,
    key_path,
    key_text,
    load_key,
    public_bytes,
    read_key_text,
    save_key,
)
from sage_perception.trust.security.trust_store import TrustStore

NAMES = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=16)


# Names and texts


@given(st.binary(min_size=32, max_size=32))
def test_key_text_round_trip(public):
    assert read_key_text(key_text(public)) == public
    assert read_key_text(f' {key_text(public)}\n') == public


@pytest.mark.parametrize(
    'text',
    [
        '',
        'ed25519:',
        'ed25519:abc',
        'rsa:' + 'A' * 43 + '=',
        'ed25519:' + 'A' * 44,
        'ed25519:' + 'A' * 42 + 'B=',  # bits beyond the last byte
        'ed25519:' + 'A' * 43,
        'ed25519:' + 'Ä' * 44,
        'A' * 43 + '=',
    ],
)
def test_invalid_key_text_is_rejected(text):
    with pytest.raises(KeyFault, match='is not a public key: give ed25519: and 44 characters'):
        read_key_text(text)


@given(NAMES, NAMES)
def test_each_entity_has_its_own_file_in_the_folder(tmp_path_factory, a, b):
    folder = tmp_path_factory.getbasetemp()
    first, second = key_path(folder, a), key_path(folder, b)
    assert first.resolve().parent == folder.resolve()
    assert (first == second) == (a == b)


@pytest.mark.parametrize('name', ['', 'x' * 65, 'ü' * 33, 'a\0', 'a\nb', '\x1b[2J'])
def test_invalid_entity_id_is_rejected(tmp_path, name):
    with pytest.raises(KeyFault, match='is not a valid entity id'):
        key_path(tmp_path, name)
    with pytest.raises(KeyFault, match='is not a valid entity id'):
        TrustStore().trust(name, a_public())


def test_key_folder(monkeypatch, tmp_path):
    monkeypatch.delenv('SAGE_KEYS', raising=False)
    monkeypatch.setenv('HOME', str(tmp_path))
    assert key_folder() == tmp_path / '.config' / 'sage' / 'keys'
    monkeypatch.setenv('SAGE_KEYS', '~/there')
    assert key_folder() == tmp_path / 'there'
    assert key_folder('/elsewhere') == key_folder('/elsewhere/')
    assert str(key_folder('/elsewhere')) == '/elsewhere'


# Secret keys


def test_secret_key_is_readable_by_its_owner_only(tmp_path):
    folder, key = tmp_path / 'new' / 'keys', a_key()
    path = save_key(folder, 'robot1/cam0', key)
    assert (mode_of(path), mode_of(folder)) == (0o600, 0o700)
    assert public_bytes(load_key(folder, 'robot1/cam0')) == public_bytes(key)
    assert os.listdir(folder) == ['robot1%2Fcam0.key']


def test_secret_key_is_replaced_only_on_request(tmp_path):
    first, second = a_key(), a_key()
    save_key(tmp_path, 'cam0', first)
    with pytest.raises(KeyFault, match='--rotate'):
        save_key(tmp_path, 'cam0', second)
    assert public_bytes(load_key(tmp_path, 'cam0')) == public_bytes(first)
    save_key(tmp_path, 'cam0', second, replace=True)
    assert public_bytes(load_key(tmp_path, 'cam0')) == public_bytes(second)


@pytest.mark.parametrize('mode', [0o640, 0o604, 0o660, 0o601, 0o777])
def test_secret_key_that_others_may_access_is_rejected(tmp_path, mode):
    path = save_key(tmp_path, 'cam0', a_key())
    path.chmod(mode)
    with pytest.raises(KeyFault, match=f'{path} has mode {mode:04o}.*chmod 600 {path}'):
        load_key(tmp_path, 'cam0')


def test_folder_that_others_may_write_is_rejected(tmp_path):
    save_key(tmp_path, 'cam0', a_key())
    TrustStore(tmp_path).trust('cam0', a_public())
    tmp_path.chmod(0o775)
    for read in (lambda: load_key(tmp_path, 'cam0'), lambda: TrustStore(tmp_path)):
        with pytest.raises(KeyFault, match=f'other users may write {tmp_path}:.*chmod go-w'):
            read()


def pem(key, encryption=None):
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        encryption or serialization.NoEncryption(),
    )


@pytest.mark.parametrize(
    ('content', 'error'),
    [
        (b'', 'is not an unencrypted secret key in PEM'),
        (b'nonsense', 'is not an unencrypted secret key in PEM'),
        (pem(a_key())[:60], 'is not an unencrypted secret key in PEM'),
        (pem(a_key(), serialization.BestAvailableEncryption(b'x')), 'is not an unencrypted'),
        (pem(generate_private_key(SECP256R1())), 'is not an Ed25519 key'),
    ],
    ids=['empty', 'text', 'cut', 'encrypted', 'other_kind'],
)
def test_invalid_key_file_is_rejected(tmp_path, content, error):
    key_path(tmp_path, 'cam0').write_bytes(content)
    key_path(tmp_path, 'cam0').chmod(0o600)
    with pytest.raises(KeyFault, match=error):
        load_key(tmp_path, 'cam0')


def test_missing_key_is_rejected_with_the_fix(tmp_path):
    with pytest.raises(KeyFault, match='sage keys create cam0'):
        load_key(tmp_path, 'cam0')
    key_path(tmp_path, 'cam0').mkdir()
    with pytest.raises(KeyFault, match='cannot be read'):
        load_key(tmp_path, 'cam0')


@pytest.mark.parametrize(
    'entity',
    [
        '',
        'c\u0430m0',
        'cam0 ',
        ' cam0',
        'cam\u00a00',
        'cam0\n',
        'cam\x1b[2J',
        'c\u200bam0',
        'x' * 65,
    ],
)
def test_entity_that_could_pass_for_another_one_is_refused(entity):
    with pytest.raises(KeyFault, match='not a valid entity id: give 1 to 64 characters of ASCII'):
        check_entity(entity)


@pytest.mark.parametrize('entity', ['cam0', 'robot1/cam0', 'robot-1/front.left_2', 'x' * 64])
def test_entity_of_visible_ascii_is_accepted(entity):
    assert check_entity(entity) == entity
