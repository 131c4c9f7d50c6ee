# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Ed25519 key pairs of entities (RFC 8032), and their files.

A key folder contains one secret key per local entity, `ENTITY.key` (PEM, PKCS #8, mode 0600), and
the public keys of all trusted entities, `trusted.json` (see `trust_store`).
"""

from __future__ import annotations

import base64
import binascii
import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

from sage_perception.core.files import replacing
from sage_perception.core.reading import open_regular
from sage_perception.core.text import one_line
from sage_perception.trust.security.entity import FORM, is_entity
from sage_perception.trust.security.limits import MAX_TEXT_BYTES

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import (
        Ed25519PrivateKey,
        Ed25519PublicKey,
    )

# The package cryptography needs 7 MB of memory. It is imported by the functions that need it,
# because most nodes have neither a key nor anything to verify.

ENVIRONMENT = 'SAGE_KEYS'
DEFAULT_FOLDER = '~/.config/sage/keys'
PREFIX = 'ed25519:'
PUBLIC_BYTES = 32
MAX_KEY_BYTES = 1 << 16  # of a key file


class KeyFault(ValueError):
    """A key or a key file that cannot be used; the message has the cause and the fix."""


def key_folder(folder: str | os.PathLike[str] = '') -> Path:
    """Return `folder`, else the folder in `SAGE_KEYS`, else `~/.config/sage/keys`."""
    return Path(folder or os.environ.get(ENVIRONMENT) or DEFAULT_FOLDER).expanduser()


def check_entity(entity: str) -> str:
    """Return an entity id; raise `KeyFault` for a text of another form, see `is_entity`."""
    if not is_entity(entity):
        raise KeyFault(
            f'{entity[:MAX_TEXT_BYTES]!a} is not a valid entity id: give {FORM}, for example '
            'robot1/cam0, the entity_id of its LCTs'
        )
    return entity


def public_bytes(key: Ed25519PrivateKey | Ed25519PublicKey) -> bytes:
    """Return the 32 bytes of a public key, or of the public key of a secret one."""
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    public = key.public_key() if isinstance(key, Ed25519PrivateKey) else key
    return public.public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)


def key_text(public: bytes) -> str:
    """Return a public key as text: `ed25519:` and 44 characters of base64."""
    return PREFIX + base64.b64encode(public).decode()


def read_key_text(text: str) -> bytes:
    """Return the public key in the output of `key_text`; raise `KeyFault` for any other text."""
    kind, _, letters = text.strip().partition(':')
    try:
        public = base64.b64decode(letters, validate=True)
    except (binascii.Error, ValueError):
        public = b''
    if kind + ':' != PREFIX or len(public) != PUBLIC_BYTES or key_text(public) != text.strip():
        raise KeyFault(
            f'{text[:80]!r} is not a public key: give {PREFIX} and 44 characters, as printed by '
            '`sage keys list` on the machine with the secret key'
        )
    return public


def key_path(folder: Path, entity: str) -> Path:
    """Return the path of the secret key of an entity; special characters are percent-encoded."""
    return folder / f'{quote(check_entity(entity), safe="")}.key'


def require_no_key(folder: Path, entity: str) -> None:
    """Raise `KeyFault` if an entity has a secret key."""
    path = key_path(folder, entity)
    if path.exists():
        raise KeyFault(f'{entity} already has a key, {path}: give --rotate to replace it')


def save_key(
    folder: Path,
    entity: str,
    key: Ed25519PrivateKey,
    replace: bool = False,
    before: Callable[[], object] = lambda: None,
) -> Path:
    """Save the secret key of an entity in `folder`, readable by its owner only; return the path.

    `before` is called after the key is on the disk and before it replaces the old one. If it
    raises, nothing changes. Raises `KeyFault` if the entity has a key and `replace` is off.
    """
    from cryptography.hazmat.primitives import serialization

    path = key_path(folder, entity)
    if not replace:
        require_no_key(folder, entity)
    pem = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    create_folder(folder)
    with replacing(path, 0o600) as part:
        with part.open('wb') as file:
            file.write(pem)
            file.flush()
            os.fsync(file.fileno())
        before()
    return path


def load_key(folder: Path, entity: str) -> Ed25519PrivateKey:
    """Return the secret key of an entity.

    Raises `KeyFault` if it does not exist, if other users may access its file, or if the file is
    not an Ed25519 key.
    """
    path = key_path(folder, entity)
    try:
        with open_regular(path, MAX_KEY_BYTES) as file:
            mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
            if mode & 0o077:
                raise KeyFault(
                    f'{path} has mode {mode:04o}, so other users may access it: make a new key if '
                    f'they could have, else run chmod 600 {path}'
                )
            check_unwritable(folder, folder.stat().st_mode)
            pem = file.read()
    except FileNotFoundError:
        raise KeyFault(
            f'{entity} has no key, {path} does not exist: run sage keys create {entity}'
        ) from None
    except OSError as error:
        raise KeyFault(f'{path} cannot be read: {error.strerror}') from error
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    try:
        key = serialization.load_pem_private_key(pem, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        reason = one_line(error)
        raise KeyFault(f'{path} is not an unencrypted secret key in PEM: {reason}') from error
    if not isinstance(key, Ed25519PrivateKey):
        raise KeyFault(f'{path} is not an Ed25519 key: run sage keys create {entity} --rotate')
    return key


def check_unwritable(path: Path, mode: int) -> None:
    """Raise `KeyFault` if `mode` lets other users write to a key file or folder."""
    if mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise KeyFault(
            f'other users may write {path}: check that sage keys list shows only keys you know, '
            f'then run chmod go-w {path}'
        )


def create_folder(folder: Path) -> None:
    """Create a key folder, accessible by its owner only, if it does not exist."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
