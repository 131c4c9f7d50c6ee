# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""The trust store: changes, revocations and invalid files."""

import json
import multiprocessing
import os

import pytest
from key_files import a_public, mode_of

from sage_perception.trust.security.keys import (
    KeyFault,
    key_text,
)
from sage_perception.trust.security.trust_store import MARKER, MAX_VALID_KEYS, TrustStore


def test_keys_are_stored_with_their_times(tmp_path):
    store, first, second = TrustStore(tmp_path), a_public(), a_public()
    store.trust('cam0', first)
    store.trust('cam0', second)
    store.trust('south', first)
    store.revoke('cam0', first)
    again = TrustStore(tmp_path)
    assert again.entities == store.entities
    assert again.keys_of('unknown') == ()
    old, new = again.keys_of('cam0')
    assert (old.public, new.public, new.revoked) == (first, second, None)
    assert old.added <= old.revoked
    assert again.keys_of('south')[0].revoked is None, 'revoked for cam0 alone'
    assert mode_of(store.path) == 0o644


@pytest.mark.parametrize('in_memory', [True, False])
def test_revoked_key_is_never_trusted_again(tmp_path, in_memory):
    store, key = TrustStore(None if in_memory else tmp_path), a_public()
    store.trust('cam0', key)
    assert [str(gone) for gone in store.revoke('cam0')] == [key_text(key)]
    with pytest.raises(KeyFault, match=r'was revoked at .*: make a new key'):
        store.trust('cam0', key)
    with pytest.raises(KeyFault, match='cam0 has no valid key'):
        store.revoke('cam0')
    with pytest.raises(KeyFault, match='unknown has no valid key'):
        store.revoke('unknown')
    store.trust('cam0', a_public())
    with pytest.raises(KeyFault, match='no valid key ed25519:'):
        store.revoke('cam0', key)


def test_key_is_added_once(tmp_path):
    store, key = TrustStore(tmp_path), a_public()
    assert store.trust('cam0', key) == store.trust('cam0', key)
    assert len(TrustStore(tmp_path).keys_of('cam0')) == 1


def test_number_of_valid_keys_is_limited():
    store = TrustStore()
    for _ in range(MAX_VALID_KEYS):
        first = store.trust('cam0', a_public())
    with pytest.raises(KeyFault, match='first run sage keys revoke cam0'):
        store.trust('cam0', a_public())
    store.revoke('cam0', first.public)
    store.trust('cam0', a_public())


def test_refresh_reads_the_changes_of_another_process(tmp_path):
    running, key = TrustStore(tmp_path), a_public()
    assert not running.refresh()
    TrustStore(tmp_path).trust('cam0', key)
    assert running.refresh()
    assert running.keys_of('cam0')[0].public == key
    assert not running.refresh()
    TrustStore(tmp_path).revoke('cam0')
    assert running.refresh()
    assert running.keys_of('cam0')[0].revoked


def test_deleted_file_is_a_fault_and_the_keys_stay_in_force(tmp_path):
    running, key = TrustStore(tmp_path), a_public()
    running.trust('cam0', key)
    running.refresh()
    running.path.unlink()
    reason = 'trusted.json is missing, but keys were trusted here: restore it .* delete .*marker'
    with pytest.raises(KeyFault, match=reason):
        running.refresh()
    assert running.keys_of('cam0')[0].public == key
    with pytest.raises(KeyFault, match=reason):  # so that a restart does not accept unsigned LCTs
        TrustStore(tmp_path)
    with pytest.raises(KeyFault, match=reason):
        running.trust('cam1', key)
    shown = TrustStore(tmp_path, inspect=True)
    assert 'is missing' in shown.fault
    assert not shown.entities
    (tmp_path / MARKER).unlink()
    assert not TrustStore(tmp_path).entities


def test_change_applies_to_the_current_file(tmp_path):
    a, b = TrustStore(tmp_path), TrustStore(tmp_path)
    a.trust('cam0', a_public())
    b.trust('cam1', a_public())
    assert set(TrustStore(tmp_path).entities) == {'cam0', 'cam1'}


def _trust_some(folder, n):
    for m in range(5):
        TrustStore(folder).trust(f'entity/{n}/{m}', bytes([n, m]) * 16)


def test_concurrent_changes_are_all_kept(tmp_path):
    # Not forked: a lock that another thread of this process holds would stay locked in the child.
    context = multiprocessing.get_context('spawn')
    processes = [context.Process(target=_trust_some, args=(tmp_path, n)) for n in range(3)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
        assert process.exitcode == 0
    assert len(TrustStore(tmp_path).entities) == 15
    files = {'trusted.json', 'trusted.lock', 'trusted.marker'}
    assert set(os.listdir(tmp_path)) == files, 'no temporary files'


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
def test_invalid_file_is_rejected_and_changes_nothing(tmp_path, content):
    store = TrustStore(tmp_path)
    store.trust('cam0', a_public())
    before = store.entities
    store.path.write_text(content)
    for read in (store.refresh, store.refresh, lambda: TrustStore(tmp_path)):
        with pytest.raises(KeyFault, match=r'trusted\.json is not a valid list of trusted keys'):
            read()
    with pytest.raises(KeyFault, match=r'trusted\.json is not a valid list of trusted keys'):
        store.trust('cam1', a_public())
    assert store.path.read_text() == content
    assert store.entities == before


def test_valid_file_is_read(tmp_path):
    (tmp_path / 'trusted.json').write_text(entry())
    (key,) = TrustStore(tmp_path).keys_of('cam0')
    assert key.public == bytes(32)


@pytest.mark.parametrize('mode', [0o664, 0o646, 0o666])
def test_file_that_others_may_write_is_rejected(tmp_path, mode):
    store = TrustStore(tmp_path)
    store.trust('cam0', a_public())
    store.path.chmod(mode)
    with pytest.raises(
        KeyFault, match=f'other users may write {store.path}:.*chmod go-w {store.path}'
    ):
        TrustStore(tmp_path)
