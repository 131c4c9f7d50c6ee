# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Seeded mutations of files: of bytes, of text, of trees of values, and of the file itself."""

from __future__ import annotations

import json
import os
import random
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml

HUGE_BYTES = 8 << 30
"""Size of a sparse file that no reader can load."""
NUMBERS = (0, 1, 0x7F, 0x80, 0xFF, 0x7FFF, 0xFFFF, 2**31 - 1, 2**31, 2**32 - 1, 2**63, 2**64 - 1)
VALUES: tuple[Any, ...] = (
    None,
    True,
    0,
    -1,
    2**31,
    2**64,
    10**400,
    1e308,
    float('nan'),
    float('inf'),
    '',
    'x',
    'a' * 10_000,
    'ü\udc80'.encode('utf-8', 'replace').decode(),
    'two\nlines\x00\x1b[31m',
    '../../../etc/passwd',
    '/dev/zero',
    [],
    {},
    [[]] * 3,
    {'': None},
    ['x', 1, None],
)
"""Values of other types, and values at the limits of a type."""


def flip_bits(data: bytes, rng: random.Random) -> bytes:
    """Flip 1 to 16 bits."""
    mutated = bytearray(data)
    for _ in range(rng.randint(1, 16)):
        if mutated:
            mutated[rng.randrange(len(mutated))] ^= 1 << rng.randrange(8)
    return bytes(mutated)


def overwrite(data: bytes, rng: random.Random) -> bytes:
    """Overwrite a run of bytes with random ones, zeros or ones."""
    start = rng.randrange(len(data) + 1)
    length = rng.choice((1, 4, 16, 256, 4096))
    fill = rng.choice((rng.randbytes(length), bytes(length), b'\xff' * length))
    return data[:start] + fill + data[start + length :]


def set_number(data: bytes, rng: random.Random) -> bytes:
    """Overwrite a place with a number at the limit of its type, such as a length field."""
    size = rng.choice((1, 2, 4, 8))
    number = rng.choice(NUMBERS) & (1 << 8 * size) - 1
    limit = rng.choice((len(data), 64, 512))  # headers are at the beginning
    start = rng.randrange(max(min(limit, len(data)), 1))
    coded = number.to_bytes(size, rng.choice(('little', 'big')))
    return data[:start] + coded + data[start + size :]


def truncate(data: bytes, rng: random.Random) -> bytes:
    """Remove the end."""
    return data[: rng.randrange(len(data) + 1)]


def insert(data: bytes, rng: random.Random) -> bytes:
    """Insert random bytes."""
    start = rng.randrange(len(data) + 1)
    return data[:start] + rng.randbytes(rng.choice((1, 7, 64, 1000))) + data[start:]


def remove(data: bytes, rng: random.Random) -> bytes:
    """Remove a part."""
    start = rng.randrange(len(data) + 1)
    return data[:start] + data[start + rng.choice((1, 4, 64, 1000)) :]


def repeat(data: bytes, rng: random.Random) -> bytes:
    """Repeat a part."""
    start = rng.randrange(len(data) + 1)
    part = data[start : start + rng.choice((1, 16, 256, 4096))]
    return data[:start] + part * rng.randint(2, 50) + data[start:]


def replace_all(data: bytes, rng: random.Random) -> bytes:
    """Return another file: empty, random, text, or of another format."""
    return rng.choice(
        (
            b'',
            rng.randbytes(rng.choice((1, 100, 5000))),
            bytes(5000),
            b'text\n',
            b'\x89PNG\r\n\x1a\n' + rng.randbytes(100),
            b'PK\x03\x04' + rng.randbytes(100),
            b'SQLite format 3\0' + rng.randbytes(100),
            b'\x93NUMPY\x01\x00v\x00' + rng.randbytes(118),
            b'\x80\x04cposix\nsystem\n(Vtrue\ntR.',
            b'[' * 100_000,
            b'{"a":' * 100_000,
            b'9' * 100_000,
        )
    )


BYTES = (flip_bits, overwrite, set_number, truncate, insert, remove, repeat, replace_all)


def encode_otherwise(data: bytes, rng: random.Random) -> bytes:
    """Return text in another encoding, or with bytes that are not UTF-8."""
    text = data.decode('utf-8', 'replace')
    start = rng.randrange(len(data) + 1)
    return rng.choice(
        (
            text.encode('utf-16'),
            text.encode('utf-32'),
            b'\xef\xbb\xbf' + data,
            data[:start] + b'\xff\xfe' + data[start:],
            data[:start] + b'\x00' + data[start:],
            data[:start] + '\u2028\u200f\x85'.encode() + data[start:],
            data.replace(b'\n', b'\r\n'),
            data.replace(b' ', b'\t'),
        )
    )


def nest(data: bytes, rng: random.Random) -> bytes:
    """Add a value that is nested thousands of levels deep."""
    depth = rng.choice((40, 1000, 20_000))
    deep = rng.choice((b'[' * depth, b'{a: ' * depth, b'[' * depth + b']' * depth, b'- ' * depth))
    return rng.choice((deep, data + b'\ndeep: ' + deep, b'{"deep": ' + deep + b'}'))


def alias(data: bytes, rng: random.Random) -> bytes:
    """Add YAML aliases that expand without bound, recursive ones, or merge keys."""
    bomb = b'a0: &a0 [x, x]\n' + b''.join(
        b'a%d: &a%d [*a%d, *a%d]\n' % (n, n, n - 1, n - 1) for n in range(1, 40)
    )
    loop = b'loop: &loop [*loop]\n'
    merge = b'base: &base {x: 1}\nother: {<<: [*base, *base]}\n'
    return rng.choice((bomb, loop, merge, bomb + data, data + b'\n' + bomb, data + b'\n' + loop))


def tag(data: bytes, rng: random.Random) -> bytes:
    """Put a YAML tag before a value."""
    kinds = 'timestamp int float bool binary set omap pairs map seq null python/object/apply:os.a'
    chosen = b': !!' + rng.choice(kinds.split()).encode() + b' '
    places = [n for n in range(len(data)) if data.startswith(b': ', n)]
    if not places:
        return b'a: !!timestamp x'
    start = rng.choice(places)
    return data[:start] + chosen + data[start + 2 :]


TEXT = (*BYTES, encode_otherwise, nest, alias, tag)


def change_tree(tree: Any, rng: random.Random) -> Any:
    """Return a tree of mappings and lists in which 1 to 3 values are others."""
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        tree = _changed(tree, rng)
    return tree


def _changed(tree: Any, rng: random.Random) -> Any:
    if not isinstance(tree, (dict, list)) or not tree or rng.random() < 0.1:
        return rng.choice(VALUES)
    keys = list(tree) if isinstance(tree, dict) else range(len(tree))
    key = rng.choice(keys)
    copied = dict(tree) if isinstance(tree, dict) else list(tree)
    what = rng.randrange(10)
    if what == 0:
        del copied[key]
    elif what == 1 and isinstance(copied, dict):
        copied[rng.choice((0, None, 'x', 1.5, True))] = copied.pop(key)
    elif what == 1:
        copied += copied[-1:] * rng.choice((1, 1000))
    else:
        copied[key] = _changed(tree[key], rng)
    return copied


def change_yaml(data: bytes, rng: random.Random) -> bytes:
    """Change the types and values of a YAML document."""
    tree = yaml.load(data, getattr(yaml, 'CSafeLoader', yaml.SafeLoader))
    return yaml.safe_dump(change_tree(tree, rng), allow_unicode=rng.random() < 0.5).encode()


def change_json(data: bytes, rng: random.Random) -> bytes:
    """Change the types and values of a JSON document."""
    return json.dumps(change_tree(json.loads(data), rng)).encode()


YAML = (*TEXT, *[change_yaml] * 12)
JSON = (*BYTES, encode_otherwise, nest, *[change_json] * 12)

Mutation = Callable[[bytes, random.Random], bytes]


def as_folder(path: Path) -> None:
    """Replace a file by a folder."""
    path.mkdir()


def as_fifo(path: Path) -> None:
    """Replace a file by a pipe without a writer."""
    os.mkfifo(path)


def as_socket(path: Path) -> None:
    """Replace a file by a socket."""
    os.mknod(path, stat.S_IFSOCK | 0o600)


def as_endless_device(path: Path) -> None:
    """Replace a file by a device whose content never ends."""
    path.symlink_to('/dev/zero')


def as_empty_device(path: Path) -> None:
    """Replace a file by a device without content."""
    path.symlink_to('/dev/null')


def as_failing_device(path: Path) -> None:
    """Replace a file by one whose reading fails with an I/O error."""
    path.symlink_to('/proc/self/mem')


def as_loop(path: Path) -> None:
    """Replace a file by a symbolic link to itself."""
    path.symlink_to(path.name)


def as_nothing(path: Path) -> None:
    """Leave the file out."""


def as_huge(path: Path) -> None:
    """Replace a file by a sparse one of `HUGE_BYTES`."""
    with path.open('wb') as file:
        file.truncate(HUGE_BYTES)


def as_unreadable(path: Path) -> None:
    """Replace a file by one that its owner may not read; root may."""
    path.write_bytes(b'x')
    path.chmod(0)


SPECIAL: tuple[Callable[[Path], None], ...] = (
    as_folder,
    as_fifo,
    as_socket,
    as_endless_device,
    as_empty_device,
    as_failing_device,
    as_loop,
    as_nothing,
    as_huge,
    as_unreadable,
)
