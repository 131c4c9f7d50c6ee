# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""The storage files of a bag, and the error that all bag functions raise."""

from __future__ import annotations

import os
import re
from pathlib import Path

from sage_perception.core.text import natural_key

METADATA = 'metadata.yaml'
MCAP_MAGIC = b'\x89MCAP0\r\n'
COMPRESSED_SUFFIXES = ('.zstd', '.zst', '.lz4')
_STORAGE = re.compile(rf'.*\.(mcap|db3)({"|".join(map(re.escape, COMPRESSED_SUFFIXES))})?')
_FORMATS = 'a bag directory, an .mcap or a .db3 file'


class BagError(ValueError):
    """A bag cannot be read or written; the message names the bag and the fix."""


def storage_files(path: Path) -> list[Path]:
    """Return the storage files of a bag directory in natural order, or the file itself.

    `ros2 bag play` decompresses a file beside the compressed one, which is then left out.

    Raises:
        BagError: there is no bag at `path`.
    """
    if not path.exists():
        raise BagError(f'bag {path} does not exist')
    try:
        files = [path] if path.is_file() else [*path.iterdir()]
    except OSError as error:
        raise BagError(f'{path} cannot be read: {error.strerror}') from None
    found = {file for file in files if is_storage_file(file)}
    found = {file for file in found if not (is_compressed(file) and file.with_suffix('') in found)}
    if found:
        return sorted(found, key=lambda file: natural_key(file.name))
    if path.suffix == '.bag':
        raise BagError(
            f'{path} is a bag of ROS 1: convert it with "pip install rosbags" and '
            f'"rosbags-convert --src {path} --dst {path.with_suffix("")}"'
        )
    raise BagError(f'{path} is not a bag: pass {_FORMATS}')


def is_storage_file(path: Path) -> bool:
    """Return whether a path is a file with the name of a storage file, such as bag_0.mcap.zstd."""
    hidden = path.name.startswith('.')  # macOS stores attributes in ._bag_0.mcap
    return not hidden and bool(_STORAGE.fullmatch(path.name)) and path.is_file()


def is_compressed(file: Path) -> bool:
    """Return whether a storage file was compressed as a whole."""
    return file.suffix in COMPRESSED_SUFFIXES


def is_closed(file: Path) -> bool:
    """Return whether an MCAP file was closed, from the bytes at its end."""
    with file.open('rb') as stream:
        size = stream.seek(0, os.SEEK_END)
        stream.seek(max(0, size - len(MCAP_MAGIC)))
        return size > len(MCAP_MAGIC) and stream.read() == MCAP_MAGIC


def readable_files(path: Path) -> list[Path]:
    """Return the storage files from which to read a bag.

    Raises:
        BagError: there is no bag at `path`, or a file is empty or was not closed.
    """
    files = storage_files(path)
    try:
        empty = [file for file in files if not file.stat().st_size]
        unclosed = [file for file in files if file.suffix == '.mcap' and not is_closed(file)]
    except OSError as error:
        raise BagError(f'{error.filename} cannot be read: {error.strerror}') from None
    if empty:
        raise BagError(
            f'{empty[0]} is empty because its recorder was killed before it wrote data: remove it'
        )
    if unclosed:
        raise BagError(
            f'{unclosed[0]} was not closed because its recorder was killed: '
            f'run "sage record --repair {path}"'
        )
    return files
