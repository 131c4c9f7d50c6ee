# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Announcements of an entity: the statistics of its model's latents, and its probe latents.

Both are signed over a canonical form, as LCTs are (docs/lct.md).
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, ClassVar, TypeAlias, TypeVar

import numpy as np

from sage_perception.core.latent import UNKNOWN_FINGERPRINT, ModelId
from sage_perception.trust.compatibility import challenge_images
from sage_perception.trust.compatibility import probe_set as probes
from sage_perception.trust.security.canonical import announcement_form
from sage_perception.trust.security.limits import MAX_ABS
from sage_perception.trust.security.rejection import RejectionReason
from sage_perception.trust.security.trust_store import TrustStore
from sage_perception.trust.security.verification import SignatureCheck, verify_form

if TYPE_CHECKING:  # not needed without a key
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

IMAGES = bytes.fromhex(probes.SHA256)
# The bound of `sage_msgs/ProbeSet`.
MAX_PROBE_DIMENSIONS = 256


@dataclass(frozen=True, eq=False)
class ModelAnnouncement:
    """The model of an entity, and the statistics of its latents.

    `mean` and `std` (standard deviation) are `[D]`. `sequence` increases with each announcement of
    the entity.
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
        """Return the canonical bytes; raise `ValueError` for a value that no message can hold."""
        return announcement_form(
            self.TAG, self.entity_id, self.sequence, self.model, (self.mean, self.std)
        )

    def find_fault(self) -> RejectionReason | None:
        """Return the reason for rejecting its content, or None."""
        if not self.mean.size or self.mean.shape != self.std.shape:
            return RejectionReason.DIMENSION
        if not (np.isfinite(self.mean).all() and np.isfinite(self.std).all()):
            return RejectionReason.NOT_FINITE
        return RejectionReason.OUT_OF_RANGE if (self.std <= 0).any() else None


@dataclass(frozen=True, eq=False)
class ProbeSet:
    """The latents of an entity's model for all probe images, float32 `[probes.COUNT, D]`.

    `images` is the SHA-256 of the probe images.
    """

    entity_id: str
    sequence: int
    model: ModelId
    latents: np.ndarray = field(repr=False)
    images: bytes = IMAGES
    signature: bytes = b''

    TAG: ClassVar[bytes] = b'sage.Probes'

    def form(self) -> bytes:
        """Return the canonical bytes; raise `ValueError` for a value that no message can hold."""
        return announcement_form(
            self.TAG,
            self.entity_id,
            self.sequence,
            self.model,
            (self.latents,),
            self.images,
        )

    def find_fault(self) -> RejectionReason | None:
        """Return the reason for rejecting its content, or None."""
        if self.images != IMAGES:
            return RejectionReason.PROBE_SET_MISMATCH
        latents = self.latents
        if latents.ndim != 2 or len(latents) != probes.COUNT or not latents.size:
            return RejectionReason.DIMENSION
        if not np.isfinite(latents).all():
            return RejectionReason.NOT_FINITE
        return RejectionReason.OUT_OF_RANGE if np.abs(latents).max() > MAX_ABS else None


@dataclass(frozen=True, eq=False)
class ProbeAnswer:
    """The latents of the images of a challenge, float32 `[COUNT, D]`, and its nonce."""

    entity_id: str
    sequence: int
    model: ModelId
    latents: np.ndarray = field(repr=False)
    nonce: bytes
    signature: bytes = b''

    TAG: ClassVar[bytes] = b'sage.Answer'

    def form(self) -> bytes:
        """Return the canonical bytes; raise `ValueError` for a value that no message can hold."""
        return announcement_form(
            self.TAG, self.entity_id, self.sequence, self.model, (self.latents,), self.nonce
        )

    def find_fault(self) -> RejectionReason | None:
        """Return the reason for rejecting its content, or None."""
        latents = self.latents
        if latents.ndim != 2 or len(latents) != challenge_images.COUNT or not latents.size:
            return RejectionReason.DIMENSION
        if not np.isfinite(latents).all():
            return RejectionReason.NOT_FINITE
        return RejectionReason.OUT_OF_RANGE if np.abs(latents).max() > MAX_ABS else None


Announcement: TypeAlias = ModelAnnouncement | ProbeSet | ProbeAnswer
AnyAnnouncement = TypeVar('AnyAnnouncement', ModelAnnouncement, ProbeSet, ProbeAnswer)


def sign_announcement(
    announcement: AnyAnnouncement, key: Ed25519PrivateKey | None
) -> AnyAnnouncement:
    """Return an announcement with a signature; unchanged without a `key`."""
    if key is None:
        return announcement
    return replace(announcement, signature=key.sign(announcement.form()))


def verify_announcement(
    announcement: Announcement,
    store: TrustStore,
    *,
    require_signature: bool = True,
) -> SignatureCheck:
    """Return the reason for rejecting an announcement, or None, and the key that verifies it.

    With `require_signature` off, an entity without a key in `store` need not sign. An entity with
    a key must always sign.
    """
    keys = store.keys_of(announcement.entity_id)
    if not keys and require_signature:
        known = bool(announcement.entity_id)
        return SignatureCheck(RejectionReason.UNKNOWN_KEY if known else RejectionReason.NO_ENTITY)
    if announcement.model.fingerprint == UNKNOWN_FINGERPRINT:
        return SignatureCheck(RejectionReason.UNKNOWN_MODEL)
    fault = announcement.find_fault()
    if fault or not keys:
        return SignatureCheck(fault)
    return verify_form(announcement.signature, announcement.form, keys)
