# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Key files, the trust store, and `sage keys`."""

import errno
import json
import multiprocessing
import os
import stat

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from sage_perception.cli import keys as keyring
from sage_perception.trust.security.keys import (
    KeyFault,
    key_folder,
    key_path,
    key_text,
    load_key,
    public_bytes,
    read_key_text,
    save_key,
)
from sage_perception.trust.security.trust_store import MAX_VALID_KEYS, TrustStore

NAMES = st.text(min_size=1, max_size=16).filter(str.isprintable)


def a_key():
    return Ed25519PrivateKey.generate()


def a_public():
    return public_bytes(a_key())


def mode_of(path):
    return stat.S_IMODE(path.stat().st_mode)


# Names and texts


@given(st.binary(min_size=32, max_size=32))
def test_a_key_is_passed_on_as_text(public):
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
def test_what_is_no_key_is_said_to_be_none(text):
    with pytest.raises(KeyFault, match='is no public key: give ed25519: and 44 letters'):
        read_key_text(text)


@given(NAMES, NAMES)
def test_each_entity_has_a_file_of_its_own_in_the_folder(tmp_path_factory, a, b):
    folder = tmp_path_factory.getbasetemp()
    first, second = key_path(folder, a), key_path(folder, b)
    assert first.resolve().parent == folder.resolve()
    assert (first == second) == (a == b)


@pytest.mark.parametrize('name', ['', 'x' * 65, 'ü' * 33, 'a\0', 'a\nb', '\x1b[2J'])
def test_what_is_no_name_is_refused(tmp_path, name):
    with pytest.raises(KeyFault, match='is not a valid entity id'):
        key_path(tmp_path, name)
    with pytest.raises(KeyFault, match='is not a valid entity id'):
        TrustStore().trust(name, a_public())


def test_where_keys_are(monkeypatch, tmp_path):
    monkeypatch.delenv('SAGE_KEYS', raising=False)
    monkeypatch.setenv('HOME', str(tmp_path))
    assert key_folder() == tmp_path / '.config' / 'sage' / 'keys'
    monkeypatch.setenv('SAGE_KEYS', '~/there')
    assert key_folder() == tmp_path / 'there'
    assert key_folder('/elsewhere') == key_folder('/elsewhere/')
    assert str(key_folder('/elsewhere')) == '/elsewhere'


# Secret keys


def test_a_secret_key_is_for_its_owner_only(tmp_path):
    folder, key = tmp_path / 'new' / 'keys', a_key()
    path = save_key(folder, 'robot1/cam0', key)
    assert (mode_of(path), mode_of(folder)) == (0o600, 0o700)
    assert public_bytes(load_key(folder, 'robot1/cam0')) == public_bytes(key)
    assert os.listdir(folder) == ['robot1%2Fcam0.key']


def test_a_secret_key_is_replaced_only_when_asked(tmp_path):
    first, second = a_key(), a_key()
    save_key(tmp_path, 'cam0', first)
    with pytest.raises(KeyFault, match='--rotate'):
        save_key(tmp_path, 'cam0', second)
    assert public_bytes(load_key(tmp_path, 'cam0')) == public_bytes(first)
    save_key(tmp_path, 'cam0', second, replace=True)
    assert public_bytes(load_key(tmp_path, 'cam0')) == public_bytes(second)


@pytest.mark.parametrize('mode', [0o640, 0o604, 0o660, 0o601, 0o777])
def test_a_secret_key_that_others_may_touch_is_refused_with_the_fix(tmp_path, mode):
    path = save_key(tmp_path, 'cam0', a_key())
    path.chmod(mode)
    with pytest.raises(KeyFault, match=f'{path} has mode {mode:04o}.*chmod 600 {path}'):
        load_key(tmp_path, 'cam0')


def test_keys_in_a_folder_that_others_may_write_are_refused(tmp_path):
    save_key(tmp_path, 'cam0', a_key())
    TrustStore(tmp_path).trust('cam0', a_public())
    tmp_path.chmod(0o775)
    for read in (lambda: load_key(tmp_path, 'cam0'), lambda: TrustStore(tmp_path)):
        with pytest.raises(KeyFault, match=f'others may write {tmp_path}:.*chmod go-w'):
            read()


def pem(key, encryption=None):
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        encryption or serialization.NoEncryption(),
    )


@pytest.mark.parametrize(
    ('content', 'complaint'),
    [
        (b'', 'is no unencrypted secret key in PEM'),
        (b'nonsense', 'is no unencrypted secret key in PEM'),
        (pem(a_key())[:60], 'is no unencrypted secret key in PEM'),
        (pem(a_key(), serialization.BestAvailableEncryption(b'x')), 'is no unencrypted'),
        (pem(generate_private_key(SECP256R1())), 'is not an Ed25519 key'),
    ],
)
def test_a_file_that_is_no_secret_key_is_refused(tmp_path, content, complaint):
    key_path(tmp_path, 'cam0').write_bytes(content)
    key_path(tmp_path, 'cam0').chmod(0o600)
    with pytest.raises(KeyFault, match=complaint):
        load_key(tmp_path, 'cam0')


def test_a_key_that_is_not_there_is_to_be_made(tmp_path):
    with pytest.raises(KeyFault, match='sage keys create cam0'):
        load_key(tmp_path, 'cam0')
    key_path(tmp_path, 'cam0').mkdir()
    with pytest.raises(KeyFault, match='cannot be read'):
        load_key(tmp_path, 'cam0')


# The trust store


def test_what_is_trusted_stays_so_with_its_times(tmp_path):
    store, first, second = TrustStore(tmp_path), a_public(), a_public()
    store.trust('cam0', first)
    store.trust('cam0', second)
    store.trust('süd', first)
    store.revoke('cam0', first)
    again = TrustStore(tmp_path)
    assert again.entities == store.entities
    assert again.keys_of('nobody') == ()
    old, new = again.keys_of('cam0')
    assert (old.public, new.public, new.revoked) == (first, second, None)
    assert old.added <= old.revoked
    assert again.keys_of('süd')[0].revoked is None, 'revoked for cam0 alone'
    assert mode_of(store.path) == 0o644


@pytest.mark.parametrize('in_memory', [True, False])
def test_a_revoked_key_is_never_trusted_again(tmp_path, in_memory):
    store, key = TrustStore(None if in_memory else tmp_path), a_public()
    store.trust('cam0', key)
    assert [str(gone) for gone in store.revoke('cam0')] == [key_text(key)]
    with pytest.raises(KeyFault, match=r'was revoked .*: make a new one'):
        store.trust('cam0', key)
    with pytest.raises(KeyFault, match='cam0 has no valid key'):
        store.revoke('cam0')
    with pytest.raises(KeyFault, match='nobody has no valid key'):
        store.revoke('nobody')
    store.trust('cam0', a_public())
    with pytest.raises(KeyFault, match='no valid key ed25519:'):
        store.revoke('cam0', key)


def test_to_trust_twice_is_to_trust_once(tmp_path):
    store, key = TrustStore(tmp_path), a_public()
    assert store.trust('cam0', key) == store.trust('cam0', key)
    assert len(TrustStore(tmp_path).keys_of('cam0')) == 1


def test_valid_keys_are_few_because_a_forgery_is_tried_on_all():
    store = TrustStore()
    for _ in range(MAX_VALID_KEYS):
        first = store.trust('cam0', a_public())
    with pytest.raises(KeyFault, match='first sage keys revoke cam0'):
        store.trust('cam0', a_public())
    store.revoke('cam0', first.public)
    store.trust('cam0', a_public())


def test_a_running_process_sees_what_another_changed(tmp_path):
    running, key = TrustStore(tmp_path), a_public()
    assert not running.refresh()
    TrustStore(tmp_path).trust('cam0', key)
    assert running.refresh()
    assert running.keys_of('cam0')[0].public == key
    assert not running.refresh()
    TrustStore(tmp_path).revoke('cam0')
    assert running.refresh()
    assert running.keys_of('cam0')[0].revoked
    running.path.unlink()
    assert running.refresh()
    assert not running.entities


def test_a_change_is_made_to_the_file_as_it_is_now(tmp_path):
    a, b = TrustStore(tmp_path), TrustStore(tmp_path)
    a.trust('cam0', a_public())
    b.trust('cam1', a_public())
    assert set(TrustStore(tmp_path).entities) == {'cam0', 'cam1'}


def _trust_some(folder, n):
    for m in range(5):
        TrustStore(folder).trust(f'entity {n} {m}', bytes([n, m]) * 16)


def test_processes_that_change_it_together_lose_nothing(tmp_path):
    context = multiprocessing.get_context('fork')
    processes = [context.Process(target=_trust_some, args=(tmp_path, n)) for n in range(3)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
        assert process.exitcode == 0
    assert len(TrustStore(tmp_path).entities) == 15
    assert set(os.listdir(tmp_path)) == {'trusted.json', 'trusted.lock'}, 'nothing half written'


def entry(**change):
    key = {'key': key_text(bytes(32)), 'added': '2026-01-01T00:00:00Z', 'revoked': None}
    return json.dumps({'version': 1, 'entities': {'cam0': [{**key, **change}]}})


@pytest.mark.parametrize(
    'content',
    [
        '',
        'nonsense',
        '[]',
        '{}',
        '{"version": 2, "entities": {}}',
        '{"version": 1, "entities": []}',
        '{"version": 1, "entities": {"cam0": [{}]}}',
        '{"version": 1, "entities": {"": []}}',
        entry(key='ed25519:abc'),
        entry(key=5),
        entry(added='yesterday'),
        entry(revoked='true'),
        entry(revoked=False),
    ],
)
def test_a_file_that_is_none_of_ours_is_refused_and_changes_nothing(tmp_path, content):
    store = TrustStore(tmp_path)
    store.trust('cam0', a_public())
    before = store.entities
    store.path.write_text(content)
    for read in (store.refresh, store.refresh, lambda: TrustStore(tmp_path)):
        with pytest.raises(KeyFault, match=r'trusted\.json is no list of trusted keys'):
            read()
    with pytest.raises(KeyFault, match=r'trusted\.json is no list of trusted keys'):
        store.trust('cam1', a_public())
    assert store.path.read_text() == content
    assert store.entities == before


def test_the_example_is_read(tmp_path):
    (tmp_path / 'trusted.json').write_text(entry())
    (key,) = TrustStore(tmp_path).keys_of('cam0')
    assert key.public == bytes(32)


@pytest.mark.parametrize('mode', [0o664, 0o646, 0o666])
def test_a_file_that_others_may_write_is_refused_with_the_fix(tmp_path, mode):
    store = TrustStore(tmp_path)
    store.trust('cam0', a_public())
    store.path.chmod(mode)
    with pytest.raises(KeyFault, match=f'others may write {store.path}:.*chmod go-w {store.path}'):
        TrustStore(tmp_path)


# The command


@pytest.fixture
def keys(tmp_path, monkeypatch, capsys):
    """`sage keys …` in a folder of its own: exit code, what it says, what it complains of."""
    monkeypatch.setenv('SAGE_KEYS', str(tmp_path / 'keys'))

    def run(*argv):
        code = keyring.main(argv)
        said = capsys.readouterr()
        return code, said.out, said.err

    run.folder = tmp_path / 'keys'
    return run


def test_two_robots_come_to_believe_each_other(keys, tmp_path):
    code, said, _ = keys('create', 'robot1/cam0', 'robot 1/cam1')
    assert code == 0
    commands = [line.split() for line in said.splitlines() if line.startswith('  sage keys trust')]
    assert len(commands) == 2
    assert "  sage keys trust 'robot 1/cam1' ed25519:" in said
    there = str(tmp_path / 'there')
    entity, key = commands[0][3:]
    assert keys('trust', entity, key, '--dir', there)[0] == 0
    (trusted,) = TrustStore(there).keys_of('robot1/cam0')
    assert trusted.public == public_bytes(load_key(keys.folder, 'robot1/cam0'))


def test_a_key_is_rotated_without_a_break(keys):
    keys('create', 'cam0')
    old = public_bytes(load_key(keys.folder, 'cam0'))
    code, _, complaint = keys('create', 'new', 'cam0')
    assert code == 2
    assert '--rotate' in complaint
    assert not TrustStore(keys.folder).keys_of('new'), 'all or nothing'
    assert keys('create', 'cam0', '--rotate')[0] == 0
    new = public_bytes(load_key(keys.folder, 'cam0'))
    assert [key.public for key in TrustStore(keys.folder).keys_of('cam0')] == [old, new]
    assert keys('revoke', 'cam0', key_text(old))[0] == 0
    listed = keys('list')[1].splitlines()
    assert len(listed) == 2
    assert listed[0].startswith(f'cam0  {key_text(old)}  revoked ')
    assert listed[1].startswith(f'cam0  {key_text(new)}  trusted since ')
    assert listed[1].endswith(', signs here')


def test_a_key_that_cannot_be_trusted_replaces_none(keys):
    keys('create', 'cam0')
    for _ in range(MAX_VALID_KEYS - 1):
        keys('create', 'cam0', '--rotate')
    before = public_bytes(load_key(keys.folder, 'cam0'))
    assert keys('create', 'cam0', '--rotate')[0] == 2
    assert public_bytes(load_key(keys.folder, 'cam0')) == before


def test_a_key_that_cannot_be_kept_is_not_trusted(keys, monkeypatch):
    fsync = os.fsync

    def full_disk(number):
        if '.key' in os.readlink(f'/proc/self/fd/{number}'):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        fsync(number)

    monkeypatch.setattr(os, 'fsync', full_disk)
    code, _, complaint = keys('create', 'cam0')
    assert code == 2
    assert 'No space left' in complaint
    assert not TrustStore(keys.folder).keys_of('cam0')
    assert not list(keys.folder.glob('*.key'))


def test_an_entity_is_believed_no_longer(keys):
    keys('create', 'cam0')
    code, said, _ = keys('revoke', 'cam0')
    assert code == 0
    assert 'cam0 has no valid key left' in said
    assert keys('revoke', 'cam0')[0] == 2


def test_complaints_are_one_line(keys):
    for argv in (('trust', 'cam0', 'key'), ('revoke', 'cam0'), ('trust', '', key_text(bytes(32)))):
        code, said, complaint = keys(*argv)
        assert (code, said) == (2, '')
        assert complaint.startswith('sage keys: ')
        assert complaint.count('\n') == 1


def test_without_keys_it_says_how_to_make_one(keys):
    assert 'sage keys create' in keys('list')[1]
    assert not keys.folder.exists()


def test_help_teaches(capsys):
    with pytest.raises(SystemExit):
        keyring.main(['--help'])
    said = capsys.readouterr().out
    for word in ('create', 'list', 'trust', 'revoke', '--rotate', 'SAGE_KEYS', '~/.config/sage'):
        assert word in said
