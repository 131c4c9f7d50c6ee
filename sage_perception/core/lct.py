# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""The LCT: a latent with its entity, model, capture time, trust, and provenance."""

from __future__ import annotations

import enum
import hashlib
import math
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from sage_perception.core.latent import Code, Latent, ModelId

NO_PARENT = bytes(16)


class Operation(enum.IntEnum):
    """The operation of one step; the `OPERATION_*` constants of `sage_msgs/Provenance`."""

    UNKNOWN = 0
    ENCODE = 1
    TRANSLATE = 2
    FUSE = 3
    COMPRESS = 4
    RELAY = 5
    RECALL = 6


@dataclass(frozen=True)
class Membership:
    """The place of an LCT in the signed array that it was taken from.

    It is evidence, like the signature: together with them the LCT can be verified alone.

    Attributes
    ----------
    index, count : int
        Index of the LCT in the array, and the number of its LCTs.
    frame : bytes
        SHA-256 of the frame id and the size of the source frame.
    path : tuple of bytes
        The digests from the LCT to the root of the array, 32 bytes each.

    """

    index: int
    count: int
    frame: bytes
    path: tuple[bytes, ...] = ()


@dataclass(frozen=True)
class Proof:
    """Evidence that an entity signed the parent LCT of a step.

    Together with the id, the entity and the steps of the parent, which the chain already has,
    these fields rebuild the bytes that the parent's signature covers. `trust` is the trust of the
    parent's whole chain, `latent` the SHA-256 digest of its latent (32 bytes). `membership` is
    that of a parent that was signed with its array.
    """

    sequence: int
    stamp_ns: int
    trust: float
    latent: bytes
    signature: bytes
    membership: Membership | None = None


@dataclass(frozen=True)
class Provenance:
    """One processing step of a latent; `trust` in [0, 1] is the trust in this step alone.

    `proof` is the proof of the parent when another entity made the parent. It is evidence, not
    content: signatures and comparisons ignore it.
    """

    operation: Operation
    entity_id: str
    model: ModelId = field(default_factory=ModelId)
    parent_id: bytes = NO_PARENT
    trust: float = 1.0
    proof: Proof | None = field(default=None, compare=False)


@dataclass(frozen=True, eq=False)
class LCT:
    """A latent with the entity that is accountable for it.

    Attributes
    ----------
    entity_id : str
        The entity that made and may sign this LCT, for example `robot1/cam0`.
    sequence, index : int
        Their pair strictly increases for each entity: the LCTs of a frame share a sequence, and
        have indices below 64. `sequence` has 64 bits, unsigned.
    stamp_ns : int
        Capture time of the source frame on the graph's clock, nanoseconds.
    latent : Latent
        The observation.
    provenance : tuple of Provenance
        All steps, oldest first.
    trust : float
        Product of the trusts of all steps, in [0, 1].
    id : bytes
        UUID, 16 bytes: that of `encoded_id` for the LCTs of an encoder, else random.
    signature : bytes
        Ed25519 signature, 64 bytes; empty for an unsigned LCT.
    membership : Membership, optional
        The place in the array that the signature covers; None if it covers this LCT alone.
    digest : bytes
        SHA-256 of the canonical latent as it was signed, also for a latent that was packed in
        transit; empty for an unsigned LCT.

    """

    entity_id: str
    sequence: int
    stamp_ns: int
    latent: Latent
    provenance: tuple[Provenance, ...]
    trust: float
    id: bytes = field(default_factory=lambda: uuid.uuid4().bytes)
    signature: bytes = b''
    digest: bytes = b''
    membership: Membership | None = None
    index: int = 0

    @classmethod
    def encoded(
        cls,
        latent: Latent,
        *,
        entity_id: str,
        sequence: int,
        stamp_ns: int,
        trust: float | None = None,
        index: int = 0,
    ) -> LCT:
        """Return the LCT of a latent that `entity_id` just encoded: one ENCODE step, unsigned.

        `trust` in [0, 1] defaults to that of the latent's telemetry. `index` is that of the LCT
        among those of the same frame, which share a sequence.
        """
        trust = latent.telemetry.trust if trust is None else trust
        step = Provenance(Operation.ENCODE, entity_id, latent.model, trust=trust)
        lct_id = encoded_id(entity_id, sequence, index)
        steps = (step,)
        return cls(entity_id, sequence, stamp_ns, latent, steps, trust, lct_id, index=index)

    @classmethod
    def derived(
        cls,
        latent: Latent,
        provenance: Sequence[Provenance],
        *,
        entity_id: str,
        sequence: int,
        stamp_ns: int,
    ) -> LCT:
        """Return the LCT of a latent that `entity_id` made from others, unsigned.

        `provenance` has all steps, oldest first (see `step_from`); their product is the trust.
        """
        chain = tuple(provenance)
        return cls(entity_id, sequence, stamp_ns, latent, chain, chain_trust(chain))

    def with_codes(self, codes: tuple[Code, ...]) -> LCT:
        """Return this LCT with other codes, for a comparison: its signature is not of them."""
        return replace(self, latent=replace(self.latent, codes=codes))


def encoded_id(entity_id: str, sequence: int, index: int) -> bytes:
    """Return the id of an LCT of an encoder, 16 bytes: it is derived, and so not transmitted.

    The first 16 bytes of SHA-256 over "sage.Id", the sequence (uint64, little-endian), the index
    (uint8) and the entity in UTF-8, with the version and variant bits of a UUID of version 8
    (RFC 9562).
    """
    digest = hashlib.sha256(
        b'sage.Id'
        + (sequence % 2**64).to_bytes(8, 'little')
        + bytes([index])
        + entity_id.encode('utf-8', 'surrogatepass')
    ).digest()
    version, variant = 0x80 | digest[6] & 0x0F, 0x80 | digest[8] & 0x3F
    return digest[:6] + bytes([version, digest[7], variant]) + digest[9:16]


def step_from(
    parent: LCT, operation: Operation, entity_id: str, model: ModelId, trust: float = 1.0
) -> Provenance:
    """Return the step by which `entity_id` derives an LCT from `parent`.

    The step has a proof of the parent when the parent is signed and made by another entity.
    """
    proof = None
    if parent.digest and parent.entity_id != entity_id:
        proof = Proof(
            parent.sequence,
            parent.stamp_ns,
            parent.trust,
            parent.digest,
            parent.signature,
            parent.membership,
        )
    return Provenance(operation, entity_id, model, parent.id, trust, proof)


def chain_trust(provenance: Sequence[Provenance]) -> float:
    """Return the trust of a chain: the product of its steps; 0 for an empty chain."""
    return math.prod(step.trust for step in provenance) if provenance else 0.0
