# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""YAML from untrusted files: bounded time and memory, one-line errors."""

import time

import pytest

from sage_perception.core.yaml_file import (
    MAX_BYTES,
    MAX_DEPTH,
    parse_yaml,
    read_mapping,
    read_yaml,
)

BOMB = 'a0: &a0 [x, x]\n' + ''.join(
    f'a{i}: &a{i} [*a{i - 1}, *a{i - 1}, *a{i - 1}, *a{i - 1}]\n' for i in range(1, 40)
)


@pytest.mark.parametrize(
    ('text', 'reason'),
    [
        (BOMB, r'line 2: alias \*a0 is not allowed'),
        ('a: ' + '[' * 5000, 'line 1: more than 32 nested levels'),
        ('a: ' + '[' * 50000 + ']' * 50000, 'line 1: more than 32 nested levels'),
        ('a: ' + '{b: ' * 500 + '1' + '}' * 500, 'line 1: more than 32 nested levels'),
        ('a: !!timestamp x\n', 'tagged value'),
        ('a: !!int ""\n', 'tagged value'),
        ('a: !!bool x\n', 'tagged value'),
        ('a: 2026-99-99\n', 'month must be'),
        ('a: !!python/object:os.system {}\n', 'line 1: could not determine a constructor'),
        ('a: [1\nb: 2\n', 'line 2: '),
        ('? [a]\n: b\n', 'line 1: found unhashable key'),
        ('a: b\n---\nc: d\n', 'line 2: but found another document'),
        ('\0', 'not allowed'),
    ],
)
def test_rejects_hostile_document_in_one_line(tmp_path, text, reason):
    path = tmp_path / 'x.yaml'
    path.write_text(text)
    started = time.monotonic()
    with pytest.raises(ValueError, match=reason) as info:
        read_yaml(path)
    assert time.monotonic() - started < 2
    assert str(info.value).startswith(str(path))
    assert '\n' not in str(info.value)


def test_rejects_bytes_that_are_no_text(tmp_path):
    path = tmp_path / 'x.yaml'
    path.write_bytes(b'a: \xff\xfe\x00')
    with pytest.raises(ValueError, match=r'x\.yaml'):
        read_yaml(path)


def test_rejects_large_file_without_reading_it_all(tmp_path):
    path = tmp_path / 'x.yaml'
    with path.open('wb') as file:
        file.truncate(1 << 40)  # sparse
    with pytest.raises(ValueError, match='larger than 256 KiB'):
        read_yaml(path)
    assert parse_yaml('#' * MAX_BYTES, 'x') is None


def test_reads_what_the_safe_loader_reads(tmp_path):
    path = tmp_path / 'x.yaml'
    path.write_text('a: &named [1, 2.5, true, null]\nb: {c: text}\n')
    assert read_yaml(path) == {'a': [1, 2.5, True, None], 'b': {'c': 'text'}}
    assert parse_yaml('[' * MAX_DEPTH + ']' * MAX_DEPTH, 'x')


def test_missing_file_is_an_os_error(tmp_path):
    with pytest.raises(FileNotFoundError):
        read_yaml(tmp_path / 'missing.yaml')


@pytest.mark.parametrize(('text', 'found'), [('', 'is empty'), ('- 1', 'holds a list')])
def test_mapping_is_required(tmp_path, text, found):
    path = tmp_path / 'x.yaml'
    path.write_text(text)
    with pytest.raises(ValueError, match=f'x.yaml: the file {found}, expected a mapping'):
        read_mapping(path)
