# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Atomic file writing, and the user's cache folder.

>>> write_atomically(folder / 'trust.json', text)
>>> with replacing(folder / 'model.safetensors') as part:
...     save_file(tensors, part)
"""

from __future__ import annotations

import contextlib
import errno
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

MAX_PREFIX = 40
"""Maximum number of characters of a file name that its temporary file name repeats."""


def cache_folder() -> Path:
    """Return the folder for data that can be recomputed: `$XDG_CACHE_HOME/sage`.

    `XDG_CACHE_HOME` defaults to `~/.cache`, as the XDG Base Directory Specification defines it.
    The folder need not exist.
    """
    return Path(os.environ.get('XDG_CACHE_HOME') or Path.home() / '.cache') / 'sage'


@contextlib.contextmanager
def replacing(path: Path, mode: int = 0o644) -> Iterator[Path]:
    """Yield a temporary file that replaces `path` when the block ends without an exception.

    A reader sees either the old file or the complete new one, also after a power failure. The
    temporary file is in the same folder, which is created if missing, and is readable by its owner
    only until the block ends; then it gets the permissions `mode`. If the block raises, it is
    deleted and `path` is unchanged.

    Raises `OSError`, whose `filename` is `path` unless it is another file of the block.
    """
    path = Path(path)
    with _named(path):
        make_folder(path.parent)
        # mkstemp creates the file with mode 0600.
        number, name = tempfile.mkstemp(prefix=f'.{path.name[:MAX_PREFIX]}.', dir=path.parent)
        os.close(number)
        part = Path(name)
        try:
            yield part
            with part.open('rb+') as file:
                os.fsync(file.fileno())
            part.chmod(mode)
            part.replace(path)
        except BaseException:
            part.unlink(missing_ok=True)
            raise


def make_folder(path: Path) -> None:
    """Create a folder and its parents if they are missing; raise `OSError`, which names it."""
    try:
        path.mkdir(parents=True, exist_ok=True)
    except FileExistsError as error:
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(path)) from error


@contextlib.contextmanager
def _named(path: Path) -> Iterator[None]:
    """Name `path` in the errors about it and its temporary file, such as a full disk."""
    try:
        yield
    except OSError as error:
        name = Path(os.fsdecode(error.filename)) if error.filename else None
        if name is None or name.name.startswith(f'.{path.name[:MAX_PREFIX]}.'):
            error.filename, error.filename2 = str(path), None
        raise


def write_atomically(path: Path, data: bytes | str, mode: int = 0o644) -> None:
    """Write a file as `replacing` does; text is encoded as UTF-8. Raises `OSError`."""
    with replacing(path, mode) as part:
        part.write_bytes(data.encode() if isinstance(data, str) else data)
