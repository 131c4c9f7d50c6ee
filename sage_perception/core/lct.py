# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""The LCT: a latent with who, which model, when, how far to trust it, and where it came from."""

from __future__ import annotations

import enum
import math
import uuid
from dataclasses import dataclass, field

from sage_perception.core.latent import Latent, ModelId

NO_PARENT = bytes(16)


class Operation(enum.IntEnum):
    """What was done to a latent; the values of `sage_msgs/Provenance`'s OPERATION_ constants."""

    UNKNOWN = 0
    ENCODE = 1
    TRANSLATE = 2
    FUSE = 3
    COMPRESS = 4
    RELAY = 5
    RECALL = 6


@dataclass(frozen=True)
class Proof:
    """That an LCT was said: its signature, and what that is over beside id, entity and steps.

    `trust` is that of its whole chain, `latent` the SHA-256 of its latent.
    """

    sequence: int
    stamp_ns: int
    trust: float
    latent: bytes
    signature: bytes


@dataclass(frozen=True)
class Provenance:
    """One step in the life of a latent; `trust` in [0, 1] is that of this step alone.

    `proof` is that of the parent, where that is another entity's; evidence, and no part of what
    is said.
    """

    operation: Operation
    entity_id: str
    model: ModelId = field(default_factory=ModelId)
    parent_id: bytes = NO_PARENT
    trust: float = 1.0
    proof: Proof | None = field(default=None, compare=False)


@dataclass(frozen=True, eq=False)
class LCT:
    """A latent that can be answered for.

    `stamp_ns` is when the source frame was captured, on the graph's clock; `sequence` strictly
    increases for each entity; `trust` in [0, 1] is the product of the provenance, oldest first.
    `digest` is the SHA-256 of the latent as it was signed, which tells of its numbers even when
    it travelled packed; empty where nobody signed it.
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


def step_from(
    parent: LCT, operation: Operation, entity_id: str, model: ModelId, trust: float = 1.0
) -> Provenance:
    """Return the step of an entity that goes on from `parent`, with the proof that it was said.

    Of what nobody signed there is none, and of its own word an entity needs none.
    """
    proof = None
    if parent.digest and parent.entity_id != entity_id:
        proof = Proof(
            parent.sequence, parent.stamp_ns, parent.trust, parent.digest, parent.signature
        )
    return Provenance(operation, entity_id, model, parent.id, trust, proof)


def chain_trust(provenance: tuple[Provenance, ...]) -> float:
    """Return the trust of a whole chain: the product of its steps; 0 for an empty one."""
    return math.prod(step.trust for step in provenance) if provenance else 0.0
