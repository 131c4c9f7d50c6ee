# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""What an entity says once of its model: the statistics of its latents, its latents of the probes.

Both are signed as LCTs are, over a canonical form (docs/lct.md).
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import ClassVar, TypeVar

import numpy as np
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from sage_perception.core.latent import UNKNOWN_FINGERPRINT, ModelId
from sage_perception.trust.compatibility import probe_set as probes
from sage_perception.trust.security.canonical import announcement_form
from sage_perception.trust.security.rejection import MAX_ABS, RejectionReason
from sage_perception.trust.security.signing import find_forgery
from sage_perception.trust.security.trust_store import TrustStore

IMAGES = bytes.fromhex(probes.SHA256)
# `sage_msgs/ProbeSet` holds so many numbers.
MAX_DIMENSIONS = 256


@dataclass(frozen=True, eq=False)
class ModelAnnouncement:
    """How to read an entity's latents: mean and standard deviation of its model's, `[D]`.

    `sequence` increases with each statement of the entity, so that none is replayed.
    """

    entity_id: str
    sequence: int
    model: ModelId
    mean: np.ndarray
    std: np.ndarray
    signature: bytes = b''

    TAG: ClassVar[bytes] = b'sage.Model'

    @property
    def dim(self) -> int:
        """Return the number of dimensions of a latent."""
        return self.mean.size

    def form(self) -> bytes:
        """Return the canonical bytes; `ValueError` for what no message can hold."""
        return announcement_form(
            self.TAG, self.entity_id, self.sequence, self.model, (self.mean, self.std)
        )

    def find_fault(self) -> RejectionReason | None:
        """Return what is wrong with it, or None."""
        if not self.mean.size or self.mean.shape != self.std.shape:
            return RejectionReason.DIMENSION
        if not (np.isfinite(self.mean).all() and np.isfinite(self.std).all()):
            return RejectionReason.NOT_FINITE
        return RejectionReason.OUT_OF_RANGE if (self.std <= 0).any() else None


@dataclass(frozen=True, eq=False)
class ProbeSet:
    """An entity's latents of the probe images, float32 `[probes.COUNT, D]`.

    `images` is the SHA-256 of the images that they are of.
    """

    entity_id: str
    sequence: int
    model: ModelId
    latents: np.ndarray = field(repr=False)
    images: bytes = IMAGES
    signature: bytes = b''

    TAG: ClassVar[bytes] = b'sage.Probes'

    def form(self) -> bytes:
        """Return the canonical bytes; `ValueError` for what no message can hold."""
        return announcement_form(
            self.TAG,
            self.entity_id,
            self.sequence,
            self.model,
            (self.latents,),
            self.images,
        )

    def find_fault(self) -> RejectionReason | None:
        """Return what is wrong with it, or None."""
        if self.images != IMAGES:
            return RejectionReason.OTHER_PROBES
        latents = self.latents
        if latents.ndim != 2 or len(latents) != probes.COUNT or not latents.size:
            return RejectionReason.DIMENSION
        if not np.isfinite(latents).all():
            return RejectionReason.NOT_FINITE
        return RejectionReason.OUT_OF_RANGE if np.abs(latents).max() > MAX_ABS else None


Announcement = TypeVar('Statement', ModelAnnouncement, ProbeSet)


def sign_announcement(statement: Announcement, key: Ed25519PrivateKey) -> Announcement:
    """Return a statement with a signature."""
    return replace(statement, signature=key.sign(statement.form()))


def verify_announcement(
    statement: ModelAnnouncement | ProbeSet,
    store: TrustStore,
    *,
    require_signature: bool = True,
) -> RejectionReason | None:
    """Return why a statement is not to be believed, or None; as `verify` does for LCTs.

    With `require_signature` off an entity without a key in `store` is believed as it is; one that
    has a key must sign all the same.
    """
    keys = store.keys_of(statement.entity_id)
    if not keys and require_signature:
        return RejectionReason.UNKNOWN_KEY if statement.entity_id else RejectionReason.NO_ENTITY
    if statement.model.fingerprint == UNKNOWN_FINGERPRINT:
        return RejectionReason.UNKNOWN_MODEL
    fault = statement.find_fault()
    if fault or not keys:
        return fault
    return find_forgery(statement.signature, statement.form, keys)
