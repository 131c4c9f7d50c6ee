# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Reading of files from outside: anything but a regular file of bounded size is an error."""

import errno
import os

import numpy as np
import pytest

from sage_perception.bringup.environment import remove_stale_shared_memory
from sage_perception.core.npz_file import read_npy, read_npz
from sage_perception.core.reading import open_regular, read_bounded, sha256_of
from sage_perception.core.yaml_file import read_yaml


def as_pipe(path):
    os.mkfifo(path)


def as_device(path):
    path.symlink_to('/dev/zero')


def as_folder(path):
    path.mkdir()


def as_loop(path):
    path.symlink_to(path)


def as_huge(path):
    with path.open('wb') as file:
        file.truncate(1 << 43)


@pytest.mark.parametrize('read', [read_yaml, read_npz, read_npy, lambda p: read_bounded(p, 99)])
@pytest.mark.parametrize('replace', [as_pipe, as_device, as_folder, as_loop])
def test_an_error_names_the_file(tmp_path, replace, read):
    path = tmp_path / 'file'
    replace(path)
    with pytest.raises(OSError, match='file') as error:
        read(path)
    assert error.value.filename == str(path)
    assert error.value.strerror


def test_reads_up_to_the_limit(tmp_path):
    path = tmp_path / 'file'
    path.write_bytes(bytes(1024))
    assert read_bounded(path, 1024) == bytes(1024)
    with pytest.raises(OSError, match='File larger than 0 KiB') as error:
        read_bounded(path, 1023)
    assert error.value.errno == errno.EFBIG


def test_does_not_allocate_what_a_sparse_file_announces(tmp_path):
    as_huge(tmp_path / 'file')
    for read in (read_npz, read_npy, lambda path: sha256_of(path, 1 << 30)):
        with pytest.raises(OSError, match='File larger than 1024 MiB'):
            read(tmp_path / 'file')


def test_follows_links_and_closes_what_it_refuses(tmp_path):
    (tmp_path / 'file').write_bytes(b'x')
    (tmp_path / 'link').symlink_to('file')
    with open_regular(tmp_path / 'link') as file:
        assert file.read() == b'x'
    os.mkfifo(tmp_path / 'pipe')
    before = len(os.listdir('/proc/self/fd'))
    for _ in range(9):
        with pytest.raises(OSError, match='Not a regular file'):
            open_regular(tmp_path / 'pipe')
    assert len(os.listdir('/proc/self/fd')) == before


@pytest.mark.parametrize(
    'content',
    [b'', b'PK\x03\x04' + bytes(99), b'\x93NUMPY\x01\x00v\x00' + b'(' * 118],
    ids=['empty', 'zip', 'header'],
)
@pytest.mark.parametrize('read', [read_npz, read_npy])
def test_a_damaged_archive_is_one_kind_of_error(tmp_path, content, read):
    path = tmp_path / 'file'
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r'.') as error:
        read(path)
    assert type(error.value) is ValueError
    assert '\n' not in str(error.value)


def test_objects_are_not_read(tmp_path):
    np.savez(tmp_path / 'file.npz', x=np.array([{}], object))
    with pytest.raises(ValueError, match='allow_pickle'):
        read_npz(tmp_path / 'file.npz')


def test_a_pipe_in_the_shared_memory_does_not_stop_the_removal(tmp_path):
    os.mkfifo(tmp_path / 'fastrtps_a_el')
    (tmp_path / 'fastrtps_b').touch()
    (tmp_path / 'fastrtps_b_el').touch()
    assert remove_stale_shared_memory(tmp_path, age_s=-1.0) == 1
    assert [file.name for file in tmp_path.iterdir()] == ['fastrtps_a_el']
