# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""The storage files of a bag, and the error that all bag functions raise."""

from __future__ import annotations

import os
import re
from pathlib import Path

METADATA = 'metadata.yaml'
MCAP_MAGIC = b'\x89MCAP0\r\n'
_STORAGE = re.compile(r'.*\.(mcap|db3)(\.zstd)?')


class BagError(ValueError):
    """A bag cannot be read or written; the message names the bag and the fix."""


def storage_files(path: Path) -> list[Path]:
    """Return the storage files of a bag directory, sorted, or the file itself."""
    files = [path] if path.is_file() else sorted(path.iterdir())
    return [file for file in files if _STORAGE.fullmatch(file.name)]


def is_closed(file: Path) -> bool:
    """Return whether an MCAP file was closed, from the bytes at its end."""
    with file.open('rb') as stream:
        size = stream.seek(0, os.SEEK_END)
        stream.seek(max(0, size - len(MCAP_MAGIC)))
        return size > len(MCAP_MAGIC) and stream.read() == MCAP_MAGIC


def closed_bag(path: Path) -> Path:
    """Return the path from which to read a bag.

    Raises:
        BagError: there is no bag at `path`, or it was not closed.
    """
    if not path.exists():
        raise BagError(f'bag {path} does not exist')
    files = storage_files(path)
    if not files:
        raise BagError(f'{path} is not a bag: pass a bag directory, an .mcap or a .db3 file')
    closed = path.is_file() or (path / METADATA).exists()
    if not closed and len(files) == 1:
        path, closed = files[0], True
    if not closed or any(file.suffix == '.mcap' and not is_closed(file) for file in files):
        raise BagError(
            f'{path} was not closed because its recorder was killed: '
            f'run "sage record --repair {path}"'
        )
    return path
