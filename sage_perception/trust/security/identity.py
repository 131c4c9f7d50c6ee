# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""The identity under which a process makes LCTs: entity id, signing key and sequence counter.

>>> identity = Identity('robot1/arbiter', load_key(key_folder(), 'robot1/arbiter'))
>>> sequence = identity.next_sequence()
>>> lct = identity.sign(
...     LCT.encoded(latent, entity_id=identity.entity_id, sequence=sequence, stamp_ns=stamp_ns)
... )
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from sage_perception.core.lct import LCT
from sage_perception.trust.security.canonical import PLAIN, Wire
from sage_perception.trust.security.keys import (
    KeyFault,
    check_entity,
    key_path,
    key_text,
    load_key,
    public_bytes,
)
from sage_perception.trust.security.sequence import Counting, SequenceCounter, sequence_path
from sage_perception.trust.security.signing import sign

if TYPE_CHECKING:  # not needed without a key
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey


class Identity:
    """An entity of this process; signs if it has a `key`.

    All LCTs and announcements of the entity take their sequences from one identity: from `start`
    on if it is given, for recordings, else those of a `SequenceCounter`, which `persist` makes
    durable. Methods may be called from several threads. Raises `KeyFault` for an invalid
    `entity_id`.
    """

    def __init__(
        self, entity_id: str, key: Ed25519PrivateKey | None = None, start: int | None = None
    ) -> None:
        self.entity_id = check_entity(entity_id)
        self.key = key
        self._sequences: Counting | SequenceCounter = (
            SequenceCounter() if start is None else Counting(start)
        )

    def persist(self, location: str) -> None:
        """Continue above the sequences of earlier processes of the entity.

        `location` is that of `find_key`; the sequence file is beside the key.
        """
        self._sequences = SequenceCounter(sequence_path(keys_folder_of(location), self.entity_id))

    @property
    def sequence_fault(self) -> str:
        """Return why sequences are not durable, with the fix; '' if they are, or need not be."""
        return self._sequences.fault

    @property
    def public_key(self) -> str:
        """Return the public key as `sage keys trust` takes it, or 'none'."""
        return 'none' if self.key is None else key_text(public_bytes(self.key))

    def next_sequence(self) -> int:
        """Return the sequence for the next LCT or announcement."""
        return self._sequences.next()

    def sign(self, lct: LCT, wire: Wire = PLAIN) -> LCT:
        """Return `lct` signed for the encoding `wire`, or `lct` itself if the entity has no key.

        Raises `ValueError` for a value that no message can hold.
        """
        return lct if self.key is None else sign(lct, self.key, wire)


def find_key(location: str, entity_id: str) -> Ed25519PrivateKey | None:
    """Return the secret key of `entity_id`; None for an empty `location`: it does not sign.

    `location` is the key file or the folder that contains it. Raises `KeyFault` as `load_key`
    does, and for a file that is not named after the entity: several nodes may have been given the
    same parameter file.
    """
    if not location:
        return None
    path, folder = Path(location).expanduser(), keys_folder_of(location)
    expected = key_path(folder, entity_id)
    if path not in (folder, expected):
        raise KeyFault(
            f'{path} is not named {expected.name}, as the key of {entity_id} must be: '
            'set the folder of the keys instead'
        )
    return load_key(folder, entity_id)


def keys_folder_of(location: str) -> Path:
    """Return the folder of the keys at `location`, which is that of `find_key`."""
    path = Path(location).expanduser()
    return path if path.is_dir() else path.parent
