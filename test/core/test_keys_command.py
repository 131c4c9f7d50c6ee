# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""`sage keys`: create, trust, rotate and revoke keys."""

import errno
import os

import pytest

from sage_perception.cli import keys as command
from sage_perception.trust.security.keys import (
    key_text,
    load_key,
    public_bytes,
)
from sage_perception.trust.security.trust_store import MAX_VALID_KEYS, TrustStore


@pytest.fixture
def keys(tmp_path, monkeypatch, capsys):
    """Return a function that runs `sage keys` and returns exit code, output and errors."""
    monkeypatch.setenv('SAGE_KEYS', str(tmp_path / 'keys'))

    def run(*argv):
        code = command.main(argv)
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    run.folder = tmp_path / 'keys'
    return run


def test_created_key_is_trusted_on_another_robot(keys, tmp_path):
    code, out, _ = keys('create', 'robot1/cam0', 'robot&1/cam1')
    assert code == 0
    commands = [line.split() for line in out.splitlines() if line.startswith('  sage keys trust')]
    assert len(commands) == 2
    assert "  sage keys trust 'robot&1/cam1' ed25519:" in out
    there = str(tmp_path / 'there')
    entity, key = commands[0][3:]
    assert keys('trust', entity, key, '--dir', there)[0] == 0
    (trusted,) = TrustStore(there).keys_of('robot1/cam0')
    assert trusted.public == public_bytes(load_key(keys.folder, 'robot1/cam0'))


def test_rotated_key_replaces_the_old_one(keys):
    keys('create', 'cam0')
    old = public_bytes(load_key(keys.folder, 'cam0'))
    code, _, error = keys('create', 'new', 'cam0')
    assert code == 2
    assert '--rotate' in error
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


def test_key_that_cannot_be_trusted_replaces_none(keys):
    keys('create', 'cam0')
    for _ in range(MAX_VALID_KEYS - 1):
        keys('create', 'cam0', '--rotate')
    before = public_bytes(load_key(keys.folder, 'cam0'))
    assert keys('create', 'cam0', '--rotate')[0] == 2
    assert public_bytes(load_key(keys.folder, 'cam0')) == before


def test_key_that_cannot_be_saved_is_not_trusted(keys, monkeypatch):
    fsync = os.fsync

    def full_disk(number):
        if '.key' in os.readlink(f'/proc/self/fd/{number}'):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        fsync(number)

    monkeypatch.setattr(os, 'fsync', full_disk)
    code, _, error = keys('create', 'cam0')
    assert code == 2
    assert 'No space left' in error
    assert not TrustStore(keys.folder).keys_of('cam0')
    assert not list(keys.folder.glob('*.key'))


def test_keys_that_other_users_may_write_are_listed_and_marked(keys):
    keys('create', 'cam0')
    keys.folder.chmod(0o777)
    code, out, error = keys('list')
    assert (code, error) == (0, '')
    warning, key = out.splitlines()
    assert warning == (
        f'warning: nodes do not use these keys: other users may write {keys.folder}: check that '
        f'sage keys list shows only keys you know, then run chmod go-w {keys.folder}'
    )
    assert key.startswith('cam0  ed25519:')
    assert keys('create', 'cam1')[0] == 2, 'other commands refuse'
    keys.folder.chmod(0o700)
    (keys.folder / 'cam0.key').chmod(0o666)
    code, out, _ = keys('list')
    assert code == 0
    assert out.startswith('warning: nodes do not use the key of cam0: ')
    assert 'chmod 600' in out


def test_all_keys_of_an_entity_are_revoked(keys):
    keys('create', 'cam0')
    code, out, _ = keys('revoke', 'cam0')
    assert code == 0
    assert 'cam0 has no valid key left' in out
    assert keys('revoke', 'cam0')[0] == 2


def test_errors_are_one_line(keys):
    for argv in (('trust', 'cam0', 'key'), ('revoke', 'cam0'), ('trust', '', key_text(bytes(32)))):
        code, out, error = keys(*argv)
        assert (code, out) == (2, '')
        assert error.startswith('sage keys: ')
        assert error.count('\n') == 1


def test_list_without_keys_names_the_command_that_makes_one(keys):
    assert 'sage keys create' in keys('list')[1]
    assert not keys.folder.exists()


def test_help_explains_every_command(capsys):
    with pytest.raises(SystemExit):
        command.main(['--help'])
    out = capsys.readouterr().out
    for word in ('create', 'list', 'trust', 'revoke', '--rotate', 'SAGE_KEYS', '~/.config/sage'):
        assert word in out
