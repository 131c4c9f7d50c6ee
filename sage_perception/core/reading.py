# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Read files from outside with bounded time and memory.

Reading a pipe blocks until another process writes to it, a device may never end, and a sparse file
can announce more bytes than the machine has. These functions read regular files up to a limit and
raise `OSError` for everything else.
"""

from __future__ import annotations

import errno
import hashlib
import os
import stat
from pathlib import Path
from typing import BinaryIO

_BLOCK = 1 << 20
_MIB = 1 << 20


def open_regular(path: Path | str, max_bytes: int | None = None) -> BinaryIO:
    """Open a regular file for reading bytes.

    Parameters
    ----------
    path : Path or str
        The file; symbolic links are followed.
    max_bytes : int, optional
        Maximum size of the file at this moment.

    Raises
    ------
    OSError
        If there is no file, it cannot be read, is not a regular file, or is larger than
        `max_bytes`. `strerror` has the reason and `filename` is `path`.

    """
    # Opening a pipe without a writer would block without O_NONBLOCK; regular files ignore it.
    number = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        found = os.fstat(number)
        if stat.S_ISDIR(found.st_mode):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
        if not stat.S_ISREG(found.st_mode):
            raise OSError(errno.EINVAL, 'Not a regular file', str(path))
        if max_bytes is not None and found.st_size > max_bytes:
            raise _too_large(path, max_bytes)
        return os.fdopen(number, 'rb')
    except BaseException:
        os.close(number)
        raise


def require_regular(path: Path | str, max_bytes: int | None = None) -> None:
    """Raise as `open_regular` does; for libraries that open a file by its path."""
    open_regular(path, max_bytes).close()


def read_bounded(path: Path | str, max_bytes: int) -> bytes:
    """Return the content of a regular file; raises as `open_regular` does."""
    with open_regular(path, max_bytes) as file:
        try:
            data = file.read(max_bytes + 1)
        except OSError as error:  # reading does not name the file
            error.filename = error.filename or str(path)
            raise
    if len(data) > max_bytes:  # it grew since it was opened
        raise _too_large(path, max_bytes)
    return data


def sha256_of(path: Path | str, max_bytes: int | None = None) -> str:
    """Return the hexadecimal SHA-256 of a regular file; raises as `open_regular` does."""
    digest = hashlib.sha256()
    with open_regular(path, max_bytes) as file:
        while block := file.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()


def _too_large(path: Path | str, max_bytes: int) -> OSError:
    limit = f'{max_bytes // _MIB} MiB' if max_bytes >= _MIB else f'{max_bytes // 1024} KiB'
    return OSError(errno.EFBIG, f'File larger than {limit}', str(path))
