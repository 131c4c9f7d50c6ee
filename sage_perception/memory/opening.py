# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Opening a memory store by its file or URL."""

from __future__ import annotations

import os
import re
from pathlib import Path

from sage_perception.core.redact import require_no_password
from sage_perception.memory.space import Space
from sage_perception.memory.sql_store import MemoryStore, StoreError
from sage_perception.memory.sqlite import SqliteStore

CAPACITY = 100_000
HALF_LIFE_S = 86_400.0
ENVIRONMENT = 'SAGE_MEMORY'
DEFAULT_FOLDER = '~/.local/share/sage'
SCHEMES = ('postgresql', 'postgres')


def default_path(entity: str = 'memory') -> Path:
    """Return the memory file of an entity: `$SAGE_MEMORY/ENTITY.db`.

    `SAGE_MEMORY` defaults to `~/.local/share/sage`.
    """
    return Path(os.environ.get(ENVIRONMENT) or DEFAULT_FOLDER).expanduser() / f'{entity}.db'


def open_store(
    url: str | Path,
    space: Space | None = None,
    *,
    capacity: int = CAPACITY,
    half_life_s: float = HALF_LIFE_S,
    create: bool = True,
) -> MemoryStore:
    """Open a memory store.

    Parameters
    ----------
    url : str or Path
        An SQLite file, or a `postgresql://user@host/database` URL without a password.
    space : Space, optional
        The latent space for adding records and for similarity search.
    capacity : int
        Maximum number of records after a commit.
    half_life_s : float
        Time in which the retention value of a record halves, seconds.
    create : bool
        Create the store if it does not exist.

    Raises
    ------
    StoreError
        If the store cannot be opened, does not exist and `create` is False, or is a URL with a
        password, which the text does not quote.
    ValueError
        If the capacity or the half-life is not positive.

    """
    text = str(url).strip()
    scheme = re.match(r'([A-Za-z][A-Za-z0-9+.-]*)://', text)
    if scheme is not None and not isinstance(url, Path):
        if scheme[1].lower() not in SCHEMES:
            # Not quoted further: it may contain a password.
            raise StoreError(
                f'the URL scheme of the memory is {scheme[1]!r}: use postgresql:// or a file path'
            )
        _refuse_password(text)
        from sage_perception.memory.postgres import PostgresStore  # psycopg is optional

        conninfo = 'postgresql://' + text[scheme.end() :]
        return PostgresStore(conninfo, space, capacity, half_life_s, create)
    _refuse_password(text)
    return SqliteStore(Path(url).expanduser(), space, capacity, half_life_s, create)


def _refuse_password(text: str) -> None:
    try:
        require_no_password(text)
    except ValueError as error:
        raise StoreError(f'the memory cannot be opened: {error}') from None
