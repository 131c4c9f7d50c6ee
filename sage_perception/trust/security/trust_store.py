# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Whose public keys are believed: one file, `trusted.json`, and what is read from it.

    {"version": 1, "entities": {"robot1/cam0": [
        {"key": "ed25519:…", "added": "2026-11-22T03:17:33Z", "revoked": null}]}}

An entity has several keys while it changes from one to the next. A key that was revoked stays
listed, so that it is known as such, and is never trusted again.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from sage_perception.trust.security.keys import (
    KeyFault,
    check_entity,
    check_unwritable,
    key_text,
    read_key_text,
    write_whole,
)

FILE = 'trusted.json'
VERSION = 1
TIME = '%Y-%m-%dT%H:%M:%SZ'
# A message does not say with which key it is signed: all are tried, and forgeries try them all.
MAX_VALID_KEYS = 4


@dataclass(frozen=True)
class TrustedKey:
    """A public key, 32 bytes, and when it was added and revoked; ISO 8601, UTC."""

    public: bytes
    added: str
    revoked: str | None = None

    @cached_property
    def _key(self) -> Ed25519PublicKey:
        return Ed25519PublicKey.from_public_bytes(self.public)

    def made(self, signature: bytes, data: bytes) -> bool:
        """Return whether the owner of this key signed `data`."""
        try:
            self._key.verify(signature, data)
        except InvalidSignature:
            return False
        return True

    def __str__(self):
        return key_text(self.public)


class TrustStore:
    """The keys of all entities that are believed.

    With a folder they are those of its file, and every change is written there at once, whole or
    not at all; without one they are kept in memory only. Raises `KeyFault` for a file that is
    none of ours, or that others may write.
    """

    def __init__(self, folder: Path | None = None):
        self.path = None if folder is None else Path(folder) / FILE
        self._keys: dict[str, tuple[TrustedKey, ...]] = {}
        self._read_as: tuple | None = None
        self.refresh()

    @property
    def entities(self) -> Mapping[str, tuple[TrustedKey, ...]]:
        """Return all keys by entity, revoked ones too, oldest first."""
        return self._keys

    def keys_of(self, entity: str) -> tuple[TrustedKey, ...]:
        """Return all keys of an entity, revoked ones too, oldest first; none if it is unknown."""
        return self._keys.get(entity, ())

    def trust(self, entity: str, public: bytes) -> TrustedKey:
        """Believe what is signed with a key, beside the entity's other keys.

        Raises `KeyFault` for one that was revoked, or one too many.
        """
        check_entity(entity)
        with self._changing():
            keys = self.keys_of(entity)
            for key in keys:
                if key.public == public and key.revoked:
                    raise KeyFault(f'{key} of {entity} was revoked {key.revoked}: make a new one')
                if key.public == public:
                    return key
            if sum(not key.revoked for key in keys) >= MAX_VALID_KEYS:
                raise KeyFault(
                    f'{entity} has {MAX_VALID_KEYS} valid keys: '
                    f'first sage keys revoke {entity} KEY'
                )
            added = TrustedKey(public, _now())
            self._keys = {**self._keys, entity: (*keys, added)}
        return added

    def revoke(self, entity: str, public: bytes | None = None) -> list[TrustedKey]:
        """Believe one key of an entity, or none of its keys, no longer; return those.

        Raises `KeyFault` when there is nothing to revoke.
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
        """Read the file anew if it has changed; return whether it had.

        What was read last stays in force when the file is now none of ours.
        """
        if self.path is None:
            return False
        try:
            with self.path.open('rb') as file:
                found = os.fstat(file.fileno())
                read_as = (found.st_ino, found.st_size, found.st_mtime_ns, found.st_mode)
                if read_as == self._read_as:
                    return False
                check_unwritable(self.path, found.st_mode)
                check_unwritable(self.path.parent, self.path.parent.stat().st_mode)
                keys = _parse(file.read(), self.path)
        except FileNotFoundError:
            read_as, keys = None, {}
            if self._read_as is None:
                return False
        except OSError as error:
            raise KeyFault(f'{self.path} cannot be read: {error.strerror}') from error
        self._keys, self._read_as = keys, read_as
        return True

    @contextlib.contextmanager
    def _changing(self) -> Iterator[None]:
        """Change the keys: as they are in the file now, and nobody else at the same time."""
        if self.path is None:
            yield
            return
        self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with open(self.path.with_suffix('.lock'), 'w') as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            self.refresh()
            before = self._keys
            yield
            if self._keys is not before:
                write_whole(self.path, _text(self._keys), 0o644)


def _now() -> str:
    return time.strftime(TIME, time.gmtime())


def _text(keys: Mapping[str, tuple[TrustedKey, ...]]) -> bytes:
    entities = {
        entity: [{'key': str(key), 'added': key.added, 'revoked': key.revoked} for key in own]
        for entity, own in sorted(keys.items())
    }
    content = {'version': VERSION, 'entities': entities}
    return (json.dumps(content, indent=2, ensure_ascii=False) + '\n').encode()


def _parse(data: bytes, path: Path) -> dict[str, tuple[TrustedKey, ...]]:
    try:
        content = json.loads(data)
        if content['version'] != VERSION:
            raise KeyFault(f'version {content["version"]}, not {VERSION}')
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
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise KeyFault(f'{path} is no list of trusted keys: {error}') from error


def _time(text: str) -> str:
    """Return a time as it is; `ValueError` when it is none."""
    time.strptime(text, TIME)
    return text
