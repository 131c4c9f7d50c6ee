# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""The LCT: a latent with its entity, model, capture time, trust, and provenance."""

from __future__ import annotations

import enum
import math
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field

from sage_perception.core.latent import Latent, ModelId

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
class Proof:
    """Evidence that an entity signed the parent LCT of a step.

    Together with the id, the entity and the steps of the parent, which the chain already has,
    these fields rebuild the bytes that the parent's signature covers. `trust` is the trust of the
    parent's whole chain, `latent` the SHA-256 digest of its latent (32 bytes).
    """

    sequence: int
    stamp_ns: int
    trust: float
    latent: bytes
    signature: bytes


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
    sequence : int
        Strictly increases for each entity; 64 bits, unsigned.
    stamp_ns : int
        Capture time of the source frame on the graph's clock, nanoseconds.
    latent : Latent
        The observation.
    provenance : tuple of Provenance
        All steps, oldest first.
    trust : float
        Product of the trusts of all steps, in [0, 1].
    id : bytes
        Random UUID, 16 bytes.
    signature : bytes
        Ed25519 signature, 64 bytes; empty for an unsigned LCT.
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

    @classmethod
    def encoded(
        cls,
        latent: Latent,
        *,
        entity_id: str,
        sequence: int,
        stamp_ns: int,
        trust: float | None = None,
    ) -> LCT:
        """Return the LCT of a latent that `entity_id` just encoded: one ENCODE step, unsigned.

        `trust` in [0, 1] defaults to that of the latent's telemetry.
        """
        trust = latent.telemetry.trust if trust is None else trust
        step = Provenance(Operation.ENCODE, entity_id, latent.model, trust=trust)
        return cls(entity_id, sequence, stamp_ns, latent, (step,), trust)

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


def step_from(
    parent: LCT, operation: Operation, entity_id: str, model: ModelId, trust: float = 1.0
) -> Provenance:
    """Return the step by which `entity_id` derives an LCT from `parent`.

    The step has a proof of the parent when the parent is signed and made by another entity.
    """
    proof = None
    if parent.digest and parent.entity_id != entity_id:
        proof = Proof(
            parent.sequence, parent.stamp_ns, parent.trust, parent.digest, parent.signature
        )
    return Provenance(operation, entity_id, model, parent.id, trust, proof)


def chain_trust(provenance: Sequence[Provenance]) -> float:
    """Return the trust of a chain: the product of its steps; 0 for an empty chain."""
    return math.prod(step.trust for step in provenance) if provenance else 0.0
