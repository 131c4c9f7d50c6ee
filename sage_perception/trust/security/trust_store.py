# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""The trusted public keys of entities, in the file `trusted.json`.

    {"version": 1, "entities": {"robot1/cam0": [
        {"key": "ed25519:…", "added": "2026-11-22T03:17:33Z", "revoked": null}]}}

An entity has several keys during a key rotation. A revoked key stays listed, so that it can never
be trusted again.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from sage_perception.core.files import write_atomically
from sage_perception.core.reading import open_regular
from sage_perception.core.text import one_line
from sage_perception.trust.security.keys import (
    KeyFault,
    check_entity,
    check_unwritable,
    create_folder,
    key_text,
    read_key_text,
)

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

FILE = 'trusted.json'
MARKER = 'trusted.marker'
"""File beside `FILE` from the first trusted key on: a missing `FILE` is a fault then."""
VERSION = 1
TIME = '%Y-%m-%dT%H:%M:%SZ'
# Messages do not name their key: receivers try all valid keys, also on every forgery.
MAX_VALID_KEYS = 4
MAX_BYTES = 1 << 24  # of the file: keys of some 50,000 entities
MAX_REASON = 200  # characters of a parser's message


@dataclass(frozen=True)
class TrustedKey:
    """A public key, 32 bytes, and the times at which it was added and revoked, ISO 8601 UTC."""

    public: bytes
    added: str
    revoked: str | None = None

    @cached_property
    def _key(self) -> Ed25519PublicKey:
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

        return Ed25519PublicKey.from_public_bytes(self.public)

    def verifies(self, signature: bytes, data: bytes) -> bool:
        """Return whether `signature` is a signature of this key over `data`.

        The last results are kept: one signature covers all LCTs of an array.
        """
        return _verifies(self, signature, data)

    def __str__(self) -> str:
        return key_text(self.public)


@lru_cache(maxsize=64)
def _verifies(key: TrustedKey, signature: bytes, data: bytes) -> bool:
    from cryptography.exceptions import InvalidSignature

    try:
        key._key.verify(signature, data)
    except InvalidSignature:
        return False
    return True


class TrustStore:
    """The keys of all trusted entities.

    With a `folder`, the keys are those in its `trusted.json`, and each change is written to the
    file immediately and atomically. Without one, they are kept in memory only. Raises `KeyFault`
    for an invalid file, or for one that other users may write unless `inspect` is set, which is
    for showing the keys only: `fault` is then the reason not to use them, '' if there is none.
    """

    def __init__(self, folder: Path | None = None, inspect: bool = False) -> None:
        self.fault = ''
        self._inspect = inspect
        self.path = None if folder is None else Path(folder) / FILE
        self._keys: dict[str, tuple[TrustedKey, ...]] = {}
        self._version: tuple[int, ...] | None = None  # of the file, as of the last read
        self.refresh()

    @property
    def entities(self) -> Mapping[str, tuple[TrustedKey, ...]]:
        """Return all keys by entity, revoked ones included, oldest first."""
        return self._keys

    def keys_of(self, entity: str) -> tuple[TrustedKey, ...]:
        """Return all keys of an entity, revoked ones included, oldest first."""
        return self._keys.get(entity, ())

    def valid_keys_of(self, entity: str) -> tuple[bytes, ...]:
        """Return the public keys of an entity that are not revoked, oldest first."""
        return tuple(key.public for key in self.keys_of(entity) if not key.revoked)

    def trust(self, entity: str, public: bytes) -> TrustedKey:
        """Add a key to the keys of an entity.

        Raises `KeyFault` for a revoked key, and if the entity has `MAX_VALID_KEYS` already.
        """
        check_entity(entity)
        with self._changing():
            keys = self.keys_of(entity)
            for key in keys:
                if key.public == public and key.revoked:
                    raise KeyFault(
                        f'{key} of {entity} was revoked at {key.revoked}: make a new key'
                    )
                if key.public == public:
                    return key
            if sum(not key.revoked for key in keys) >= MAX_VALID_KEYS:
                raise KeyFault(
                    f'{entity} has {MAX_VALID_KEYS} valid keys already: '
                    f'first run sage keys revoke {entity} KEY'
                )
            added = TrustedKey(public, _now())
            self._keys = {**self._keys, entity: (*keys, added)}
        return added

    def revoke(self, entity: str, public: bytes | None = None) -> list[TrustedKey]:
        """Revoke one key of an entity, or all of them; return the revoked keys.

        Raises `KeyFault` if no valid key matches.
        """
        with self._changing():
            keys = self.keys_of(entity)
            gone = [key for key in keys if not key.revoked and public in (None, key.public)]
            if not gone:
                which = 'valid key' if public is None else f'valid key {key_text(public)}'
                raise KeyFault(f'{entity} has no {which}: see sage keys list')
            changed = tuple(replace(key, revoked=_now()) if key in gone else key for key in keys)
            self._keys = {**self._keys, entity: changed}
        return gone

    def refresh(self) -> bool:
        """Read the file again if it has changed; return whether it had.

        Raises `KeyFault` for an invalid file; the keys of the last read then stay in force.
        """
        if self.path is None:
            return False
        version: tuple[int, ...] | None
        try:
            with open_regular(self.path, MAX_BYTES) as file:
                found = os.fstat(file.fileno())
                version = (found.st_ino, found.st_size, found.st_mtime_ns, found.st_mode)
                if version == self._version:
                    return False
                self._check_unwritable(found.st_mode)
                keys = _parse(file.read(), self.path)
        except FileNotFoundError:
            self._check_never_written()
            return False
        except OSError as error:
            raise KeyFault(f'{self.path} cannot be read: {error.strerror}') from error
        self._keys, self._version = keys, version
        return True

    def _check_never_written(self) -> None:
        """Raise `KeyFault` if there was a file: without it, unsigned LCTs would be accepted."""
        assert self.path is not None
        marker = self.path.with_name(MARKER)
        if self._version is None and not marker.exists():
            return
        fault = KeyFault(
            f'{self.path} is missing, but keys were trusted here: restore it from a backup, or '
            f'delete {marker} to go on without trusted keys'
        )
        if not self._inspect:
            raise fault
        self.fault = str(fault)

    def _check_unwritable(self, mode: int) -> None:
        assert self.path is not None
        try:
            check_unwritable(self.path, mode)
            check_unwritable(self.path.parent, self.path.parent.stat().st_mode)
        except KeyFault as error:
            if not self._inspect:
                raise
            self.fault = str(error)

    @contextlib.contextmanager
    def _changing(self) -> Iterator[None]:
        """Change the keys as they are in the file now, under an exclusive lock."""
        if self.path is None:
            yield
            return
        create_folder(self.path.parent)
        with open(self.path.with_suffix('.lock'), 'w') as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            self.refresh()
            before = self._keys
            yield
            if self._keys is not before:
                write_atomically(self.path, _text(self._keys), 0o644)
                self.path.with_name(MARKER).touch()


def _now() -> str:
    return time.strftime(TIME, time.gmtime())


def _text(keys: Mapping[str, tuple[TrustedKey, ...]]) -> str:
    entities = {
        entity: [{'key': str(key), 'added': key.added, 'revoked': key.revoked} for key in own]
        for entity, own in sorted(keys.items())
    }
    content = {'version': VERSION, 'entities': entities}
    return json.dumps(content, indent=2, ensure_ascii=False) + '\n'


def _parse(data: bytes, path: Path) -> dict[str, tuple[TrustedKey, ...]]:
    try:
        content = json.loads(data)
        if content['version'] != VERSION:
            raise KeyFault(f'version {content["version"]} is not {VERSION}')
        return {
            check_entity(entity): tuple(
                TrustedKey(
                    read_key_text(key['key']),
                    _time(key['added']),
                    None if key['revoked'] is None else _time(key['revoked']),
                )
                for key in keys
            )
            for entity, keys in content['entities'].items()
        }
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        reason = one_line(error)[:MAX_REASON]
        raise KeyFault(f'{path} is not a valid list of trusted keys: {reason}') from error


def _time(text: str) -> str:
    """Return `text`; raise `ValueError` if it is not an ISO 8601 time."""
    time.strptime(text, TIME)
    return text
