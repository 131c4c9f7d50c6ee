# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Key pairs of entities (Ed25519, RFC 8032), and the files that hold them.

A folder of keys holds `ENTITY.key`, the secret one (PEM, PKCS #8, mode 0600), of each entity that
speaks here, and `trusted.json` (`store.py`), the public ones of all that are believed here.
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import os
import stat
import tempfile
from collections.abc import Callable
from pathlib import Path
from urllib.parse import quote

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import (
    Ed25519PrivateKey,
    Ed25519PublicKey,
)

from sage_perception.trust.security.rejection import MAX_TEXT_BYTES

ENVIRONMENT = 'SAGE_KEYS'
DEFAULT_FOLDER = '~/.config/sage/keys'
PREFIX = 'ed25519:'
PUBLIC_BYTES = 32


class KeyFault(ValueError):
    """A key, or a file of keys, that cannot be used; says why, and the fix."""


def key_folder(folder: str | os.PathLike = '') -> Path:
    """Return `folder`, else the one that `SAGE_KEYS` names, else `~/.config/sage/keys`."""
    return Path(folder or os.environ.get(ENVIRONMENT) or DEFAULT_FOLDER).expanduser()


def check_entity(entity: str) -> str:
    """Return the name of an entity; `KeyFault` for what no LCT can say or no terminal show."""
    if not entity or not entity.isprintable() or len(entity.encode()) > MAX_TEXT_BYTES:
        raise KeyFault(
            f'{entity!r} is no name of an entity: give 1 to {MAX_TEXT_BYTES} bytes of printable '
            'text, as in the entity_id of its LCTs, for example robot1/cam0'
        )
    return entity


def public_bytes(key: Ed25519PrivateKey | Ed25519PublicKey) -> bytes:
    """Return the 32 bytes of a public key, or of that of a secret one."""
    public = key.public_key() if isinstance(key, Ed25519PrivateKey) else key
    return public.public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)


def key_text(public: bytes) -> str:
    """Return a public key as people pass it on: `ed25519:` and 44 letters of base64."""
    return PREFIX + base64.b64encode(public).decode()


def read_key_text(text: str) -> bytes:
    """Return the public key that `key_text` wrote; `KeyFault` for anything else."""
    kind, _, letters = text.strip().partition(':')
    try:
        public = base64.b64decode(letters, validate=True)
    except (binascii.Error, ValueError):
        public = b''
    if kind + ':' != PREFIX or len(public) != PUBLIC_BYTES or key_text(public) != text.strip():
        raise KeyFault(
            f'{text[:80]!r} is no public key: give {PREFIX} and 44 letters, as `sage keys list` '
            'prints on the machine that has the secret key'
        )
    return public


def key_path(folder: Path, entity: str) -> Path:
    """Return where the secret key of an entity is; one name, whatever the entity's has in it."""
    return folder / f'{quote(check_entity(entity), safe="")}.key'


def require_no_key(folder: Path, entity: str) -> None:
    """Raise `KeyFault` when an entity has a secret key."""
    path = key_path(folder, entity)
    if path.exists():
        raise KeyFault(f'{entity} has a key, {path}: give --rotate to replace it')


def save_key(
    folder: Path,
    entity: str,
    key: Ed25519PrivateKey,
    replace: bool = False,
    before: Callable[[], object] = lambda: None,
) -> Path:
    """Keep the secret key of an entity in `folder`, for its owner only; return where.

    Raises `KeyFault` when the entity has one already and it is not to be replaced. `before` is
    what to do when the key is on the disk and not in its place yet; if it raises, nothing changes.
    """
    path = key_path(folder, entity)
    if not replace:
        require_no_key(folder, entity)
    pem = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    write_whole(path, pem, 0o600, before)
    return path


def load_key(folder: Path, entity: str) -> Ed25519PrivateKey:
    """Return the secret key of an entity.

    Raises `KeyFault` when there is none, when others than its owner may touch its file, or when
    it is something else.
    """
    path = key_path(folder, entity)
    try:
        with path.open('rb') as file:
            mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
            if mode & 0o077:
                raise KeyFault(
                    f'{path} has mode {mode:04o}, others may read it: make a new key if they '
                    f'could have, else chmod 600 {path}'
                )
            check_unwritable(folder, folder.stat().st_mode)
            pem = file.read()
    except FileNotFoundError:
        raise KeyFault(
            f'{entity} has no key, {path} is not there: sage keys create {entity}'
        ) from None
    except OSError as error:
        raise KeyFault(f'{path} cannot be read: {error.strerror}') from error
    try:
        key = serialization.load_pem_private_key(pem, password=None)
    except (ValueError, TypeError) as error:
        raise KeyFault(f'{path} is no unencrypted secret key in PEM: {error}') from error
    if not isinstance(key, Ed25519PrivateKey):
        raise KeyFault(f'{path} is not an Ed25519 key: sage keys create {entity} --rotate')
    return key


def check_unwritable(path: Path, mode: int) -> None:
    """Raise `KeyFault` when others than its owner may write a file or folder of keys."""
    if mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise KeyFault(
            f'others may write {path}: look at what sage keys list says, then chmod go-w {path}'
        )


def write_whole(
    path: Path, data: bytes, mode: int, before: Callable[[], object] = lambda: None
) -> None:
    """Write a file so that it is there with all its bytes or not at all, and never to others.

    The folder is made, for its owner only, when it is not there. `before` is as for `save_key`.
    """
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    # mkstemp makes it with mode 0600.
    number, name = tempfile.mkstemp(prefix=f'.{path.name[:40]}.', dir=path.parent)
    try:
        with open(number, 'wb') as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(name, mode)
        before()
        os.replace(name, path)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(name)
        raise
