# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""The LCT: a latent with who, which model, when, how far to trust it, and where it came from."""

from __future__ import annotations

import enum
import math
import uuid
from dataclasses import dataclass, field

import numpy as np

from sage_perception.latent import UNKNOWN_FINGERPRINT, Latent, ModelId

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


class Refusal(str, enum.Enum):
    """Why an LCT is not accepted."""

    MALFORMED = 'malformed'
    OVERSIZED = 'oversized'
    NO_ENTITY = 'no entity'
    NO_STAMP = 'no stamp'
    STAMP = 'stamp outside tolerance'
    NOT_FINITE = 'not finite'
    OUT_OF_RANGE = 'out of range'
    UNKNOWN_MODEL = 'unknown model'
    WRONG_MODEL = 'wrong fingerprint'
    DIMENSION = 'wrong dimension'
    BROKEN_CHAIN = 'broken chain'
    SEQUENCE = 'replayed or old sequence'
    UNKNOWN_KEY = 'unknown key'
    REVOKED_KEY = 'revoked key'
    UNSIGNED = 'unsigned'
    BAD_SIGNATURE = 'bad signature'
    UNPROVEN = 'step without proof'
    BAD_PROOF = 'bad proof of a step'
    UNKNOWN_STEP = 'step of an unknown entity'
    WRONG_ENTITY = 'not the entity of this topic'
    OTHER_PROBES = 'other probe pictures'
    NOT_MEASURED = 'latents not measured'
    INCOMPATIBLE = 'incompatible latents'
    FLOOD = 'flood'


# Latents of a trained model stay within some tens of standard deviations.
LARGEST = 1e4
# Steps of provenance: `sage_msgs/LCT` holds 16, and who translates and fuses adds two or more.
MOST_STEPS = 16
LONGEST_CHAIN = 14
# The bounds of the messages.
MOST_DIMENSIONS = 4096
MOST_ENERGIES = 256
MOST_TEXT = 64  # bytes


def find_fault(lct: LCT, dim: int | None = None) -> Refusal | None:
    """Return why `lct` is not well formed, or None when it is.

    `dim` is the number of dimensions of its model's latents, where that is known.
    """
    return find_statement_fault(lct) or find_number_fault(lct.latent, dim)


def find_statement_fault(lct: LCT) -> Refusal | None:
    """Return what is wrong with `lct`, its latent's numbers left aside, or None."""
    telemetry = lct.latent.telemetry
    if not lct.entity_id:
        return Refusal.NO_ENTITY
    if lct.stamp_ns <= 0:
        return Refusal.NO_STAMP
    if len(lct.entity_id) > MOST_TEXT or len(telemetry.energy_trajectory) > MOST_ENERGIES:
        return Refusal.OVERSIZED
    if len(lct.provenance) > LONGEST_CHAIN:
        return Refusal.OUT_OF_RANGE
    trusts = (lct.trust, telemetry.trust, *(step.trust for step in lct.provenance))
    if not all(0 <= trust <= 1 for trust in trusts):
        return Refusal.OUT_OF_RANGE
    if not math.isfinite(telemetry.latent_norm + telemetry.time_s + telemetry.budget_spent):
        return Refusal.NOT_FINITE
    # NaN says that these were not measured.
    if math.isinf(telemetry.reconstruction_error) or math.isinf(telemetry.kl_per_dim):
        return Refusal.NOT_FINITE
    if lct.latent.model.fingerprint == UNKNOWN_FINGERPRINT:
        return Refusal.UNKNOWN_MODEL
    if abs(lct.trust - chain_trust(lct.provenance)) > 1e-3:
        return Refusal.BROKEN_CHAIN
    return None


def find_number_fault(latent: Latent, dim: int | None = None) -> Refusal | None:
    """Return what is wrong with the numbers of `latent`, or None; `dim` as for `find_fault`."""
    if latent.dim > MOST_DIMENSIONS:
        return Refusal.OVERSIZED
    if not latent.dim or latent.dim != (dim or latent.dim):
        return Refusal.DIMENSION
    for numbers in (latent.mean, latent.log_var):
        if numbers is None:
            continue
        largest = float(np.abs(numbers).max())
        if not math.isfinite(largest):
            return Refusal.NOT_FINITE
        if largest > LARGEST:
            return Refusal.OUT_OF_RANGE
    return None


def find_break(lct: LCT) -> Refusal | None:
    """Return `BROKEN_CHAIN` when the provenance of `lct` does not hang together, or None.

    It begins with one ENCODE, of no parent; each later step names another LCT that it started
    from; the last is the speaker's own; and the last model named is that of the latent.
    """
    steps = lct.provenance
    whole = (
        steps
        and steps[-1].entity_id == lct.entity_id
        and (steps[0].operation, steps[0].parent_id) == (Operation.ENCODE, NO_PARENT)
        and not any(step.operation in (Operation.UNKNOWN, Operation.ENCODE) for step in steps[1:])
    )
    if not whole:
        return Refusal.BROKEN_CHAIN
    parents = {step.parent_id for step in steps}
    if len(parents) < len(steps) or lct.id in parents:
        return Refusal.BROKEN_CHAIN
    models = [step.model.fingerprint for step in steps]
    named = [fingerprint for fingerprint in models if fingerprint != UNKNOWN_FINGERPRINT]
    if not named or named[-1] != lct.latent.model.fingerprint:
        return Refusal.BROKEN_CHAIN
    return None
