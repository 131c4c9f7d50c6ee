# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Write NumPy archives, and read them and arrays from untrusted sources with bounded memory.

A damaged archive can raise nearly anything: the parsers of zip, of deflate and of the headers of
arrays, which are Python literals, have exceptions of their own. A small archive can also expand
to any size. These functions raise one `ValueError` for all of it.
"""

from __future__ import annotations

import zipfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from sage_perception.core.files import replacing
from sage_perception.core.reading import open_regular
from sage_perception.core.text import one_line

MAX_BYTES = 1 << 30
"""Default limit on the size of a file, and on the uncompressed size of an archive."""
MAX_REASON = 120
"""Characters of a parser's message that are kept."""


def read_npz(path: Path, max_bytes: int = MAX_BYTES) -> dict[str, np.ndarray]:
    """Return the arrays of an `.npz` archive by name; objects are not allowed.

    Raises
    ------
    ValueError
        If the file is not a complete archive of arrays, or has more than `max_bytes`
        uncompressed. The text is the reason, on one line and without the path.
    OSError
        If there is no file, or it is not a regular file or larger than `max_bytes`.

    """
    with open_regular(path, max_bytes) as file:
        try:
            _require_bounded(file, max_bytes)
            with np.load(file, allow_pickle=False) as archive:
                arrays = {name: archive[name] for name in archive.files}
        except Exception as error:  # noqa: BLE001 (of any kind, see above)
            raise ValueError(_reason(error)) from None
    for name, array in arrays.items():
        if not isinstance(array, np.ndarray):
            raise ValueError(f'{name} is not an array')
    return arrays


def write_npz(path: Path, arrays: Mapping[str, np.ndarray], compressed: bool = False) -> None:
    """Write an `.npz` archive atomically, and create its folder; raise `OSError`."""
    write = np.savez_compressed if compressed else np.savez
    contents: dict[str, Any] = dict(arrays)  # for mypy: the keywords are not `allow_pickle`
    with replacing(path) as part, part.open('wb') as file:
        write(file, **contents)


def read_or_compute(
    path: Path,
    names: Sequence[str],
    compute: Callable[[], Sequence[np.ndarray]],
    is_valid: Callable[[Sequence[np.ndarray]], bool] = lambda _: True,
    max_bytes: int = MAX_BYTES,
) -> list[np.ndarray]:
    """Return the arrays `names` of an `.npz` archive that keeps the result of a computation.

    If the file is missing or damaged, for example after a full disk, or if `is_valid` is False for
    its arrays, they are computed and written. Raises `OSError` if they cannot be written.
    """
    if path.is_file():
        with suppress(ValueError, KeyError, OSError):
            stored = read_npz(path, max_bytes)
            arrays = [stored[name] for name in names]
            if is_valid(arrays):
                return arrays
    arrays = list(compute())
    write_npz(path, dict(zip(names, arrays, strict=True)))
    return arrays


def read_npy(path: Path, max_bytes: int = MAX_BYTES) -> np.ndarray:
    """Return the array of an `.npy` file; raises as `read_npz` does."""
    with open_regular(path, max_bytes) as file:
        try:
            array = np.load(file, allow_pickle=False)
        except Exception as error:  # noqa: BLE001 (of any kind, see above)
            raise ValueError(_reason(error)) from None
    if not isinstance(array, np.ndarray):
        raise ValueError('several arrays')
    return array


def _require_bounded(file: BinaryIO, max_bytes: int) -> None:
    """Raise `ValueError` unless a file is a zip archive of bounded uncompressed size."""
    if not zipfile.is_zipfile(file):
        raise ValueError('not an .npz archive')
    with zipfile.ZipFile(file) as archive:
        size = sum(member.file_size for member in archive.infolist())
    if size > max_bytes:
        raise ValueError(f'{size >> 20} MiB uncompressed, at most {max_bytes >> 20} MiB')
    file.seek(0)


def _reason(error: Exception) -> str:
    return one_line(error)[:MAX_REASON] or type(error).__name__
