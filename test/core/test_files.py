# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0

import os
import stat
from pathlib import Path

import pytest

from sage_perception.core.files import cache_folder, replacing, write_atomically


def test_writes_bytes_and_text(tmp_path):
    write_atomically(tmp_path / 'bytes', b'\x00\xff')
    write_atomically(tmp_path / 'text', 'naïve')
    assert (tmp_path / 'bytes').read_bytes() == b'\x00\xff'
    assert (tmp_path / 'text').read_text('utf-8') == 'naïve'


@pytest.mark.parametrize('mode', [0o644, 0o600])
def test_sets_the_permissions(tmp_path, mode):
    write_atomically(tmp_path / 'file', b'', mode)
    assert stat.S_IMODE((tmp_path / 'file').stat().st_mode) == mode


def test_temporary_file_is_private_and_in_the_same_folder(tmp_path):
    with replacing(tmp_path / 'file') as part:
        assert part.parent == tmp_path
        assert stat.S_IMODE(part.stat().st_mode) == 0o600
        assert not (tmp_path / 'file').exists()
    assert os.listdir(tmp_path) == ['file']


def test_failure_keeps_the_old_file_and_leaves_no_other(tmp_path):
    write_atomically(tmp_path / 'file', b'old')
    with pytest.raises(TypeError), replacing(tmp_path / 'file') as part:
        part.write_bytes([part.write_bytes(b'half')])
    assert (tmp_path / 'file').read_bytes() == b'old'
    assert os.listdir(tmp_path) == ['file']


def test_writer_may_replace_the_temporary_file(tmp_path):
    with replacing(tmp_path / 'file') as part:
        part.unlink()
        part.write_bytes(b'new')
    assert (tmp_path / 'file').read_bytes() == b'new'


def test_accepts_the_longest_file_name(tmp_path):
    write_atomically(tmp_path / ('a' * 255), b'')


def test_missing_folders_are_created(tmp_path):
    write_atomically(tmp_path / 'missing' / 'too' / 'file', b'x')
    assert (tmp_path / 'missing' / 'too' / 'file').read_bytes() == b'x'


def test_errors_name_the_file_and_not_the_temporary_one(tmp_path):
    (tmp_path / 'file').touch()
    with pytest.raises(NotADirectoryError) as error:
        write_atomically(tmp_path / 'file' / 'below', b'')
    assert error.value.filename == str(tmp_path / 'file')
    with pytest.raises(OSError, match='No space') as error, replacing(tmp_path / 'full'):
        raise OSError(28, 'No space left on device')
    assert error.value.filename == str(tmp_path / 'full')
    with pytest.raises(FileNotFoundError) as error, replacing(tmp_path / 'copy'):
        (tmp_path / 'source').read_bytes()
    assert error.value.filename == str(tmp_path / 'source')
    with pytest.raises(IsADirectoryError) as error:
        write_atomically(tmp_path, b'')
    assert error.value.filename == str(tmp_path)


def test_cache_folder_follows_xdg(monkeypatch, tmp_path):
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path))
    assert cache_folder() == tmp_path / 'sage'
    monkeypatch.delenv('XDG_CACHE_HOME')
    monkeypatch.setenv('HOME', str(tmp_path))
    assert cache_folder() == Path(tmp_path, '.cache', 'sage')
